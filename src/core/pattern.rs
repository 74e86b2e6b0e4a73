//! Patterns of names and tags: `*` for any run of characters, `?` for any one; case counts, as in EC2's filters.

/// Whether the whole of `value` matches.
#[must_use]
pub fn matches(pattern: &str, value: &str) -> bool {
    let (pattern, value): (Vec<char>, Vec<char>) = (pattern.chars().collect(), value.chars().collect());
    // Greedy with one step back to the last star, so that no pattern takes exponential time.
    let (mut p, mut v, mut star) = (0, 0, None);
    while v < value.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, v));
                p += 1;
            }
            Some(&c) if c == '?' || c == value[v] => {
                p += 1;
                v += 1;
            }
            _ => match &mut star {
                Some((at, from)) => {
                    *from += 1;
                    (p, v) = (*at + 1, *from);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
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
