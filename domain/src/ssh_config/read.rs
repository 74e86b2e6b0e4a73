//! The one reader of `ssh_config` text: lines with their number and bytes, keywords and arguments.
//!
//! What a config means is for `ssh -G` to say; this is for what it does not print: the patterns themselves, included
//! files, and where each line is. Arguments are split as readconf.c does it (`argv_split` in misc.c): quotes of both
//! kinds, and backslashes before a quote, a space or another backslash.

use std::ops::Range;

/// A line that is neither empty nor a comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Counted from 1.
    pub number: usize,
    /// Its bytes in the config, with the line end.
    pub span: Range<usize>,
    /// In lower case.
    pub keyword: String,
    /// Without their quotes.
    pub arguments: Vec<String>,
}

/// All lines of a config with their numbers, counted from 1, and their bytes, with the line ends.
pub fn raw_lines(config: &[u8]) -> impl Iterator<Item = (usize, Range<usize>)> {
    let mut end = 0;
    (1..).zip(config.split_inclusive(|&b| b == b'\n')).map(move |(number, line)| {
        let start = end;
        end += line.len();
        (number, start..end)
    })
}

/// The lines that are neither empty nor comments. Bytes that are not UTF-8 are replaced.
#[must_use]
pub fn lines(config: &[u8]) -> Vec<Line> {
    let line = |(number, span): (usize, Range<usize>)| {
        let (keyword, rest) = split_keyword(&config[span.clone()])?;
        Some(Line { number, span, keyword: lossy(keyword).to_ascii_lowercase(), arguments: words(&lossy(rest)) })
    };
    raw_lines(config).filter_map(line).collect()
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The keyword of a line and what follows it; none for an empty line and a comment.
#[must_use]
pub fn split_keyword(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line).trim_ascii();
    if line.is_empty() || line.starts_with(b"#") {
        return None;
    }
    let (quoted, line) = line.strip_prefix(b"\"").map_or((false, line), |line| (true, line));
    let is_end = |b: &u8| if quoted { *b == b'"' } else { b.is_ascii_whitespace() || *b == b'=' };
    let end = line.iter().position(is_end).unwrap_or(line.len());
    let (keyword, rest) = line.split_at(end);
    let rest = rest.strip_prefix(b"\"").filter(|_| quoted).unwrap_or(rest).trim_ascii_start();
    Some((keyword, rest.strip_prefix(b"=").unwrap_or(rest)))
}

/// The arguments of a line with this keyword; none for any other line.
#[must_use]
pub fn arguments_of(line: &[u8], keyword: &str) -> Option<Vec<String>> {
    let (found, rest) = split_keyword(line)?;
    found.eq_ignore_ascii_case(keyword.as_bytes()).then(|| words(&lossy(rest)))
}

/// Splits the arguments of a line; a `#` at the start of one ends them.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut letters = text.chars().peekable();
    loop {
        while letters.next_if(char::is_ascii_whitespace).is_some() {}
        if letters.peek().is_none_or(|&c| c == '#') {
            return words;
        }
        let mut word = String::new();
        let mut quote = None;
        while let Some(c) = letters.next() {
            let escaped = letters.peek().copied();
            match (c, quote) {
                ('\\', _)
                    if matches!(escaped, Some('\\' | '"' | '\'')) || (quote.is_none() && escaped == Some(' ')) =>
                {
                    word.extend(letters.next());
                }
                (c, Some(open)) if c == open => quote = None,
                ('"' | '\'', None) => quote = Some(c),
                (c, None) if c.is_ascii_whitespace() => break,
                (c, _) => word.push(c),
            }
        }
        words.push(word);
    }
}

/// The line that sets `keyword` (in lower case) in the block that begins at line `from`.
#[must_use]
pub fn setting_line(config: &[u8], from: usize, keyword: &str) -> Option<usize> {
    let in_block = |line: &Line| line.number <= from || !matches!(line.keyword.as_str(), "host" | "match");
    let from_there = lines(config).into_iter().skip_while(|line| line.number < from);
    from_there.take_while(in_block).find(|line| line.keyword == keyword).map(|line| line.number)
}

/// The patterns of a `Host` line, or of a `Match` line that asks for a host.
#[must_use]
pub fn host_patterns(line: &Line) -> Vec<String> {
    match line.keyword.as_str() {
        "host" => line.arguments.clone(),
        "match" => {
            let mut patterns = Vec::new();
            let mut words = line.arguments.iter();
            while let Some(word) = words.next() {
                let (criterion, value) = word.split_once('=').unwrap_or((word, ""));
                let criterion = criterion.to_ascii_lowercase();
                if matches!(criterion.as_str(), "all" | "canonical" | "final" | "!canonical" | "!final") {
                    continue;
                }
                let value = if value.is_empty() { words.next().map_or("", String::as_str) } else { value };
                if matches!(criterion.as_str(), "host" | "originalhost") {
                    patterns.extend(value.split(',').map(str::to_owned));
                }
            }
            patterns
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_bytes() {
        let config = b"\xff\n# c\r\nHost a\r\n\"Port\" 1";
        let read = lines(config);
        let spans: Vec<(usize, &[u8])> = read.iter().map(|line| (line.number, &config[line.span.clone()])).collect();
        assert_eq!(spans, [(1, &b"\xff\n"[..]), (3, b"Host a\r\n"), (4, b"\"Port\" 1")]);
        assert_eq!((read[2].keyword.as_str(), read[2].arguments.as_slice()), ("port", &["1".to_owned()][..]));
    }

    #[test]
    fn a_setting_is_found_in_its_own_block() {
        let config = b"User a\nHost x\n  Port 1\n  # Port 2\nHost y\n  Port 3\n  PORT 4\n";
        assert_eq!(setting_line(config, 1, "user"), Some(1));
        assert_eq!(setting_line(config, 1, "port"), None);
        assert_eq!(setting_line(config, 2, "port"), Some(3));
        assert_eq!(setting_line(config, 5, "port"), Some(6));
    }

    #[test]
    fn lines_are_read_as_ssh_reads_them() {
        let config = b"\xef\xbb\xbf# c\r\n\r\n  HOST=a \"b c\" 'd' # no\r\nMatch originalhost \"x,!y\" exec \"t 'z' #\" host=q\n\tInclude ~/a\\ b \"~/c d\"\n";
        let read = lines(config);
        let plain: Vec<(usize, &str, Vec<&str>)> = read
            .iter()
            .map(|l| (l.number, l.keyword.as_str(), l.arguments.iter().map(String::as_str).collect()))
            .collect();
        assert_eq!(
            plain,
            [
                (3, "host", vec!["a", "b c", "d"]),
                (4, "match", vec!["originalhost", "x,!y", "exec", "t 'z' #", "host=q"]),
                (5, "include", vec!["~/a b", "~/c d"]),
            ]
        );
        assert_eq!(host_patterns(&read[1]), ["x", "!y", "q"]);
    }
}
