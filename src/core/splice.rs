//! Where our one line stands in the user's own ssh config, and how it gets there and out again.
//!
//! The `Include` has to come before any Host or Match: behind one it would belong to that block (`ssh_config(5)`). All
//! other bytes of the file stay as they are.

/// What has to happen to the file.
#[derive(Debug, PartialEq, Eq)]
pub enum Edit {
    /// The line stands where it works.
    Nothing,
    /// The file's new content.
    Replace(Vec<u8>),
    /// The file starts with a byte-order mark, which breaks every ssh call already (readconf.c): nothing to build on.
    ByteOrderMark,
    /// Somebody has added other files to our line: 1-based number of it. It is theirs to take apart.
    Edited {
        /// Where the line is.
        line: usize,
    },
    /// The line stands inside a block: 1-based numbers of it and of the Host or Match line above it.
    Misplaced {
        /// Where our line is.
        line: usize,
        /// Where the block starts that it belongs to.
        block: usize,
    },
}

/// Plans to have `line` (without its end) in the config, at the very top.
#[must_use]
pub fn insert(config: &[u8], line: &str) -> Edit {
    if config.starts_with(b"\xef\xbb\xbf") {
        return Edit::ByteOrderMark;
    }
    let mut block = None;
    for (at, present) in lines(config).enumerate() {
        if !is_ours(present, line) {
            if block.is_none() && starts_block(present) {
                block = Some(at + 1);
            }
            continue;
        }
        if is_edited(present, line) {
            return Edit::Edited { line: at + 1 };
        }
        return match block {
            Some(block) => Edit::Misplaced { line: at + 1, block },
            None if trimmed(present) == line.as_bytes() => Edit::Nothing,
            None => insert(&remove(config, line), line),
        };
    }
    let end = if config.windows(2).any(|w| w == b"\r\n") { "\r\n" } else { "\n" };
    Edit::Replace([line.as_bytes(), end.as_bytes(), config].concat())
}

/// The config with `other` in the place of our line: what ssh would make of it without touching ours.
#[must_use]
pub fn replace_line(config: &[u8], line: &str, other: &str) -> Vec<u8> {
    let end = |present: &[u8]| if present.ends_with(b"\n") { "\n" } else { "" };
    let one = |present: &[u8]| {
        if is_ours(present, line) { format!("{other}{}", end(present)).into_bytes() } else { present.to_vec() }
    };
    lines(config).flat_map(one).collect()
}

/// The config without any line of ours.
#[must_use]
pub fn remove(config: &[u8], line: &str) -> Vec<u8> {
    lines(config).filter(|present| !is_ours(present, line)).flatten().copied().collect()
}

/// The lines with their ends.
fn lines(config: &[u8]) -> impl Iterator<Item = &[u8]> {
    config.split_inclusive(|&b| b == b'\n')
}

fn trimmed(line: &[u8]) -> &[u8] {
    line.trim_ascii()
}

/// An Include that names the first of our files, whatever else it names.
fn is_ours(present: &[u8], line: &str) -> bool {
    let ours = included(line.as_bytes());
    included(present).first().is_some_and(|first| Some(first) == ours.first())
}

/// One of ours to which files of other folders were added. (A version before may have written others of our folder.)
fn is_edited(present: &[u8], line: &str) -> bool {
    let folder = |path: &[u8]| path[..path.iter().rposition(|&b| b == b'/').unwrap_or(0)].to_vec();
    let ours = included(line.as_bytes()).first().map(|first| folder(first)).unwrap_or_default();
    included(present).iter().any(|path| folder(path) != ours)
}

/// The arguments of an Include line, double quotes taken off as readconf.c does; none for any other line.
fn included(line: &[u8]) -> Vec<Vec<u8>> {
    let line = trimmed(line);
    let Some((keyword, mut rest)) = line.split_at_checked("Include".len()) else { return Vec::new() };
    if !keyword.eq_ignore_ascii_case(b"include") || !rest.first().is_some_and(|b| b.is_ascii_whitespace() || *b == b'=')
    {
        return Vec::new();
    }
    let mut arguments = Vec::new();
    loop {
        rest = rest.trim_ascii_start();
        let (argument, after) = match rest.first() {
            None => return arguments,
            Some(b'"') => split_once(&rest[1..], |b| b == b'"'),
            Some(_) => split_once(rest, |b| b.is_ascii_whitespace()),
        };
        arguments.push(argument.to_vec());
        rest = after;
    }
}

/// What is before the first byte that fits, and what is behind it.
fn split_once(text: &[u8], fits: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    match text.iter().position(|&b| fits(b)) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, b""),
    }
}

fn starts_block(line: &[u8]) -> bool {
    let line = trimmed(line);
    let end = line.iter().position(|b| b.is_ascii_whitespace() || *b == b'=').unwrap_or(line.len());
    let keyword = &line[..end];
    keyword.eq_ignore_ascii_case(b"host") || keyword.eq_ignore_ascii_case(b"match")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINE: &str = "Include /home/u/.ssh/eic/guard /home/u/.ssh/eic/hosts /home/u/.ssh/eic/hook";

    #[test]
    fn the_line_goes_to_the_very_top_in_the_file_s_own_line_ends() {
        assert_eq!(insert(b"", LINE), Edit::Replace(format!("{LINE}\n").into_bytes()));
        assert_eq!(insert(b"Host a\r\n", LINE), Edit::Replace(format!("{LINE}\r\nHost a\r\n").into_bytes()));
        assert_eq!(insert(b"# mine", LINE), Edit::Replace(format!("{LINE}\n# mine").into_bytes()));
    }

    #[test]
    fn a_line_that_works_stays_where_it_is() {
        let config = format!("# my config\nUser u\n  {LINE}\nHost a\n");
        assert_eq!(insert(config.as_bytes(), LINE), Edit::Nothing);
    }

    #[test]
    fn a_line_inside_a_block_is_told_and_not_touched() {
        let config = format!("User u\nmatch=all\n{LINE}\n");
        assert_eq!(insert(config.as_bytes(), LINE), Edit::Misplaced { line: 3, block: 2 });
    }

    #[test]
    fn an_include_of_an_earlier_version_is_replaced() {
        let config = "Include /home/u/.ssh/eic/guard /home/u/.ssh/eic/old\nHost a\n";
        assert_eq!(insert(config.as_bytes(), LINE), Edit::Replace(format!("{LINE}\nHost a\n").into_bytes()));
    }

    #[test]
    fn lines_of_the_user_s_own_are_never_taken_for_ours() {
        let line = "Include \"/home/a b/.ssh/eic/guard\" \"/home/a b/.ssh/eic/hosts\"";
        let own = "Include \"/home/a b/work.conf\"\nHost mine\n    Include \"/home/a c\"\n";
        assert_eq!(insert(own.as_bytes(), line), Edit::Replace(format!("{line}\n{own}").into_bytes()));
        assert_eq!(remove(own.as_bytes(), line), own.as_bytes());
        let edited = format!("User u\n{LINE} /home/u/.ssh/more\n");
        assert_eq!(insert(edited.as_bytes(), LINE), Edit::Edited { line: 2 });
    }

    proptest! {
        #[test]
        fn removing_gives_back_every_byte(config in prop::collection::vec(any::<u8>(), 0..300)) {
            match insert(&config, LINE) {
                Edit::Replace(edited) => {
                    prop_assert_eq!(insert(&edited, LINE), Edit::Nothing);
                    prop_assert_eq!(remove(&edited, LINE), config);
                }
                other => prop_assert!(config.starts_with(b"\xef\xbb\xbf"), "{:?}", other),
            }
        }
    }
}
