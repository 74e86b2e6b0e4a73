//! Reading the user's own `ssh_config`, as far as it says which names they reach already and which other files it has.
//!
//! What ssh makes of a config is ssh's to say; this is for what no `ssh -G` tells: the patterns themselves, with their
//! file and line. Words are split as readconf.c does it (`argv_split` in misc.c): quotes of both kinds, and backslashes
//! before a quote, a space or another backslash.

/// One line with something on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Counted from 1.
    pub number: usize,
    /// In lower case.
    pub keyword: String,
    /// Without their quotes.
    pub arguments: Vec<String>,
}

/// The lines that are not empty and no comments. Bytes that are not UTF-8 are replaced.
#[must_use]
pub fn lines(config: &[u8]) -> Vec<Line> {
    let numbered = config.split(|&b| b == b'\n').enumerate();
    numbered.filter_map(|(at, line)| parse(at + 1, &String::from_utf8_lossy(line))).collect()
}

fn parse(number: usize, line: &str) -> Option<Line> {
    let line = line.trim();
    let line = line.strip_prefix('\u{feff}').unwrap_or(line);
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let (keyword, rest) = match line.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
        None => line.split_at(line.find(|c: char| c.is_ascii_whitespace() || c == '=').unwrap_or(line.len())),
    };
    let rest = rest.trim_start();
    let rest = rest.strip_prefix('=').unwrap_or(rest);
    Some(Line { number, keyword: keyword.to_ascii_lowercase(), arguments: words(rest) })
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
