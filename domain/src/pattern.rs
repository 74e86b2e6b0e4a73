//! Patterns for names and tags: `*` matches any run of characters, `?` any one; case-sensitive, as in EC2 filters.

use std::str::Chars;

/// Whether the pattern matches all of `value`.
#[must_use]
pub fn matches(pattern: &str, value: &str) -> bool {
    // Backtracks only to the last star, so that the time is at most the product of both lengths.
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
                    // The star matches one more character.
                    let _ = tried.next();
                    (p, v) = (after.clone(), tried.clone());
                }
                None => return false,
            },
        }
    }
}

/// Whether at least one pattern matches `value` and no pattern negated with `!` does (`ssh_config(5)`, PATTERNS).
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
    fn stars_and_question_marks() {
        for (pattern, value) in [("a*b*c", "aXbYbZc"), ("*", ""), ("web-?", "web-1"), ("*-fw", "edge-fw"), ("x", "x")] {
            assert!(matches(pattern, value), "{pattern} {value}");
        }
        for (pattern, value) in [("?", ""), ("web-?", "web-12"), ("*-fw", "EDGE-FW"), ("x", "xy"), ("", "x")] {
            assert!(!matches(pattern, value), "{pattern} {value}");
        }
    }
}
