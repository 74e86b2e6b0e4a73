//! The keys that each instance accepts now: written before a push is answered, gone the moment their time is over.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{World, write_whole};

type Accepted = HashMap<(String, String), Vec<(Instant, String)>>;

/// Accepted keys by instance and OS user, mirrored in one `authorized_keys` file each.
#[derive(Debug)]
pub(crate) struct Keys {
    dir: PathBuf,
    accepted: Mutex<Accepted>,
    changed: Condvar,
}

impl Keys {
    /// Keys below `dir`, the folder of all instances.
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir, accepted: Mutex::default(), changed: Condvar::new() }
    }

    /// Accepts a key for `ttl` from now; the same key again starts anew.
    pub(crate) fn push(&self, id: &str, user: &str, key: &str, ttl: Duration) -> io::Result<()> {
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = accepted.entry((id.to_owned(), user.to_owned())).or_default();
        keys.retain(|(_, known)| known != key);
        keys.push((Instant::now() + ttl, key.to_owned()));
        write(&self.dir, id, user, keys)?;
        self.changed.notify_all();
        Ok(())
    }

    /// The keys accepted now.
    pub(super) fn of(&self, id: &str, user: &str) -> Vec<String> {
        let accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = accepted.get(&(id.to_owned(), user.to_owned()));
        keys.into_iter().flatten().map(|(_, key)| key.clone()).collect()
    }

    /// Removes all keys, as when their time is over.
    pub(super) fn expire_all(&self) -> io::Result<()> {
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        accepted.drain().try_for_each(|((id, user), _)| write(&self.dir, &id, &user, &[]))
    }

    /// Removes keys whose time is over, for ever.
    fn expire(&self) {
        let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let now = Instant::now();
            for ((id, user), keys) in accepted.iter_mut() {
                let before = keys.len();
                keys.retain(|(until, _)| *until > now);
                if keys.len() != before
                    && let Err(error) = write(&self.dir, id, user, keys)
                {
                    eprintln!("cannot expire a key of {id}: {error}");
                }
            }
            accepted.retain(|_, keys| !keys.is_empty());
            let next = accepted.values().flatten().map(|(until, _)| *until).min();
            let wait = next.map_or(Duration::from_hours(1), |until| until.saturating_duration_since(now));
            accepted = self.changed.wait_timeout(accepted, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

pub(super) fn expire_in_background(world: Arc<World>) {
    std::thread::spawn(move || world.keys.expire());
}

fn write(dir: &Path, id: &str, user: &str, keys: &[(Instant, String)]) -> io::Result<()> {
    let folder = dir.join(id).join("keys");
    fs::create_dir_all(&folder)?;
    let lines: Vec<&str> = keys.iter().flat_map(|(_, key)| [key, "\n"]).collect();
    write_whole(&folder.join(user), lines.concat().as_bytes())
}
