//! The wall clock, read in one place and passed on as a value.

use std::time::SystemTime;

use crate::domain::freshness::{PUSH_WINDOW, milliseconds};

/// Milliseconds since 1970.
#[must_use]
pub fn now() -> u64 {
    milliseconds(SystemTime::now())
}

/// A time in milliseconds since 1970 as RFC 3339 has it.
#[must_use]
pub fn rfc3339(milliseconds: u64) -> String {
    let time = jiff::Timestamp::from_millisecond(i64::try_from(milliseconds).unwrap_or(0));
    time.unwrap_or_default().to_string()
}

/// A time in milliseconds since 1970 for a user at `now`: `10:42` in the local time zone, with the date if it is another
/// day.
#[must_use]
pub fn local(milliseconds: u64, now: u64) -> String {
    let zoned = |milliseconds: u64| {
        let time = jiff::Timestamp::from_millisecond(i64::try_from(milliseconds).unwrap_or(0)).unwrap_or_default();
        time.to_zoned(jiff::tz::TimeZone::system())
    };
    let (time, now) = (zoned(milliseconds), zoned(now));
    let format = if time.date() == now.date() { "%H:%M" } else { "%Y-%m-%d %H:%M" };
    time.strftime(format).to_string()
}

/// How long a push counts, in milliseconds. `SSH_EIC_PUSH_WINDOW` shortens it (in milliseconds) for a stand-in of AWS
/// whose keys live shorter than 60 s.
#[must_use]
pub fn push_window() -> u64 {
    let shorter =
        crate::sys::environment::variable("SSH_EIC_PUSH_WINDOW").and_then(|value| value.to_str()?.parse().ok());
    shorter.unwrap_or(PUSH_WINDOW).min(PUSH_WINDOW)
}
