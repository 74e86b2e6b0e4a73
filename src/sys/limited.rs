//! Running another program with a timeout, in a process group of its own, which does not outlive this process: it is
//! killed when the time is over, and when this process is ended by a signal that can be handled.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

/// The exit status and output of a program.
#[derive(Debug)]
pub struct ProgramResult {
    /// The exit code; none: it was killed, by us if `timed_out`.
    pub code: Option<i32>,
    /// It reached the timeout.
    pub timed_out: bool,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// How long the streams may stay open after the program's end.
const SLACK: Duration = Duration::from_secs(1);
/// How often the program's end and signals are checked while its streams are open.
const INTERVAL: Duration = Duration::from_millis(20);

/// Runs it to its end, or kills it and its children when the time is over.
///
/// # Errors
///
/// If it cannot be started.
pub fn run(command: &mut Command, timeout: Duration) -> io::Result<ProgramResult> {
    let deadline = Instant::now() + timeout;
    let streams = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = Running::start(streams.process_group(0))?;
    let mut child = running.child;
    let group = running.group;
    let (ended, ends) = mpsc::channel();
    let stdout = reader(child.stdout.take(), ended.clone());
    let stderr = reader(child.stderr.take(), ended);
    let status = wait(&mut child, &ends, deadline)?;
    if status.is_none() {
        group.kill();
        let _ = child.wait();
    }
    Ok(ProgramResult {
        code: status.and_then(|status| status.code()),
        timed_out: status.is_none(),
        stdout: text(&stdout),
        stderr: text(&stderr),
    })
}

/// Waits for the program's end and, a little longer, for its streams' ends; none: the time is over.
fn wait(child: &mut Child, ends: &Receiver<()>, deadline: Instant) -> io::Result<Option<ExitStatus>> {
    let mut limit = deadline;
    let mut status = None;
    loop {
        groups().end_if_signalled();
        if status.is_none() {
            status = child.try_wait()?;
            if status.is_some() {
                limit = Instant::now() + SLACK;
            }
        }
        let left = limit.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(status);
        }
        match ends.recv_timeout(left.min(INTERVAL)) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            // Both streams have ended, and a program closes them with its end as a rule.
            Err(RecvTimeoutError::Disconnected) if status.is_some() => return Ok(status),
            Err(RecvTimeoutError::Disconnected) => thread::sleep(Duration::from_micros(200)),
        }
    }
}

/// A program that has been started, and its process group.
struct Running {
    child: Child,
    group: Group,
}

impl Running {
    fn start(command: &mut Command) -> io::Result<Self> {
        let groups = groups();
        // Held while it starts, so that a signal finds it.
        let mut running = groups.running.lock().unwrap_or_else(PoisonError::into_inner);
        groups.is_idle.store(false, Ordering::SeqCst);
        let child = command.spawn();
        let id = child.as_ref().ok().and_then(|child| i32::try_from(child.id()).ok());
        running.extend(id);
        groups.is_idle.store(running.is_empty(), Ordering::SeqCst);
        drop(running);
        Ok(Self { child: child?, group: Group { id } })
    }
}

/// Registered until it is dropped.
struct Group {
    id: Option<i32>,
}

impl Group {
    fn kill(&self) {
        kill(self.id);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let groups = groups();
        let mut running = groups.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = &self.id {
            running.remove(id);
        }
        groups.is_idle.store(running.is_empty(), Ordering::SeqCst);
        drop(running);
        groups.end_if_signalled();
    }
}

fn kill(group: Option<i32>) {
    if let Some(group) = group.and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// The process groups that run now, and the signal that has arrived meanwhile.
struct Groups {
    running: Mutex<BTreeSet<i32>>,
    /// None runs: a signal does what it does by default.
    is_idle: Arc<AtomicBool>,
    seen: Vec<(i32, Arc<AtomicBool>)>,
}

fn groups() -> &'static Groups {
    static GROUPS: OnceLock<Groups> = OnceLock::new();
    GROUPS.get_or_init(|| {
        let is_idle = Arc::new(AtomicBool::new(true));
        let mut seen = Vec::new();
        for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
            let flag = Arc::new(AtomicBool::new(false));
            // Where no handler can be set, the signal ends this process at once, as before.
            if signal_hook::flag::register_conditional_default(signal, Arc::clone(&is_idle)).is_ok()
                && signal_hook::flag::register(signal, Arc::clone(&flag)).is_ok()
            {
                seen.push((signal, flag));
            }
        }
        Groups { running: Mutex::default(), is_idle, seen }
    })
}

impl Groups {
    /// Ends this process as the signal would have, after everything that it runs.
    fn end_if_signalled(&self) {
        let Some((signal, _)) = self.seen.iter().find(|(_, seen)| seen.load(Ordering::SeqCst)) else { return };
        // Held to the end: nothing more is started.
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.iter().for_each(|group| kill(Some(*group)));
        let _ = signal_hook::low_level::emulate_default_handler(*signal);
    }
}

/// Most that is kept of a stream, in bytes.
const KEPT: usize = 1024 * 1024;

fn reader(stream: Option<impl Read + Send + 'static>, ended: Sender<()>) -> Arc<Mutex<Vec<u8>>> {
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&bytes);
    thread::spawn(move || {
        let _ended = ended;
        let Some(mut stream) = stream else { return };
        let mut block = [0; 4096];
        while let Ok(count) = stream.read(&mut block) {
            let mut kept = into.lock().unwrap_or_else(PoisonError::into_inner);
            if count == 0 {
                return;
            }
            if kept.len() < KEPT {
                kept.extend_from_slice(&block[..count]);
            }
        }
    });
    bytes
}

fn text(bytes: &Mutex<Vec<u8>>) -> String {
    String::from_utf8_lossy(&bytes.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_hangs_is_ended_with_its_children() {
        let start = Instant::now();
        let outcome = run(
            Command::new("/bin/sh").args(["-c", "echo a; echo b >&2; sleep 60 & sleep 60"]),
            Duration::from_millis(200),
        );
        let outcome = outcome.unwrap();
        assert!(outcome.timed_out && start.elapsed() < Duration::from_secs(5), "{outcome:?}");
        assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("a\n", "b\n"));
        assert_eq!(run(Command::new("/bin/sh").args(["-c", "exit 3"]), SLACK).unwrap().code, Some(3));
    }
}
