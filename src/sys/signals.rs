//! Signals that the proxy must not die of.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGINT, SIGQUIT, SIGTSTP};

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
