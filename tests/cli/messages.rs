//! The table of messages, docs/messages.txt: every line `ssh-eic: …` on the stderr of a process that a test ran.
//!
//! [`collect`] writes the lines of each test to a file of its own in the folder `messages` of the target folder.
//! contrib/messages merges them into the table, and tests/run compares them with it. What differs from run to run
//! (identifiers, addresses, paths, times, numbers) is replaced by a placeholder in capitals.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Tests of this process that have a file: the first line of a test replaces the file of an earlier run.
static STARTED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Adds the messages in `stderr` to the file of the running test.
pub(crate) fn collect(stderr: &str) {
    let lines: String = stderr.lines().filter_map(message).map(|line| normalised(line) + "\n").collect();
    if lines.is_empty() {
        return;
    }
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("other").replace("::", ".");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("messages");
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    let is_first = started.insert(test.clone());
    let mut options = OpenOptions::new();
    options.create(true).write(true).truncate(is_first).append(!is_first);
    fs::create_dir_all(&folder).expect("the folder of messages");
    let mut file = options.open(folder.join(test)).expect("a file of messages");
    file.write_all(lines.as_bytes()).expect("a file of messages");
}

/// A message of the program. The details under -v and -vv are no part of the table: they differ from run to run.
fn message(line: &str) -> Option<&str> {
    let line = line.trim_end();
    let is_detail = ["ssh-eic: debug: ", "ssh-eic: trace: "].into_iter().any(|prefix| line.starts_with(prefix));
    (line.starts_with("ssh-eic: ") && !is_detail).then_some(line)
}

/// The line without control characters and with placeholders for what varies.
fn normalised(line: &str) -> String {
    let binary = Path::new(env!("CARGO_BIN_EXE_ssh-eic")).parent().expect("the folder of the binary");
    let line = line.replace(&*binary.to_string_lossy(), "BIN").replace(env!("CARGO_MANIFEST_DIR"), "REPOSITORY");
    // The home in the user database, not the sandbox's home.
    let line = match std::env::var("HOME") {
        Ok(home) if home.len() > 1 => line.replace(&format!("{home}/"), "USER-HOME/"),
        _ => line,
    };
    let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut result = String::new();
    let line = with_temporary_folders_replaced(&line);
    let line = with_tail_replaced(&line, ".ssh-eic-trial-", "RANDOM", |c| c.is_ascii_alphanumeric());
    let mut rest =
        with_tail_replaced(&line, "SHA256:", "FINGERPRINT", |c| c.is_ascii_alphanumeric() || matches!(c, '+' | '/'));
    while !rest.is_empty() {
        let end = rest.find(|c: char| !is_part_of_word(c)).unwrap_or(rest.len());
        if end == 0 {
            let separator = rest.remove(0);
            result.push(separator);
        } else {
            result += &placeholder(&rest[..end]);
            rest.drain(..end);
        }
    }
    result
}

fn is_part_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '-' | '_' | '+')
}

/// `~` for the home of a sandbox, `TMP` for other folders below /tmp.
fn with_temporary_folders_replaced(line: &str) -> String {
    let mut parts = line.split("/tmp/");
    let mut result = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| !c.is_ascii_alphanumeric() && !"._-".contains(c)).unwrap_or(part.len());
        let (folder, rest) = part.split_at(end);
        let home = folder.starts_with("sbx-").then(|| rest.strip_prefix("/home")).flatten();
        match home {
            Some(rest) => result.extend(["~", rest]),
            None => result.extend(["TMP", rest]),
        }
    }
    result
}

/// What follows `prefix`, as far as its characters belong to a random name, replaced.
fn with_tail_replaced(line: &str, prefix: &str, placeholder: &str, is_part: impl Fn(char) -> bool) -> String {
    let mut parts = line.split(prefix);
    let mut result = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        result.extend([prefix, placeholder, part.trim_start_matches(&is_part)]);
    }
    result
}

/// The word itself, or what stands for it in the table.
fn placeholder(word: &str) -> String {
    let body = word.trim_end_matches(['.', ':', '-']);
    let tail = &word[body.len()..];
    let is_hex = |text: &str| text.len() >= 6 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let has_digit = |text: &str| text.bytes().any(|b| b.is_ascii_digit());
    let aws_id = ["i", "vpc", "sg", "subnet", "ami", "eice", "s"]
        .into_iter()
        .find(|kind| body.strip_prefix(kind).and_then(|rest| rest.strip_prefix('-')).is_some_and(is_hex));
    let is_ipv4 = body.split('.').count() == 4 && body.split('.').all(|part| part.parse::<u8>().is_ok());
    let is_key = body.len() >= 16 && (body.starts_with("AKIA") || body.starts_with("ASIA"));
    if let Some(kind) = aws_id {
        format!("{kind}-ID{tail}")
    } else if is_ipv4 || (body.contains(':') && body.parse::<std::net::Ipv6Addr>().is_ok()) {
        format!("ADDRESS{tail}")
    } else if is_key {
        format!("ACCESS-KEY{tail}")
    } else {
        let part = |part: &str| if is_hex(part) && has_digit(part) { "HEX".to_owned() } else { numbers(part) };
        let parts: Vec<String> = body.split('-').map(part).collect();
        parts.join("-") + tail
    }
}

/// `N` for each number that is no part of a name such as `ed25519`.
fn numbers(text: &str) -> String {
    let mut result = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let is_number = c.is_ascii_digit() && !result.ends_with(|before: char| before.is_ascii_alphanumeric());
        if !is_number {
            result.push(c);
            continue;
        }
        result.push('N');
        while chars.peek().is_some_and(|c| c.is_ascii_digit() || *c == '.') {
            chars.next();
        }
    }
    result
}

#[test]
fn what_varies_is_replaced() {
    for (line, expected) in [
        ("ssh-eic: removed 12 keys", "ssh-eic: removed N keys"),
        (
            "ssh-eic: error: prod-web-1 (i-0a1b2c3d4e5f60718) is not in eu-west-1",
            "ssh-eic: error: prod-web-N (i-ID) is not in eu-west-N",
        ),
        ("ssh-eic: /tmp/sbx-aB3dEf/home/.ssh/config:12: x", "ssh-eic: ~/.ssh/config:N: x"),
        ("ssh-eic: cannot read /tmp/.tmpX1/a, id_ed25519", "ssh-eic: cannot read TMP/a, id_ed25519"),
        (
            "ssh-eic: 10.0.3.7 port 22, fd00::1: no answer within 2.5 s",
            "ssh-eic: ADDRESS port N, ADDRESS: no answer within N s",
        ),
        ("ssh-eic: web-2-0abc12 AKIAABCDEFGHIJKLMNOP", "ssh-eic: web-N-HEX ACCESS-KEY"),
        ("ssh-eic: since 2026-11-23T03:12:00Z", "ssh-eic: since N-N-NT03:N:NZ"),
    ] {
        assert_eq!(normalised(line), expected);
    }
    assert_eq!(message("ssh-eic: trace: 0.1 s x"), None);
    assert_eq!(message("ssh: connect to host"), None);
}
