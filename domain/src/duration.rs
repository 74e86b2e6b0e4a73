//! Durations in the syntax of `ssh_config`: `8s`, `15m`, `1h30m`.

use std::fmt::Write as _;

/// Seconds from a duration such as `90` or `1m30s` (`convtime` in misc.c); `None` if the syntax is wrong.
#[must_use]
pub fn seconds(text: &str) -> Option<u64> {
    let mut total = 0_u64;
    let mut number = String::new();
    let default_unit = if text.ends_with(|c: char| c.is_ascii_digit()) { "s" } else { "" };
    for c in text.chars().chain(default_unit.chars()) {
        if c.is_ascii_digit() {
            number.push(c);
            continue;
        }
        let unit = match c.to_ascii_lowercase() {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return None,
        };
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(unit)?)?;
        number.clear();
    }
    (!text.is_empty()).then_some(total)
}

/// The same time in hours, minutes and seconds: `1h`, `1m30s`.
#[must_use]
pub fn text(seconds: u64) -> String {
    let parts = [(seconds / 3600, 'h'), (seconds / 60 % 60, 'm'), (seconds % 60, 's')];
    let mut text = String::new();
    for (number, unit) in parts.into_iter().filter(|(number, _)| *number > 0) {
        let _ = write!(text, "{number}{unit}");
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// A number of seconds in one unit for a message, rounded down: `90 s`, `5 min`, `3 h`, `2 days`.
#[must_use]
pub fn rounded(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_time_is_read_as_the_same_time() {
        for (number, expected) in [(0, "0s"), (30, "30s"), (90, "1m30s"), (1800, "30m"), (3600, "1h"), (3661, "1h1m1s")]
        {
            assert_eq!(text(number), expected);
            assert_eq!(seconds(expected), Some(number), "{expected}");
        }
    }

    #[test]
    fn durations_are_parsed_like_convtime() {
        for (text, expected) in [
            ("10", Some(10)),
            ("1h5m", Some(3900)),
            ("2W", Some(1_209_600)),
            ("", None),
            ("5x", None),
            ("m", None),
            ("0s", Some(0)),
            ("0", Some(0)),
            ("5m3", Some(303)),
            ("-1", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }
}
