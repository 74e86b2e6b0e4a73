//! Running another program with a timeout, in a process group of its own, which does not outlive this process: it is
//! killed when the time is over, and when this process is ended by a signal that can be handled.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{self, PollFd, PollFlags, Timespec};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
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

/// How often the program's end and signals are checked while its streams are open.
const INTERVAL: Duration = Duration::from_millis(20);

/// Runs it to its end, or kills it and its children when the time is over. What it has written before its end is read
/// completely, however slow this machine is; what its children write later is not waited for.
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
    let mut stdout = Output::new(child.stdout.take())?;
    let mut stderr = Output::new(child.stderr.take())?;
    let status = loop {
        groups().end_if_signalled();
        // Before reading: everything that an ended program has written is in the pipes.
        let status = child.try_wait()?;
        stdout.read()?;
        stderr.read()?;
        if status.is_some() {
            break status;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            group.kill();
            let _ = child.wait();
            break None;
        }
        wait(&[&stdout, &stderr], left.min(INTERVAL))?;
    };
    Ok(ProgramResult {
        code: status.and_then(|status| status.code()),
        timed_out: status.is_none(),
        stdout: stdout.into_text(),
        stderr: stderr.into_text(),
    })
}

/// Waits until one of the streams can be read, but no longer than `limit`. A program closes them at its end as a rule.
fn wait(streams: &[&Output], limit: Duration) -> io::Result<()> {
    let open = streams.iter().filter_map(|output| output.stream.as_ref());
    let mut open: Vec<PollFd<'_>> = open.map(|stream| PollFd::new(stream, PollFlags::IN)).collect();
    let limit = if open.is_empty() { Duration::from_micros(200) } else { limit };
    let limit = Timespec::try_from(limit).map_err(io::Error::other)?;
    match event::poll(&mut open, Some(&limit)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// One stream of the program, read without blocking.
struct Output {
    /// None: it has ended.
    stream: Option<OwnedFd>,
    bytes: Vec<u8>,
}

impl Output {
    fn new(stream: Option<impl Into<OwnedFd>>) -> io::Result<Self> {
        let stream = stream.map(Into::into);
        if let Some(stream) = &stream {
            fcntl_setfl(stream, fcntl_getfl(stream)? | OFlags::NONBLOCK)?;
        }
        Ok(Self { stream, bytes: Vec::new() })
    }

    /// Reads what is there, but not for ever from a program that writes all the time.
    fn read(&mut self) -> io::Result<()> {
        let mut block = [0; 4096];
        for _ in 0..=LONGEST_PIPE / block.len() {
            let Some(stream) = &self.stream else { return Ok(()) };
            match rustix::io::read(stream, &mut block) {
                Ok(0) => self.stream = None,
                Ok(count) if self.bytes.len() < KEPT => self.bytes.extend_from_slice(&block[..count]),
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn into_text(self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// Most that is kept of a stream, in bytes.
const KEPT: usize = 1024 * 1024;
/// Most bytes that a pipe holds (`/proc/sys/fs/pipe-max-size`); 64 KiB without a request for more.
const LONGEST_PIPE: usize = 1024 * 1024;

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
        assert_eq!(run(Command::new("/bin/sh").args(["-c", "exit 3"]), Duration::from_mins(1)).unwrap().code, Some(3));
    }

    #[test]
    fn all_that_a_program_writes_before_its_end_is_read_while_a_child_keeps_its_streams() {
        let script = "sleep 2 & dd if=/dev/zero bs=1000 count=300 2>/dev/null | tr '\\0' x";
        let outcome = run(Command::new("/bin/sh").args(["-c", script]), Duration::from_mins(1)).unwrap();
        assert_eq!((outcome.code, outcome.stdout.len()), (Some(0), 300_000));
    }
}
