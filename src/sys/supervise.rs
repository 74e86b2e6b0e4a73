//! Runs a third-party program under supervision: without input, in a session of its own, and no longer than the
//! process that wants its output.
//!
//! That process can end at any moment, also by SIGKILL, and has then no chance to end the program. The supervisor sees
//! the end as EOF on its stdin.

use std::io::{self, BufRead, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::error::{Error, Kind, Result};

/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_millis(500);

enum Event {
    Ended(io::Result<std::process::ExitStatus>),
    ParentGone,
}

/// Reads a shell command, as a JSON string on a line of stdin, runs it and returns its exit code. At the end of stdin its
/// whole process group is ended.
///
/// # Errors
///
/// [`Kind::Usage`] for what is no command.
pub fn run() -> Result<u8> {
    // No terminal, so that the program fails at once where it would ask, in place of being stopped in the background.
    let _ = rustix::process::setsid();
    let mut input = io::BufReader::new(io::stdin());
    let mut line = String::new();
    let command = input.read_line(&mut line).ok().and_then(|_| serde_json::from_str::<String>(&line).ok());
    let command = command.ok_or_else(|| Error::new(Kind::Usage, "worker is for ssh-eic itself"))?;
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(command)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| Error::new(Kind::File, "cannot start sh").because(error))?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let (events, event) = mpsc::channel();
    let of_child = events.clone();
    thread::spawn(move || of_child.send(Event::Ended(child.wait())));
    thread::spawn(move || {
        let _ = input.read_to_end(&mut Vec::new());
        events.send(Event::ParentGone)
    });
    if let Ok(Event::Ended(status)) = event.recv() {
        let status = status.map_err(|error| Error::new(Kind::Bug, "cannot wait for sh").because(error))?;
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
        return Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1));
    }
    if let Some(group) = group {
        let _ = kill_process_group(group, Signal::TERM);
        thread::sleep(GRACE);
        let _ = kill_process_group(group, Signal::KILL);
    }
    Ok(1)
}
