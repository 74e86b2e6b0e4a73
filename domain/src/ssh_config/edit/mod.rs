//! Where our part stands in the user's own ssh config, and how it gets there and out again.
//!
//! It is one `Include` line below a comment (earlier versions wrote no comment), or a marked block with everything in it.
//! Either has to come before any Host or Match: behind one it would belong to that block (`ssh_config(5)`). All other bytes
//! of the file stay as they are, and a block's digest shows whether it was changed by hand.

use std::ops::Range;

use crate::digest;
use crate::ssh_config::read::{arguments_of, raw_lines, split_keyword};
use crate::ssh_config::render::PERCENT_RANGE;

const BEGIN: &str = "# >>> ssh-eic";
const END: &str = "# <<< ssh-eic";

/// The line above the Include line. A line with exactly this text is the program's own wherever it is.
pub const COMMENT: &str = "# Written by ssh-eic for EC2 instances; \"ssh-eic remove\" deletes these two lines.";

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
            format!("{COMMENT}{end}{line}{end}").into_bytes()
        }
    };
    let parts: Vec<&Own> = found.iter().filter(|own| !own.is_orphan).collect();
    if let [only] = parts.as_slice() {
        let is_same = if part == Part::Line {
            is_as_good(&config[only.include.clone()], line)
        } else {
            config[only.bytes.clone()] == wanted
        };
        if is_same {
            return Edit::Nothing;
        }
    }
    // Before it there are settings for all hosts at most, so that its place is as good as the top.
    let at = parts.first().map_or(0, |own| own.bytes.start);
    Edit::Replace([without(config, &found, 0..at), wanted, without(config, &found, at..config.len())].concat())
}

/// The config without any part of ours.
///
/// # Errors
///
/// [`Trouble`] where it cannot be told what is ours.
pub fn remove(config: &[u8], line: &str) -> Result<Vec<u8>, Trouble> {
    Ok(without(config, &find(config, line)?, 0..config.len()))
}

/// A part of ours as it stands in a config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// The number of the Include line, or of the first line of a block; counted from 1.
    pub line: usize,
    /// All of it.
    pub text: Vec<u8>,
    /// Whether it is a block, and not an Include line.
    pub is_block: bool,
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
    let one = |own: Own| {
        let text = config[own.bytes].to_vec();
        Present { line: own.line, is_block: text.starts_with(BEGIN.as_bytes()), text, misplaced: own.misplaced }
    };
    Ok(find(config, line)?.into_iter().filter(|own| !own.is_orphan).map(one).collect())
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

/// A part of a config that this program wrote.
struct Own {
    bytes: Range<usize>,
    /// The Include line without its comment; all bytes of a block.
    include: Range<usize>,
    line: usize,
    misplaced: Option<Trouble>,
    /// A comment whose Include line was deleted or moved by hand.
    is_orphan: bool,
}

fn find(config: &[u8], line: &str) -> Result<Vec<Own>, Trouble> {
    let mut found = Vec::new();
    let mut outer = None;
    let mut open: Option<(usize, usize, usize)> = None;
    let mut comment: Option<(usize, Range<usize>)> = None;
    for (number, Range { start, end }) in raw_lines(config) {
        let present = &config[start..end];
        let own = |from: usize, include: usize, first: usize| Own {
            bytes: from..end,
            include: include..end,
            line: first,
            misplaced: outer.map(|block| Trouble::Misplaced { line: first, block }),
            is_orphan: false,
        };
        let above = comment.take();
        let is_include = open.is_none() && is_ours(present, line);
        if let (Some((number, bytes)), false) = (&above, is_include) {
            found.push(orphan(*number, bytes));
        }
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
                found.push(own(from, from, first));
                open = None;
            }
            None if present.starts_with(BEGIN.as_bytes()) => open = Some((number, start, end)),
            None if present.starts_with(END.as_bytes()) => return Err(Trouble::Unopened { line: number }),
            None if is_edited(present, line) => return Err(Trouble::EditedLine { line: number }),
            None if is_include => found.push(own(above.map_or(start, |(_, bytes)| bytes.start), start, number)),
            None if present.trim_ascii_end() == COMMENT.as_bytes() => comment = Some((number, start..end)),
            None if outer.is_none() && starts_block(present) => outer = Some(number),
            Some(_) | None => {}
        }
    }
    found.extend(comment.map(|(number, bytes)| orphan(number, &bytes)));
    match open {
        Some((first, ..)) => Err(Trouble::Unclosed { line: first }),
        None => Ok(found),
    }
}

fn orphan(line: usize, bytes: &Range<usize>) -> Own {
    Own { bytes: bytes.clone(), include: bytes.clone(), line, misplaced: None, is_orphan: true }
}

/// The bytes of `range` that the program did not write. No part of `found` crosses a limit of the range.
fn without(config: &[u8], found: &[Own], range: Range<usize>) -> Vec<u8> {
    let mut kept = Vec::with_capacity(range.len());
    let mut at = range.start;
    for own in found.iter().filter(|own| range.start <= own.bytes.start && own.bytes.end <= range.end) {
        kept.extend_from_slice(&config[at..own.bytes.start]);
        at = own.bytes.end;
    }
    kept.extend_from_slice(&config[at..range.end]);
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
