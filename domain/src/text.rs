//! Text for messages and for commands that a user copies into a shell.

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
