//! What background syncs changed: recorded by each of them, reported once by the next command of a user.

use crate::discover::discovery::Discovery;
use crate::error::Result;
use crate::store::paths::Paths;
use crate::store::unread_changes;
use crate::sys::clock;
use crate::ui;

/// Records what a sync changed, if no user reads its output.
///
/// # Errors
///
/// [`crate::error::Kind::File`] if the file of the changes cannot be read or written.
pub fn record(paths: &Paths, found: &Discovery) -> Result<()> {
    let before = unread_changes::read(paths)?;
    let mut changes = before.clone();
    changes.add(&found.old, &found.fleet.hosts, &found.fleet.names.moves, clock::now());
    if changes == before { Ok(()) } else { unread_changes::write(paths, &changes) }
}

/// Reports the recorded changes and forgets them.
pub fn report(paths: &Paths) {
    match unread_changes::take(paths) {
        Ok(changes) => changes.lines(&|time| clock::local(time, clock::now())).iter().for_each(|line| ui::note(line)),
        Err(error) => ui::verbose(|| error.message),
    }
}
