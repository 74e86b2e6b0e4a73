//! Records of pushes: the last outcome for each instance and user, the rate limit that all processes of the user share,
//! and the push log.
//!
//! Not here: the decision to push, and the request (`connect::push`).

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use crate::domain::freshness::Stamp;
use crate::domain::ids::{InstanceId, OsUser};
use crate::error::{Error, Result};
use crate::store::files::{self, Acquired};
use crate::store::paths::Paths;
use crate::store::trusted;

/// How the last push for an instance and user ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// AWS accepted the key.
    Pushed(Stamp),
    /// It failed.
    Failed {
        /// When, milliseconds since 1970.
        at: u64,
        /// Why.
        error: Error,
    },
}

/// The last outcome; `None` if there is no record or it cannot be read.
#[must_use]
pub fn last(paths: &Paths, id: &InstanceId, user: &OsUser) -> Option<Outcome> {
    let bytes = trusted::read(&paths.push_stamp(id, user)).ok()??;
    serde_json::from_slice(&bytes).ok()
}

/// Records an outcome.
///
/// # Errors
///
/// [`crate::error::Kind::File`] naming the record.
pub fn record(paths: &Paths, id: &InstanceId, user: &OsUser, outcome: &Outcome) -> Result<()> {
    let bytes = serde_json::to_vec(outcome).unwrap_or_default();
    files::replace_record(&paths.push_stamp(id, user), &bytes)
}

/// Removes the record of an outcome that is no longer valid: a new file is written faster than a replacement.
pub fn forget(paths: &Paths, id: &InstanceId, user: &OsUser) {
    let _ = fs::remove_file(paths.push_stamp(id, user));
}

/// The rate that all processes of the user share.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Rate {
    /// When the last pushes were or will be sent, milliseconds since 1970, ascending.
    sent: Vec<u64>,
    /// Pushes a second, lowered by throttling.
    lowered: Option<f64>,
    /// When it was last lowered, milliseconds since 1970.
    #[serde(default)]
    slowed: u64,
}

/// Lowest rate after throttling, pushes a second; a lower one is used only if it is configured.
const SLOWEST: f64 = 0.5;
/// How much a successful push raises a lowered rate, in pushes a second.
const RECOVERY: f64 = 0.5;
/// Longest queue in a stored record, in milliseconds; a longer one means that the clock was set back.
const LONGEST_QUEUE: u64 = 600_000;

/// Reserves the next time slot for a push and returns how long to wait for it. `None` if the wait is longer than
/// `timeout`; no slot is reserved then, so that other processes do not wait for a push that is never sent.
#[must_use]
pub fn reserve_slot(paths: &Paths, limit: f64, now: u64, timeout: Duration) -> Option<Duration> {
    let mut slot = None;
    with_rate(paths, |shared| {
        let rate = shared.lowered.unwrap_or(limit).clamp(slowest(limit), limit);
        let (at_once, window) = window(rate);
        let ahead = shared.sent.last().map_or(0, |last| last.saturating_sub(now));
        let explained = (shared.sent.len() / at_once) as u64 * window + window;
        if ahead > explained.min(LONGEST_QUEUE) {
            // Longer than any queue: the clock was set back.
            shared.sent.clear();
        }
        shared.sent.retain(|&sent| sent.saturating_add(window) > now);
        let turn = match shared.sent.len().checked_sub(at_once) {
            Some(nth) => now.max(shared.sent[nth].saturating_add(window)),
            None => now.max(shared.sent.last().copied().unwrap_or(0)),
        };
        slot = Some(Duration::from_millis(turn - now)).filter(|&wait| wait <= timeout);
        if slot.is_some() {
            shared.sent.push(turn);
        }
    });
    slot
}

fn slowest(limit: f64) -> f64 {
    SLOWEST.min(limit)
}

/// A rate in pushes a second as a number of pushes within a number of milliseconds.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 0.1 and 1000, by `push_rate`'s check"
)]
fn window(rate: f64) -> (usize, u64) {
    let at_once = rate.ceil();
    (at_once as usize, (at_once * 1000.0 / rate) as u64)
}

/// Halves the shared rate after AWS throttled a push that was sent at `sent`. A push that was already under way when the
/// rate was lowered does not lower it again: twenty throttled pushes of one burst count once.
pub fn slow_down(paths: &Paths, limit: f64, sent: u64, now: u64) {
    with_rate(paths, |shared| {
        if sent > shared.slowed || shared.slowed > now {
            shared.slowed = now;
            shared.lowered = Some((shared.lowered.unwrap_or(limit).min(limit) / 2.0).max(slowest(limit)));
        }
    });
}

/// Raises a lowered rate by [`RECOVERY`] after a successful push.
pub fn recover(paths: &Paths, limit: f64) {
    // Usually the rate is not lowered: no lock and no write.
    if read_rate(&paths.push_rate()).lowered.is_none() {
        return;
    }
    with_rate(paths, |shared| {
        shared.lowered = shared.lowered.map(|rate| rate + RECOVERY).filter(|&rate| rate < limit);
    });
}

/// Changes the shared record under its lock. On a file system without space or locks the rate is not shared, and
/// connections still succeed.
///
/// The record is its own lock and is written in place: all pushes of a burst pass through here one after the other, and
/// a rename over an old file makes ext4 write it out first (`auto_da_alloc`). A truncated record counts as no record.
fn with_rate(paths: &Paths, change: impl FnOnce(&mut Rate)) {
    let path = paths.push_rate();
    let held = files::make_private_folder(&paths.state).ok().and_then(|()| files::lock(&path, LOCK_TIMEOUT).ok()?);
    let mut shared = read_rate(&path);
    change(&mut shared);
    if let Some(files::Lock { file, .. }) = held {
        let record = serde_json::to_vec(&shared).unwrap_or_default();
        let _ = file.write_all_at(&record, 0).and_then(|()| file.set_len(record.len() as u64));
    }
}

/// How long to wait for a lock that is only held for milliseconds.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);

fn read_rate(path: &Path) -> Rate {
    trusted::read(path).ok().flatten().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// One line of the push log.
#[derive(Debug, Serialize)]
pub struct Entry<'a> {
    /// RFC 3339.
    pub time: String,
    /// The account, if known.
    pub account: Option<&'a str>,
    /// The access key id that signed the request.
    pub caller: Option<&'a str>,
    /// The instance.
    pub instance: &'a InstanceId,
    /// The OS user.
    pub user: &'a OsUser,
    /// `SHA256:…`
    pub key: &'a str,
    /// The route of the connection.
    pub route: &'a str,
    /// AWS's id of the request, which CloudTrail records.
    pub request_id: Option<&'a str>,
    /// `pushed`, or the error message.
    pub outcome: &'a str,
}

/// Bytes at which the log becomes `pushes.jsonl.1`.
const LONGEST_LOG: u64 = 1 << 20;

/// Adds a line to the log.
///
/// # Errors
///
/// [`crate::error::Kind::File`] naming the log.
pub fn log(paths: &Paths, entry: &Entry<'_>) -> Result<()> {
    files::make_private_folder(&paths.state)?;
    let mut line = serde_json::to_vec(entry).unwrap_or_default();
    line.push(b'\n');
    append(&paths.push_log(), &line, LONGEST_LOG)
}

/// Adds a line to the log, which is rotated first if it has `longest` bytes.
///
/// The log is its own lock: one process at a time looks at the length and renames, and a process that waited for the lock
/// of a log that was rotated meanwhile opens the new one. Without the lock (none on this file system, or not in time) the
/// line is written and nothing is rotated.
fn append(path: &Path, line: &[u8], longest: u64) -> Result<()> {
    let fail = |error: io::Error| Error::file("write", path, &error);
    loop {
        let mut file = trusted::open_or_make(path, OFlags::APPEND)?;
        if matches!(files::acquire(&file, LOCK_TIMEOUT), Acquired::Locked) {
            if !files::is_still_there(&file, path) {
                continue;
            }
            if file.metadata().map_err(fail)?.len() >= longest {
                fs::rename(path, path.with_extension("jsonl.1")).map_err(fail)?;
                continue;
            }
        }
        // One write in append mode: lines of processes at the same time do not mix.
        return file.write_all(line).map_err(fail);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::paths::Environment;

    #[test]
    fn no_window_of_a_second_gets_more_than_the_rate() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(&Environment { home: Some(dir.path().to_owned()), ..Environment::default() }).unwrap();
        let wait = |now| reserve_slot(&paths, 20.0, now, Duration::MAX).expect("a slot");
        let start = 1_000_000;
        let mut sent: Vec<u64> = Vec::new();
        for n in 0..90 {
            let now = start + n * 3;
            sent.push(now + u64::try_from(wait(now).as_millis()).unwrap());
        }
        assert!(sent.windows(21).all(|w| w[20] - w[0] >= 1000), "{sent:?}");
        assert!(sent[19] - start < 100, "the first 20 do not wait");
        let late = start + 60_000;
        for n in 0..20 {
            slow_down(&paths, 20.0, late - 100 + n, late - 50 + n);
        }
        let slow: Vec<u128> = (0..11).map(|_| wait(late).as_millis()).collect();
        assert_eq!((slow[9], slow[10]), (0, 1000), "half the rate after throttling");
        for _ in 0..40 {
            recover(&paths, 20.0);
        }
        let later = late + 60_000;
        assert!((0..20).all(|_| wait(later).is_zero()), "recovered");
    }

    #[test]
    fn a_process_that_does_not_wait_reserves_no_slot() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(&Environment { home: Some(dir.path().to_owned()), ..Environment::default() }).unwrap();
        let slot = |timeout| reserve_slot(&paths, 1.0, 1_000_000, Duration::from_millis(timeout));
        assert_eq!(slot(0), Some(Duration::ZERO));
        for _ in 0..5 {
            assert_eq!(slot(999), None);
        }
        assert_eq!(slot(1000), Some(Duration::from_secs(1)), "the second slot, although others gave up");
    }

    #[test]
    fn a_rate_below_one_in_two_seconds_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(&Environment { home: Some(dir.path().to_owned()), ..Environment::default() }).unwrap();
        let now = 1_000_000;
        let wait = |now| reserve_slot(&paths, 0.1, now, Duration::MAX).expect("a slot").as_secs();
        assert_eq!((wait(now), wait(now), wait(now)), (0, 10, 20));
        slow_down(&paths, 0.1, now + 1, now + 2);
        assert_eq!(wait(now + 3), 29, "throttling makes it no slower, and no faster");
        recover(&paths, 0.1);
        assert_eq!(wait(now + 3), 39);
    }

    #[test]
    fn a_log_that_many_rotate_at_once_loses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pushes.jsonl");
        // Rotated once: the second half of the lines goes to the new file.
        let line = |thread: usize, n: usize| format!("{thread:02}-{n:03}\n");
        let (threads, each) = (16, 50);
        let longest = (threads * each / 2 * line(0, 0).len()) as u64;
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let path = &path;
                scope.spawn(move || {
                    for n in 0..each {
                        append(path, line(thread, n).as_bytes(), longest).unwrap();
                    }
                });
            }
        });
        let text = |path: &Path| fs::read_to_string(path).unwrap();
        let (old, new) = (text(&path.with_extension("jsonl.1")), text(&path));
        assert_eq!(old.len() as u64, longest, "rotated too early or too late");
        let mut lines: Vec<&str> = old.lines().chain(new.lines()).collect();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), threads * each);
    }

    #[test]
    fn a_log_that_is_a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, victim) = (dir.path().join("pushes.jsonl"), dir.path().join("victim"));
        fs::write(&victim, "content").unwrap();
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        let error = append(&path, b"line\n", LONGEST_LOG).unwrap_err();
        assert!(error.message.contains("is a symbolic link"), "{}", error.message);
        assert_eq!(fs::read_to_string(&victim).unwrap(), "content");
    }

    #[test]
    fn a_torn_record_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::new(&Environment { home: Some(dir.path().to_owned()), ..Environment::default() }).unwrap();
        let id = InstanceId::parse("i-0abc12de").unwrap();
        let user = OsUser::ec2_user();
        files::make_private_folder(&paths.keys()).unwrap();
        let outcome = Outcome::Pushed(Stamp { key: "SHA256:x".to_owned(), user: user.clone(), sent: 7 });
        record(&paths, &id, &user, &outcome).unwrap();
        assert_eq!(last(&paths, &id, &user), Some(outcome));
        fs::write(paths.push_stamp(&id, &user), "{\"pushed\":{\"key\"").unwrap();
        assert_eq!(last(&paths, &id, &user), None);
    }
}
