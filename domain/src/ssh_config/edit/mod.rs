//! Where our part stands in the user's own ssh config, and how it gets there and out again.
//!
//! It is one `Include` line, or a marked block with everything in it. Either has to come before any Host or Match:
//! behind one it would belong to that block (`ssh_config(5)`). All other bytes of the file stay as they are, and a
//! block's digest tells whether somebody has changed it by hand.

use std::ops::Range;

use crate::digest;
use crate::ssh_config::read::{arguments_of, raw_lines, split_keyword};
use crate::ssh_config::render::PERCENT_RANGE;

const BEGIN: &str = "# >>> ssh-eic";
const END: &str = "# <<< ssh-eic";

/// What shall stand in the config.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// The Include line.
    Line,
    /// A block with this text, which ends with a newline.
    Block(&'a str),
}

/// What has to happen to the file.
#[derive(Debug, PartialEq, Eq)]
pub enum Edit {
    /// Our part stands where it works.
    Nothing,
    /// The file's new content.
    Replace(Vec<u8>),
    /// It cannot be understood, and is not touched.
    Stop(Trouble),
}

/// Why a file is not touched. Line numbers are counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// The file starts with a byte-order mark, which breaks every ssh call already (readconf.c): nothing to build on.
    ByteOrderMark,
    /// Somebody has added other files to our line. It is theirs to take apart.
    EditedLine {
        /// Where the line is.
        line: usize,
    },
    /// Somebody has changed what is between the marks.
    EditedBlock {
        /// Where the block begins.
        line: usize,
        /// Where it ends.
        end: usize,
    },
    /// A mark that begins a block without one that ends it.
    Unclosed {
        /// Where the mark is.
        line: usize,
    },
    /// A mark that ends a block without one that begins it.
    Unopened {
        /// Where the mark is.
        line: usize,
    },
    /// Our part stands inside a block.
    Misplaced {
        /// Where our part is.
        line: usize,
        /// The Host or Match line that it belongs to.
        block: usize,
    },
}

/// Plans to have `part` in the config, at the very top or where it stands already. `line` is our Include line without
/// its end.
#[must_use]
pub fn insert(config: &[u8], line: &str, part: Part<'_>) -> Edit {
    if config.starts_with(b"\xef\xbb\xbf") {
        return Edit::Stop(Trouble::ByteOrderMark);
    }
    let found = match find(config, line) {
        Ok(found) => found,
        Err(trouble) => return Edit::Stop(trouble),
    };
    if let Some(trouble) = found.iter().find_map(|own| own.misplaced) {
        return Edit::Stop(trouble);
    }
    let wanted = match part {
        Part::Block(body) => block(body).into_bytes(),
        Part::Line => {
            let end = if config.windows(2).any(|w| w == b"\r\n") { "\r\n" } else { "\n" };
            format!("{line}{end}").into_bytes()
        }
    };
    if let [only] = found.as_slice() {
        let there = &config[only.bytes.clone()];
        let same = if part == Part::Line { is_as_good(there, line) } else { there == wanted };
        if same {
            return Edit::Nothing;
        }
    }
    // Before it there are settings for all hosts at most, so that its place is as good as the top.
    let at = found.first().map_or(0, |own| own.bytes.start);
    let after = without(config, &found).split_off(at);
    Edit::Replace([&config[..at], &wanted, &after].concat())
}

/// The config without any part of ours.
///
/// # Errors
///
/// [`Trouble`] where it cannot be told what is ours.
pub fn remove(config: &[u8], line: &str) -> Result<Vec<u8>, Trouble> {
    Ok(without(config, &find(config, line)?))
}

/// A part of ours as it stands in a config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// Where it begins, counted from 1.
    pub line: usize,
    /// All of it.
    pub text: Vec<u8>,
    /// It has no effect where it stands.
    pub misplaced: Option<Trouble>,
}

/// The parts of ours in a config, in their order.
///
/// # Errors
///
/// As [`remove`], and for a byte-order mark.
pub fn present(config: &[u8], line: &str) -> Result<Vec<Present>, Trouble> {
    if config.starts_with(b"\xef\xbb\xbf") {
        return Err(Trouble::ByteOrderMark);
    }
    let one = |own: Own| Present {
        // The last piece is what stands before it on its own line: nothing.
        line: config[..own.bytes.start].split(|&b| b == b'\n').count(),
        text: config[own.bytes].to_vec(),
        misplaced: own.misplaced,
    };
    Ok(find(config, line)?.into_iter().map(one).collect())
}

/// The config with empty lines in the place of ours, so that all others keep their numbers; none where it cannot be
/// told what is ours.
#[must_use]
pub fn blanked(config: &[u8], line: &str) -> Option<Vec<u8>> {
    let mut blanked = config.to_vec();
    for own in find(config, line).ok()? {
        for byte in &mut blanked[own.bytes] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
    }
    Some(blanked)
}

/// The config with `other` in the place of our line: what ssh would make of it without touching ours.
#[must_use]
pub fn replace_line(config: &[u8], line: &str, other: &str) -> Vec<u8> {
    let end = |present: &[u8]| if present.ends_with(b"\n") { "\n" } else { "" };
    let one = |present: &[u8]| {
        if is_ours(present, line) { format!("{other}{}", end(present)).into_bytes() } else { present.to_vec() }
    };
    config.split_inclusive(|&b| b == b'\n').flat_map(one).collect()
}

/// The block around a text: marks with a digest, and a `Match all` at its end, so that what follows in the user's file
/// belongs to no host of ours.
fn block(body: &str) -> String {
    let inner = format!("{body}Match all\n");
    format!(
        "{BEGIN} {} (written by ssh-eic sync: change config.toml instead) >>>\n{inner}{END} <<<\n",
        digest::of([inner.as_bytes()])
    )
}

/// A part of ours in a config.
struct Own {
    bytes: Range<usize>,
    misplaced: Option<Trouble>,
}

fn find(config: &[u8], line: &str) -> Result<Vec<Own>, Trouble> {
    let mut found = Vec::new();
    let mut outer = None;
    let mut open: Option<(usize, usize, usize)> = None;
    for (number, Range { start, end }) in raw_lines(config) {
        let present = &config[start..end];
        let own = |from: usize, first: usize| Own {
            bytes: from..end,
            misplaced: outer.map(|block| Trouble::Misplaced { line: first, block }),
        };
        match open {
            Some((first, ..)) if present.starts_with(BEGIN.as_bytes()) => {
                return Err(Trouble::Unclosed { line: first });
            }
            Some((first, from, inner)) if present.starts_with(END.as_bytes()) => {
                let mark = String::from_utf8_lossy(&config[from..inner]);
                let body = String::from_utf8_lossy(&config[inner..start]);
                if mark.split(' ').nth(3) != Some(digest::of([body.as_bytes()]).as_str()) {
                    return Err(Trouble::EditedBlock { line: first, end: number });
                }
                found.push(own(from, first));
                open = None;
            }
            None if present.starts_with(BEGIN.as_bytes()) => open = Some((number, start, end)),
            None if present.starts_with(END.as_bytes()) => return Err(Trouble::Unopened { line: number }),
            None if is_edited(present, line) => return Err(Trouble::EditedLine { line: number }),
            None if is_ours(present, line) => found.push(own(start, number)),
            None if outer.is_none() && starts_block(present) => outer = Some(number),
            Some(_) | None => {}
        }
    }
    match open {
        Some((first, ..)) => Err(Trouble::Unclosed { line: first }),
        None => Ok(found),
    }
}

fn without(config: &[u8], found: &[Own]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(config.len());
    let mut at = 0;
    for own in found {
        kept.extend_from_slice(&config[at..own.bytes.start]);
        at = own.bytes.end;
    }
    kept.extend_from_slice(&config[at..]);
    kept
}

/// An Include whose first file is ours: the one that is included now, or the first of those that were before.
fn is_ours(present: &[u8], line: &str) -> bool {
    let Some(own) = included(line.as_bytes()).into_iter().next() else { return false };
    let before = [folder(&own), b"/guard"].concat();
    included(present).first().is_some_and(|first| [&own, &before].into_iter().any(|file| is_same_file(first, file)))
}

/// The same files in the same order, perhaps in another spelling.
fn is_as_good(present: &[u8], line: &str) -> bool {
    let (there, ours) = (included(present), included(line.as_bytes()));
    there.len() == ours.len() && there.iter().zip(&ours).all(|(one, own)| is_same(one, own))
}

/// The same with a `%` that some clients expand, which is not as good.
fn is_same_file(path: &[u8], own: &[u8]) -> bool {
    is_same(&literal(path), &literal(own))
}

fn literal(path: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(path).replace(PERCENT_RANGE, "%").into_bytes()
}

/// Whether a path is our absolute one: as it stands, below `~`, or below `~/.ssh` as ssh reads a relative one.
fn is_same(path: &[u8], own: &[u8]) -> bool {
    const FOLDER: &[u8] = b"/.ssh/";
    let home = own.windows(FOLDER.len()).rposition(|window| window == FOLDER).map(|at| &own[..at]);
    match (path, home) {
        ([b'/', ..], _) => path == own,
        ([], _) | (_, None) => false,
        ([b'~', rest @ ..], Some(home)) => [home, rest].concat() == own,
        (relative, Some(home)) => [home, FOLDER, relative].concat() == own,
    }
}

/// One of ours to which files of other folders were added. (A version before may have written others of our folder.)
fn is_edited(present: &[u8], line: &str) -> bool {
    let ours = included(line.as_bytes()).first().map(|first| folder(first).to_vec()).unwrap_or_default();
    is_ours(present, line) && included(present).iter().any(|path| !is_same_file(folder(path), &ours))
}

fn folder(path: &[u8]) -> &[u8] {
    &path[..path.iter().rposition(|&b| b == b'/').unwrap_or(0)]
}

/// The paths of an Include line; none for any other line.
fn included(line: &[u8]) -> Vec<Vec<u8>> {
    let paths = arguments_of(line, "Include").unwrap_or_default();
    paths.into_iter().map(String::into_bytes).collect()
}

fn starts_block(line: &[u8]) -> bool {
    let keyword = split_keyword(line).map_or(&b""[..], |(keyword, _)| keyword);
    keyword.eq_ignore_ascii_case(b"host") || keyword.eq_ignore_ascii_case(b"match")
}

#[cfg(test)]
mod tests;
