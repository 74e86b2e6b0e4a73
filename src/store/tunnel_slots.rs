//! Slots for the tunnels of an endpoint, shared by all processes of the user: EC2 Instance Connect Endpoint allows 20
//! connections at a time.
//!
//! A slot is a locked file in the cache folder. The lock ends with its process, however that ends. On a file system
//! without locks, or if the folder cannot be written, there is no limit: AWS then refuses what is too much.

use std::fs::{File, TryLockError};
use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crate::store::files;
use crate::store::paths::Paths;

/// Tunnels of one endpoint at a time (an AWS quota that cannot be raised).
pub const LIMIT: usize = 20;
/// How often a waiting process looks for a free slot.
pub const RETRY: Duration = Duration::from_millis(100);
/// A wait is reported after so long.
pub const REPORT_AFTER: Duration = Duration::from_secs(1);

/// The right to one tunnel, until it is dropped. None inside: there are no locks here, and so no limit.
#[derive(Debug)]
pub struct Slot(#[expect(dead_code, reason = "its lock is held as long as it is open")] Option<File>);

/// The slots of one endpoint.
#[derive(Debug)]
pub struct Slots {
    folder: PathBuf,
    /// The endpoint's id.
    endpoint: String,
    limit: usize,
}

impl Slots {
    /// Of an endpoint, by its id.
    #[must_use]
    pub fn new(paths: &Paths, endpoint: &str) -> Self {
        // An id is never a path, whatever the answer that it came from.
        let endpoint = endpoint.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        Self { folder: paths.tunnel_slots(), endpoint, limit: LIMIT }
    }

    /// A slot, if one is free. Does not wait: for a loop that has other things to do, every [`RETRY`].
    #[must_use]
    pub fn try_take(&self) -> Option<Slot> {
        if files::make_private_folder(&self.folder).is_err() {
            return Some(Slot(None));
        }
        // Not all from the first one on: a busy endpoint would be asked for the same files by every process.
        let start = fastrand::usize(..self.limit);
        for at in 0..self.limit {
            let path = self.folder.join(format!("{}.{:02}", self.endpoint, (start + at) % self.limit));
            let file = match files::open_lock(&path) {
                Ok(file) => file,
                // Removed together with its folder by a concurrent `remove`.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(_) => return Some(Slot(None)),
            };
            match file.try_lock() {
                Ok(()) if files::is_still_there(&file, &path) => return Some(Slot(Some(file))),
                Ok(()) | Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(_)) => return Some(Slot(None)),
            }
        }
        None
    }

    /// Waits for a slot. `waiting` is called once after [`REPORT_AFTER`], `is_over` before every wait; None if that is
    /// true before a slot is free.
    pub fn take(&self, mut waiting: impl FnMut(), mut is_over: impl FnMut() -> bool) -> Option<Slot> {
        let start = Instant::now();
        let mut reported = false;
        loop {
            if let Some(slot) = self.try_take() {
                return Some(slot);
            }
            if is_over() {
                return None;
            }
            if !reported && start.elapsed() >= REPORT_AFTER {
                reported = true;
                waiting();
            }
            thread::sleep(RETRY);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    fn slots(folder: PathBuf, limit: usize) -> Slots {
        Slots { folder, endpoint: "eice-1".to_owned(), limit }
    }

    #[test]
    fn there_are_no_more_than_the_limit_and_a_dropped_one_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let slots = slots(dir.path().join("tunnels"), LIMIT);
        let mut taken: Vec<Slot> = (0..LIMIT).map(|_| slots.try_take().expect("a free slot")).collect();
        assert!(slots.try_take().is_none());
        taken.swap_remove(7);
        let again = slots.try_take();
        assert!(again.is_some() && slots.try_take().is_none());
    }

    #[test]
    fn a_killed_process_leaves_its_slot_free() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("tunnels");
        let slots = slots(folder.clone(), 1);
        drop(slots.try_take());
        // flock(1) of util-linux takes the same lock as we do.
        let script = "exec 9<>\"$0\"; flock 9 && echo locked && exec sleep 60";
        let child =
            Command::new("/bin/sh").args(["-c", script]).arg(folder.join("eice-1.00")).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap();
        let mut line = String::new();
        io::BufRead::read_line(&mut io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
        assert_eq!(line, "locked\n");
        assert!(slots.try_take().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(slots.try_take().is_some());
    }

    #[test]
    fn a_wait_is_reported_once_and_can_be_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let slots = slots(dir.path().join("tunnels"), 1);
        let held = slots.try_take();
        let (reports, rounds) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
        let count = |cell: &std::cell::Cell<i32>| cell.set(cell.get() + 1);
        let got = slots.take(
            || count(&reports),
            || {
                count(&rounds);
                reports.get() > 0 && rounds.get() > 15
            },
        );
        assert!(got.is_none());
        assert_eq!(reports.get(), 1);
        drop(held);
        assert!(slots.take(|| panic!("reported"), || true).is_some());
    }

    #[test]
    fn where_nothing_can_be_written_there_is_no_limit() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a-file");
        std::fs::File::create(&file).unwrap().write_all(b"x").unwrap();
        let slots = slots(file.join("tunnels"), 1);
        let all: Vec<Option<Slot>> = (0..3).map(|_| slots.try_take()).collect();
        assert!(all.iter().all(Option::is_some));
    }
}
