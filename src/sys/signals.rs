//! Signals of the proxy: those that do not end it, and those that end it in order.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
use signal_hook::{flag, low_level};

/// Lets the keyboard's signals pass by: a Ctrl-C reaches the whole foreground group, and with ControlPersist the
/// proxy of a shared master is still in it.
///
/// A handler and not `SIG_IGN`: what is ignored stays so in every program that we start.
///
/// # Errors
///
/// If the system refuses a handler.
pub fn survive_the_keyboard() -> io::Result<()> {
    let seen = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGQUIT, SIGTSTP] {
        signal_hook::flag::register(signal, Arc::clone(&seen))?;
    }
    Ok(())
}

/// Reports SIGHUP and SIGTERM on a descriptor instead of ending the process, as long as it exists. ssh sends SIGHUP to
/// its ProxyCommand at its own end.
#[derive(Debug)]
pub struct HangUp {
    reader: UnixStream,
    handlers: Vec<SigId>,
}

/// How many [`HangUp`]s exist.
static ACTIVE: AtomicUsize = AtomicUsize::new(0);

impl HangUp {
    /// Handles the signals from now on.
    ///
    /// # Errors
    ///
    /// If the system refuses a handler.
    pub fn new() -> io::Result<Self> {
        let (reader, writer) = UnixStream::pair()?;
        reader.set_nonblocking(true)?;
        let has_default = has_default()?;
        ACTIVE.fetch_add(1, Ordering::SeqCst);
        has_default.store(false, Ordering::SeqCst);
        let mut hang_up = Self { reader, handlers: Vec::new() };
        for signal in [SIGHUP, SIGTERM] {
            hang_up.handlers.push(low_level::pipe::register(signal, writer.try_clone()?)?);
        }
        Ok(hang_up)
    }

    /// Whether a signal has arrived since the last call.
    #[must_use]
    pub fn has_arrived(&self) -> bool {
        (&self.reader).read(&mut [0; 16]).is_ok_and(|count| count > 0)
    }
}

impl AsFd for HangUp {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

impl Drop for HangUp {
    fn drop(&mut self) {
        if ACTIVE.fetch_sub(1, Ordering::SeqCst) == 1
            && let Ok(has_default) = has_default()
        {
            has_default.store(true, Ordering::SeqCst);
        }
        for handler in self.handlers.drain(..) {
            low_level::unregister(handler);
        }
    }
}

/// While true, both signals have their default action. Without a handler of its own the crate would ignore a signal
/// that has been handled once.
fn has_default() -> io::Result<&'static AtomicBool> {
    static HAS_DEFAULT: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    if let Some(flag) = HAS_DEFAULT.get() {
        return Ok(flag);
    }
    let has_default = Arc::new(AtomicBool::new(true));
    for signal in [SIGHUP, SIGTERM] {
        flag::register_conditional_default(signal, Arc::clone(&has_default))?;
    }
    Ok(HAS_DEFAULT.get_or_init(|| has_default))
}
