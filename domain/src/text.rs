//! Text for messages and for commands that a user copies into a shell.

use core::cmp::Ordering;

/// `a, b and 3 more`: at most `limit` names, then the number of the others.
#[must_use]
pub fn first_names<S: AsRef<str>>(names: impl IntoIterator<Item = S>, limit: usize) -> String {
    let mut names = names.into_iter();
    let mut text = String::new();
    for name in names.by_ref().take(limit) {
        text.push_str(if text.is_empty() { "" } else { ", " });
        text.push_str(name.as_ref());
    }
    match names.count() {
        0 => text,
        others => format!("{text} and {others} more"),
    }
}

/// One word of a shell command, in single quotes unless no shell would interpret any of its characters.
#[must_use]
pub fn shell_word(text: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:@%+,=".contains(&b);
    if !text.is_empty() && text.bytes().all(is_plain) { text.to_owned() } else { single_quoted(text) }
}

/// The text in the single quotes of a POSIX shell.
#[must_use]
pub fn single_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Compares texts with runs of ASCII digits as numbers, so that `web-2` precedes `web-10`.
#[must_use]
pub fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut a_rest, mut b_rest) = (a, b);
    loop {
        let (a_digits, b_digits) = (leading_digits(a_rest), leading_digits(b_rest));
        if !a_digits.is_empty() && !b_digits.is_empty() {
            let (a_number, b_number) = (a_digits.trim_start_matches('0'), b_digits.trim_start_matches('0'));
            let order = a_number.len().cmp(&b_number.len()).then_with(|| a_number.cmp(b_number));
            if order.is_ne() {
                return order;
            }
            (a_rest, b_rest) = (&a_rest[a_digits.len()..], &b_rest[b_digits.len()..]);
            continue;
        }
        let (mut a_chars, mut b_chars) = (a_rest.chars(), b_rest.chars());
        match (a_chars.next(), b_chars.next()) {
            // Equal but for leading zeros: the order stays total.
            (None, None) => return a.cmp(b),
            (a_char, b_char) if a_char != b_char => return a_char.cmp(&b_char),
            _ => (a_rest, b_rest) = (a_chars.as_str(), b_chars.as_str()),
        }
    }
}

fn leading_digits(text: &str) -> &str {
    &text[..text.bytes().take_while(u8::is_ascii_digit).count()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beyond_the_limit_are_counted() {
        for (names, expected) in [
            (&[][..], ""),
            (&["a"], "a"),
            (&["a", "b"], "a, b"),
            (&["a", "b", "c"], "a, b and 1 more"),
            (&["a", "b", "c", "d"], "a, b and 2 more"),
        ] {
            assert_eq!(first_names(names, 2), expected);
        }
    }

    #[test]
    fn numbers_are_sorted_by_value() {
        let sorted = [
            "a",
            "web",
            "web-1",
            "web-01",
            "web-2",
            "web-10",
            "web-10-a",
            "web-10-b",
            "web-é",
            "z-9",
            "z-99999999999999999999",
        ];
        let mut names = sorted;
        names.reverse();
        names.sort_by(|a, b| natural_order(a, b));
        let expected = [
            "a",
            "web",
            "web-01",
            "web-1",
            "web-2",
            "web-10",
            "web-10-a",
            "web-10-b",
            "web-é",
            "z-9",
            "z-99999999999999999999",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn only_words_that_a_shell_would_interpret_are_quoted() {
        for (text, expected) in [
            ("prod", "prod"),
            ("a/b:c@d%e+f,g=h-_.", "a/b:c@d%e+f,g=h-_."),
            ("", "''"),
            ("a b", "'a b'"),
            ("$(x)", "'$(x)'"),
            ("it's", "'it'\\''s'"),
        ] {
            assert_eq!(shell_word(text), expected);
        }
    }
}
