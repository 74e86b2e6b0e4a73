//! The stream of a child process such as `ssh -W`: its stdin and stdout are one socket.

use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child as Process, ChildStderr, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::PollFd;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use crate::net::closed::Closed;
use crate::net::state::State;
use crate::net::tcp::{Half, retry};

/// As much as is kept of the last line of stderr, in bytes.
const LONGEST_LINE: usize = 1024;
/// How long the process may take to exit behind its end of stream; its last line arrives with the exit.
const EXIT_TIMEOUT: Duration = Duration::from_secs(1);
/// How often an exit is looked for; a descriptor does not announce it.
const EXIT_CHECK: Duration = Duration::from_millis(10);
/// How long a process may take to exit on SIGTERM: it restores the terminal's echo if it was prompting.
const TERMINATE_TIMEOUT: Duration = Duration::from_millis(200);

/// How lines of ssh begin that say no more than that it ends.
const CONSEQUENCES: [&str; 2] = ["Disconnected from ", "stdio forwarding failed"];

/// Starts the program with the keyboard's signals ignored, which survives an exec.
const IGNORE_KEYBOARD: &str = "trap '' INT QUIT TSTP; exec \"$@\"";

/// A running child. Dropping it ends the process.
#[derive(Debug)]
pub struct Child {
    process: Process,
    socket: UnixStream,
    pub(super) half: Half,
    stderr: Option<ChildStderr>,
    line: Vec<u8>,
    last_line: Option<String>,
    pub(super) state: State,
    /// The stream has ended: until when its exit is waited for.
    exit_by: Option<(Instant, Instant)>,
}

impl Child {
    /// Starts `program`. It stays in the caller's process group: from another one it could not ask for a passphrase on
    /// the terminal. Ctrl-C and Ctrl-Z do not reach it, since a shared master outlives them.
    ///
    /// # Errors
    ///
    /// If it cannot be started. A program that is not found exits with 127 and says so as its last line.
    pub fn spawn(program: &str, arguments: &[String]) -> io::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        socket.set_nonblocking(true)?;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", IGNORE_KEYBOARD, "ssh-eic", program]).args(arguments);
        let output = OwnedFd::from(theirs.try_clone()?);
        command.stdin(OwnedFd::from(theirs)).stdout(output).stderr(Stdio::piped());
        let mut process = command.spawn()?;
        let stderr = process.stderr.take();
        if let Some(stderr) = &stderr {
            rustix::io::ioctl_fionbio(stderr, true)?;
        }
        Ok(Self {
            process,
            socket,
            half: Half::default(),
            stderr,
            line: Vec::new(),
            last_line: None,
            state: State::Open,
            exit_by: None,
        })
    }

    /// The last complete line on stderr that is not empty and has a reason.
    #[must_use]
    pub fn last_line(&self) -> Option<&str> {
        self.last_line.as_deref()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.exit_by.filter(|_| self.state == State::Open).map(|(next, _)| next)
    }

    pub(super) fn watch<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        if self.state != State::Open {
            return;
        }
        let interest = self.half.interest();
        if self.exit_by.is_none() && !interest.is_empty() {
            fds.push(PollFd::new(&self.socket, interest));
        }
        if let Some(stderr) = &self.stderr {
            fds.push(PollFd::new(stderr, rustix::event::PollFlags::IN));
        }
    }

    pub(super) fn advance(&mut self, now: Instant) {
        if self.state != State::Open {
            return;
        }
        self.read_stderr();
        if self.exit_by.is_none() {
            let socket = &self.socket;
            let ended = self.half.exchange(
                |block| retry(|| rustix::io::read(socket, &mut *block)),
                |bytes| retry(|| rustix::io::write(socket, bytes)),
                || socket.shutdown(Shutdown::Write),
            );
            if ended.is_some() {
                self.exit_by = Some((now, now + EXIT_TIMEOUT));
            }
        }
        let Some((next, last)) = self.exit_by.filter(|(next, _)| now >= *next) else { return };
        self.exit_by = Some((next.max(now) + EXIT_CHECK, last));
        let status = self.process.try_wait().ok().flatten();
        if status.is_some() || now >= last {
            // What it wrote before its exit is in the pipe by now.
            self.read_stderr();
            self.end_line();
            let code = status.and_then(|status| status.code());
            self.state = State::Closed(Closed::Exited { code, last_line: self.last_line.clone() });
        }
    }

    fn read_stderr(&mut self) {
        let mut block = [0; 1024];
        while let Some(stderr) = &self.stderr {
            match retry(|| rustix::io::read(stderr, &mut block)) {
                Ok(count) if count > 0 => {
                    for &byte in &block[..count] {
                        if byte == b'\n' {
                            self.end_line();
                        } else if self.line.len() < LONGEST_LINE {
                            self.line.push(byte);
                        }
                    }
                }
                Err(Errno::AGAIN) => return,
                Ok(_) | Err(_) => self.stderr = None,
            }
        }
    }

    fn end_line(&mut self) {
        let text = String::from_utf8_lossy(&self.line).trim().to_owned();
        self.line.clear();
        // Such a line follows the one with the reason.
        let is_consequence = CONSEQUENCES.iter().any(|start| text.starts_with(start)) && self.last_line.is_some();
        if !text.is_empty() && !is_consequence {
            self.last_line = Some(text);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
        if matches!(self.process.try_wait(), Ok(Some(_))) {
            return;
        }
        if let Some(pid) = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + TERMINATE_TIMEOUT;
        while Instant::now() < deadline {
            if matches!(self.process.try_wait(), Ok(Some(_))) {
                return;
            }
            thread::sleep(Duration::from_millis(2));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
