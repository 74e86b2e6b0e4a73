//! How long a key is in use and a push is good for, and what follows from it.
//!
//! A pushed key lives 60 s on the instance. ssh loads the public half of a key long before it authenticates, so a key
//! that is *in use* must not be replaced by anybody: one that is absent may be made, one that is no longer in use may
//! be removed, and that is all. All times are milliseconds since 1970.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::ids::OsUser;

/// A key is in use for this long after it was made, handed out, pushed or leased, in milliseconds.
pub const KEY_IN_USE: u64 = 180_000;
/// A key that is older than this is replaced at the first pause in its use, in milliseconds: a day.
pub const KEY_MAX_AGE: u64 = 24 * 60 * 60 * 1000;
/// As [`KEY_IN_USE`], for a key that has reached [`KEY_MAX_AGE`], in milliseconds. Longer than a pushed key is accepted
/// ([`KEY_LIVES`]), and than the interval at which a proxy that is connecting renews its lease.
pub const OLD_KEY_IN_USE: u64 = 90_000;
/// A push counts for this long from the moment its request was sent, in milliseconds; 15 s remain for the login.
pub const PUSH_WINDOW: u64 = 45_000;
/// A pushed key lives this long on the instance, in milliseconds (EC2 User Guide, EC2 Instance Connect).
pub const KEY_LIVES: u64 = 60_000;
/// A failed push is shared for this long with processes that waited for it, in milliseconds.
pub const FAILURE_SHARED: u64 = 2_000;

/// Whether something that happened at `then` is less than `limit` old. A time in the future comes from a wrong clock and
/// counts as old: it would otherwise seem recent until that time has passed.
#[must_use]
pub fn is_younger(then: u64, now: u64, limit: u64) -> bool {
    then <= now && now - then < limit
}

/// How long a key that was made at `made` stays in use after each use, in milliseconds.
#[must_use]
pub fn key_window(made: u64, now: u64) -> u64 {
    if is_younger(made, now, KEY_MAX_AGE) { KEY_IN_USE } else { OLD_KEY_IN_USE }
}

/// Whether a key last touched at `touched` is in use, according to its [`key_window`]. A time in the future counts as
/// now: a key that may be in use has to stay.
#[must_use]
pub fn key_in_use(touched: u64, window: u64, now: u64) -> bool {
    now.saturating_sub(touched) < window
}

/// Milliseconds since 1970.
#[must_use]
pub fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The record of the last push for one instance and user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// `SHA256:` fingerprint of the key that was pushed.
    pub key: String,
    /// The user it was pushed for; file systems that fold case would share the file otherwise.
    pub user: OsUser,
    /// When the request was sent.
    pub sent: u64,
}

impl Stamp {
    /// Whether this push still counts for `key` and `user`. One from the future does not.
    #[must_use]
    pub fn is_fresh(&self, key: &str, user: &OsUser, now: u64, window: u64) -> bool {
        self.key == key && &self.user == user && is_younger(self.sent, now, window)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_counts_for_its_own_key_and_user_and_45_seconds() {
        let user = OsUser::ec2_user();
        let stamp = Stamp { key: "SHA256:a".to_owned(), user: user.clone(), sent: 1_000_000 };
        let root = OsUser::parse("root").unwrap();
        assert!(stamp.is_fresh("SHA256:a", &user, 1_000_000, PUSH_WINDOW));
        assert!(stamp.is_fresh("SHA256:a", &user, 1_044_999, PUSH_WINDOW));
        assert!(!stamp.is_fresh("SHA256:a", &user, 1_045_000, PUSH_WINDOW));
        assert!(!stamp.is_fresh("SHA256:a", &user, 999_999, PUSH_WINDOW), "from the future");
        assert!(!stamp.is_fresh("SHA256:b", &user, 1_000_001, PUSH_WINDOW));
        assert!(!stamp.is_fresh("SHA256:a", &root, 1_000_001, PUSH_WINDOW));
    }

    #[test]
    fn a_key_is_in_use_for_three_minutes() {
        let in_use = |touched, now| key_in_use(touched, key_window(4_000, now), now);
        assert!(in_use(5_000, 5_000));
        assert!(in_use(5_000, 184_999));
        assert!(!in_use(5_000, 185_000));
        assert!(in_use(9_000, 5_000), "a clock that was set back");
    }

    #[test]
    fn a_key_of_a_day_is_in_use_for_a_shorter_time() {
        let made = 1_000_000;
        assert_eq!(key_window(made, made + KEY_MAX_AGE - 1), KEY_IN_USE);
        assert_eq!(key_window(made, made + KEY_MAX_AGE), OLD_KEY_IN_USE);
        assert_eq!(key_window(made, made - 1), OLD_KEY_IN_USE, "made in the future: its age is unknown");
        const { assert!(OLD_KEY_IN_USE > KEY_LIVES) };
    }

    #[test]
    fn what_is_dated_in_the_future_is_not_recent() {
        assert!(is_younger(5, 5, 1) && is_younger(5, 14, 10));
        assert!(!is_younger(5, 15, 10) && !is_younger(6, 5, 10));
    }
}
