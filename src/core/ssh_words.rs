//! What the real client says at a login, and what a server says first: the words of `OpenSSH`, read in one place.

use crate::core::handshake::one_line;

/// How a login with a command that does nothing ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// The command ran.
    In,
    /// The login went well, and the command ended with this code.
    NoCommand(i32),
    /// No key that ssh offered is taken.
    KeyRefused,
    /// Another host key is known; the file and the line, if ssh names them.
    HostKeyChanged(Option<String>),
    /// No host key is known, and none may be learnt.
    HostKeyUnknown,
    /// The server hung up on too many keys.
    TooManyKeys,
    /// Something else, in the words that say most.
    Failed(String),
}

/// Reads the exit code (none: killed) and the standard error of `ssh HOST true`.
#[must_use]
pub fn login(code: Option<i32>, said: &str) -> Login {
    match code {
        Some(0) => return Login::In,
        // ssh's own failures are 255, whatever else comes from the other side.
        Some(code) if code != 255 => return Login::NoCommand(code),
        _ => {}
    }
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let find = |words: &str| lines.iter().find(|line| line.contains(words));
    if find("REMOTE HOST IDENTIFICATION HAS CHANGED").is_some() {
        let place = lines.iter().find(|line| line.starts_with("Offending ")).and_then(|line| line.split_once(" in "));
        return Login::HostKeyChanged(place.map(|(_, place)| place.to_owned()));
    }
    if find("Too many authentication failures").is_some() {
        return Login::TooManyKeys;
    }
    if find("Host key verification failed").is_some() {
        return Login::HostKeyUnknown;
    }
    if lines.last().is_some_and(|line| line.contains(": Permission denied (")) {
        return Login::KeyRefused;
    }
    let own = lines.iter().find_map(|line| line.strip_prefix("ssh-eic: error: "));
    let last = lines.iter().rfind(|line| !line.starts_with("Warning: Permanently added"));
    Login::Failed(one_line(own.or(last.copied()).unwrap_or("ssh says nothing")))
}

/// What a server said first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Greeting {
    /// Not enough yet.
    Incomplete,
    /// Its version line (RFC 4253 section 4.2).
    Ssh(String),
    /// Something else, its first line.
    Other(String),
}

/// Bytes of a greeting that are looked at.
pub const LONGEST_GREETING: usize = 16 * 1024;

/// Reads the first bytes of a server; `whole`: there will be no more.
#[must_use]
pub fn greeting(bytes: &[u8], whole: bool) -> Greeting {
    let text = String::from_utf8_lossy(bytes);
    let complete = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    // Lines before the version are allowed.
    if let Some(version) =
        complete.into_iter().find(|line| line.starts_with("SSH-2.0-") || line.starts_with("SSH-1.99-"))
    {
        return Greeting::Ssh(one_line(version.trim()));
    }
    if !whole && bytes.len() < LONGEST_GREETING {
        return Greeting::Incomplete;
    }
    let first: String = text.lines().next().unwrap_or_default().chars().take(SHOWN).collect();
    Greeting::Other(one_line(&first))
}

/// Letters of a stranger's greeting that are shown.
const SHOWN: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_s_words_are_understood() {
        let changed = "@@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nOffending ED25519 key in /h/.ssh/eic/known_hosts:3\nHost key verification failed.\n";
        let table = [
            (Some(0), "Warning: x", Login::In),
            (Some(1), "This account is currently not available.", Login::NoCommand(1)),
            (Some(255), "banner\nu@10.0.3.7: Permission denied (publickey).\r\n", Login::KeyRefused),
            (Some(255), changed, Login::HostKeyChanged(Some("/h/.ssh/eic/known_hosts:3".to_owned()))),
            (Some(255), "No key is known.\nHost key verification failed.", Login::HostKeyUnknown),
            (
                Some(255),
                "Received disconnect from UNKNOWN port 65535:2: Too many authentication failures\nDisconnected",
                Login::TooManyKeys,
            ),
            (Some(255), "ssh-eic: error: x is gone\nssh-eic: hint: y\nlast", Login::Failed("x is gone".to_owned())),
            (None, "", Login::Failed("ssh says nothing".to_owned())),
            (
                Some(255),
                "a\nConnection reset\nWarning: Permanently added 'i'",
                Login::Failed("Connection reset".to_owned()),
            ),
        ];
        for (code, said, meant) in table {
            assert_eq!(login(code, said), meant, "{said}");
        }
    }

    #[test]
    fn a_greeting_is_told_from_anything_else() {
        assert_eq!(greeting(b"SSH-2.0-x", false), Greeting::Incomplete);
        assert_eq!(greeting(b"Be nice\r\nSSH-2.0-x\r\n", false), Greeting::Ssh("SSH-2.0-x".to_owned()));
        assert_eq!(greeting(b"HTTP/1.1 400 Bad\r\n\r\n", false), Greeting::Incomplete);
        assert_eq!(greeting(b"HTTP/1.1 400 Bad\r\n\r\n", true), Greeting::Other("HTTP/1.1 400 Bad".to_owned()));
        assert_eq!(greeting(b"\x1b[2Jx\xff", true), Greeting::Other("?[2Jx?".to_owned()));
        assert!(matches!(greeting(&[b'a'; LONGEST_GREETING], false), Greeting::Other(line) if line.len() == SHOWN));
    }
}
