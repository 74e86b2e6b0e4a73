//! The standard descriptors that ssh gave us, and sockets of other programs in the file system.

use std::io;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::stdio::{dup2_stderr, stderr, stdout};

/// stdout without blocking writes, for as long as the value lives.
///
/// Only a pipe or a socket is changed, which ssh hands to us alone; what a terminal or a file shares with other
/// programs stays as it is.
#[derive(Debug)]
pub struct NonBlockingStdout {
    before: Option<OFlags>,
}

impl NonBlockingStdout {
    /// Changes it; where that is not possible, writes block as before.
    #[must_use]
    pub fn new() -> Self {
        let kind = rustix::fs::fstat(stdout()).map(|stat| FileType::from_raw_mode(stat.st_mode));
        let before = match kind {
            Ok(FileType::Fifo | FileType::Socket) => rustix::fs::fcntl_getfl(stdout()).ok(),
            _ => None,
        };
        Self { before: before.filter(|&flags| rustix::fs::fcntl_setfl(stdout(), flags | OFlags::NONBLOCK).is_ok()) }
    }
}

impl Default for NonBlockingStdout {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for NonBlockingStdout {
    fn drop(&mut self) {
        if let Some(flags) = self.before {
            let _ = rustix::fs::fcntl_setfl(stdout(), flags);
        }
    }
}

/// Replaces stderr by /dev/null, so that its reader does not wait for this process to exit.
///
/// # Errors
///
/// If /dev/null cannot be opened; stderr is then as it was.
pub fn give_up_stderr() -> io::Result<()> {
    let null = rustix::fs::open("/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(dup2_stderr(&null)?)
}

/// Replaces stderr by the stderr of another process, for a last message after [`give_up_stderr`]. Writes do not block.
///
/// # Errors
///
/// If that process has ended or belongs to another user, if its stderr is a socket, and where the system does not show it.
#[cfg(target_os = "linux")]
pub fn take_stderr_of(process: i32) -> io::Result<()> {
    let path = format!("/proc/{process}/fd/2");
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty())?;
    Ok(dup2_stderr(&opened)?)
}

/// The same, which this system does not allow.
///
/// # Errors
///
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn take_stderr_of(_: i32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Whether a program may wait for the end of what is written to stderr: where that is a pipe or a socket.
#[must_use]
pub fn stderr_has_reader() -> bool {
    let kind = rustix::fs::fstat(stderr()).map(|stat| FileType::from_raw_mode(stat.st_mode));
    matches!(kind, Ok(FileType::Fifo | FileType::Socket))
}

/// Whether a process listens on a Unix socket, without waiting until it accepts.
#[must_use]
pub fn has_listener(path: &Path) -> bool {
    let connect = || {
        let address = SocketAddrUnix::new(path)?;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::empty(), None)?;
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        rustix::net::connect(&socket, &address)
    };
    // A full queue is one of a listener, too.
    matches!(connect(), Ok(()) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INPROGRESS))
}
