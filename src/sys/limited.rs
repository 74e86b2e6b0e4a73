//! Running another program for so long and no longer.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// What a program did.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code; none: it was killed, by us if `too_long`.
    pub code: Option<i32>,
    /// Its time was over.
    pub too_long: bool,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// How long the streams may stay open behind the program's end.
const SLACK: Duration = Duration::from_secs(1);

/// Runs it to its end, or ends it and its children when the time is over.
///
/// # Errors
///
/// If it cannot be started.
pub fn run(command: &mut Command, patience: Duration) -> io::Result<Outcome> {
    let deadline = Instant::now() + patience;
    let streams = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = streams.process_group(0).spawn()?;
    let (stdout, stderr) = (reader(child.stdout.take()), reader(child.stderr.take()));
    let mut pause = Duration::from_micros(500);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if Instant::now() >= deadline {
            break None;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    };
    if status.is_none() {
        if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = child.wait();
    }
    let end = Instant::now() + SLACK;
    while !(stdout.1.is_finished() && stderr.1.is_finished()) && Instant::now() < end {
        thread::sleep(Duration::from_millis(1));
    }
    Ok(Outcome {
        code: status.and_then(|status| status.code()),
        too_long: status.is_none(),
        stdout: text(&stdout.0),
        stderr: text(&stderr.0),
    })
}

type Reader = (Arc<Mutex<Vec<u8>>>, JoinHandle<()>);

/// Most that is kept of a stream, in bytes.
const KEPT: usize = 1024 * 1024;

fn reader(stream: Option<impl Read + Send + 'static>) -> Reader {
    let bytes = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&bytes);
    let thread = thread::spawn(move || {
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
    (bytes, thread)
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
        assert!(outcome.too_long && start.elapsed() < Duration::from_secs(5), "{outcome:?}");
        assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str()), ("a\n", "b\n"));
        assert_eq!(run(Command::new("/bin/sh").args(["-c", "exit 3"]), SLACK).unwrap().code, Some(3));
    }
}
