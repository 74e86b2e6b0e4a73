//! Those who write our files: one at a time, and what they leave behind when they are killed.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use crate::error::{Error, Kind, Result};
use crate::store::paths::Paths;
use crate::store::{files, trusted};
use crate::ui;

/// How long a sync waits for another one before it says so.
const LOCK_PATIENCE: Duration = Duration::from_mins(1);

/// The lock of all that write. None: another sync is running and this one gives way to it.
///
/// # Errors
///
/// [`Kind::File`] if it cannot be had.
pub fn lock(paths: &Paths, give_way: bool) -> Result<Option<File>> {
    files::make_private_folder(&paths.state)?;
    let path = paths.sync_lock();
    let start = Instant::now();
    let mut said = false;
    while start.elapsed() < LOCK_PATIENCE {
        let file = trusted::open_or_make(&path, OFlags::empty())?;
        if !files::wait_for(&file, Duration::ZERO) {
            if give_way {
                return Ok(None);
            }
            if !std::mem::replace(&mut said, true) {
                ui::verbose(|| "another sync is running: waiting for it".to_owned());
            }
            let _ = files::wait_for(&file, LOCK_PATIENCE.saturating_sub(start.elapsed()));
        } else if files::is_still_there(&file, &path) {
            return Ok(Some(file));
        }
        // A `remove` deletes the lock as well: the next lock is another file.
        drop(file);
        files::make_private_folder(&paths.state)?;
    }
    Err(Error::new(Kind::File, format!("another sync holds {} and does not go on", path.display()))
        .hint("look for a stopped ssh-eic sync (ps -o pid,stat,args), and end it"))
}

/// Whether that lock keeps other processes out: not on a file system without locks.
#[must_use]
pub fn is_exclusive(lock: &File) -> bool {
    // Locking it once more through the same descriptor changes nothing.
    lock.try_lock().is_ok()
}

/// Removes temporaries of killed processes wherever we write.
pub fn sweep_temporaries(paths: &Paths, all: bool) {
    for folder in [&paths.eic, &paths.state, &paths.cache, &paths.keys(), &paths.credentials()] {
        files::sweep_temporaries(folder, true, all);
    }
    let target = paths.ssh_config.canonicalize().ok();
    let of_user = [paths.ssh_config.parent(), target.as_deref().and_then(Path::parent), paths.config.parent()];
    for folder in of_user.into_iter().flatten() {
        files::sweep_temporaries(folder, false, all);
    }
}
