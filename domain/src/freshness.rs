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
/// A push counts for this long from the moment its request was sent, in milliseconds; 15 s remain for the login.
pub const PUSH_WINDOW: u64 = 45_000;
/// A pushed key lives this long on the instance, in milliseconds (EC2 User Guide, EC2 Instance Connect).
pub const KEY_LIVES: u64 = 60_000;
/// A failed push is shared for this long with processes that waited for it, in milliseconds.
pub const FAILURE_SHARED: u64 = 2_000;

/// Whether a key last touched at `touched` is in use. A time in the future counts as just now.
#[must_use]
pub fn key_in_use(touched: u64, now: u64) -> bool {
    now.saturating_sub(touched) < KEY_IN_USE
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
        self.key == key && &self.user == user && self.sent <= now && now - self.sent < window
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
        assert!(key_in_use(5_000, 5_000));
        assert!(key_in_use(5_000, 184_999));
        assert!(!key_in_use(5_000, 185_000));
        assert!(key_in_use(9_000, 5_000), "a clock that was set back");
    }
}
