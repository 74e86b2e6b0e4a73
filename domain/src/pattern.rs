//! Patterns of names and tags: `*` for any run of characters, `?` for any one; case counts, as in EC2's filters.

use std::str::Chars;

/// Whether the whole of `value` matches.
#[must_use]
pub fn matches(pattern: &str, value: &str) -> bool {
    // Greedy with one step back to the last star, so that no pattern takes exponential time.
    let (mut p, mut v) = (pattern.chars(), value.chars());
    let mut star: Option<(Chars<'_>, Chars<'_>)> = None;
    loop {
        let (at, from) = (p.clone(), v.clone());
        match (p.next(), v.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                star = Some((p.clone(), from.clone()));
                v = from;
            }
            (Some(wanted), Some(found)) if wanted == '?' || wanted == found => {}
            (_, None) => return at.as_str().is_empty(),
            _ => match &mut star {
                Some((after, tried)) => {
                    // The star takes one character more.
                    let _ = tried.next();
                    (p, v) = (after.clone(), tried.clone());
                }
                None => return false,
            },
        }
    }
}

/// Whether `value` matches a list of which some may be negated with `!`: one positive at least, no negated one
/// (`ssh_config(5)`, PATTERNS).
#[must_use]
pub fn matches_list<'a>(patterns: impl IntoIterator<Item = &'a str>, value: &str) -> bool {
    let mut matched = false;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(negated) if matches(negated, value) => return false,
            Some(_) => {}
            None => matched |= matches(pattern, value),
        }
    }
    matched
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_marks() {
        for (pattern, value) in [("a*b*c", "aXbYbZc"), ("*", ""), ("web-?", "web-1"), ("*-fw", "edge-fw"), ("x", "x")] {
            assert!(matches(pattern, value), "{pattern} {value}");
        }
        for (pattern, value) in [("?", ""), ("web-?", "web-12"), ("*-fw", "EDGE-FW"), ("x", "xy"), ("", "x")] {
            assert!(!matches(pattern, value), "{pattern} {value}");
        }
    }
}
