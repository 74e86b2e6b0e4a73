//! What the ssh that called the hook is about to do, read from its command line.
//!
//! `Match exec` runs for every parse of the config: for connections, but also for `ssh -G`, `ssh -O exit` and a
//! connection that will reuse a master. Only the command line tells them apart (OPENSSH.md's source: ssh.c, readconf.c).
//! In doubt the answer is that the hook has to push: a push too many costs a moment, one too few a login.
//!
//! Not here: finding the caller and its command line (`sys::caller`).

use std::time::Duration;

use crate::duration;

/// What the calling ssh will do with the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intent {
    /// It only reads the config (`-G`) or talks to a master (`-O`): neither a push nor key work.
    Nothing,
    /// It will connect, unless a living master answers at the control path.
    Connects(Connection),
    /// Not an ssh that we can read: the hook pushes.
    Unknown,
}

/// A connection that the calling ssh will make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Our `ProxyCommand` will run, so that the push can be left to it.
    pub through_proxy: bool,
    /// The port given on the command line.
    pub port: Option<u16>,
    /// Which master would be reused, if one lives there.
    pub master: Master,
}

/// Where a connection looks for a master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Master {
    /// At the generated `ControlPath`.
    Ours,
    /// At a path on the command line that holds no token.
    At(String),
    /// Nowhere, or at a path that only ssh can tell.
    None,
}

/// Options of ssh(1) that take a value in all versions from 8.7. (`-P` takes one from 9.4 only.)
const WITH_VALUE: &[u8] = b"bceilmopBDEFIJLOQRSWw";

/// Whether the caller is an ssh, whose command line we can read.
#[must_use]
pub fn is_ssh(argv: &[Vec<u8>]) -> bool {
    argv.first().is_some_and(|name| name.rsplit(|&b| b == b'/').next() == Some(b"ssh"))
}

/// Reads the command line of the ssh that called.
///
/// The version of that ssh is not known here, and `-P` takes a value or not by version: if the two readings differ, the
/// hook pushes.
#[must_use]
pub fn of_caller(argv: &[Vec<u8>]) -> Intent {
    if !is_ssh(argv) {
        return Intent::Unknown;
    }
    let read = |tag| of_options(options_with(argv, tag));
    let (with_tag, without) = (read(true), read(false));
    if with_tag == without { with_tag } else { Intent::Unknown }
}

fn of_options(options: Vec<(u8, Vec<u8>)>) -> Intent {
    let mut connection = Connection { through_proxy: true, port: None, master: Master::Ours };
    for (flag, value) in options {
        match flag {
            b'G' | b'O' | b'Q' | b'V' => return Intent::Nothing,
            // ssh.c sets ProxyCommand to "none" beside a -J, "none" as its value included.
            b'J' => connection.through_proxy = false,
            b'M' => connection.master = Master::None,
            b'S' if connection.master == Master::Ours => connection.master = master_at(&text(&value)),
            b'p' if connection.port.is_none() => connection.port = text(&value).parse().ok(),
            b'o' => apply(&mut connection, &value),
            _ => {}
        }
    }
    Intent::Connects(connection)
}

/// The `ConnectTimeout` on the command line of the calling ssh, if it gives one.
#[must_use]
pub fn connect_timeout(argv: &[Vec<u8>]) -> Option<Duration> {
    config_option(argv, "connecttimeout").and_then(|value| duration::seconds(&value)).map(Duration::from_secs)
}

/// The configuration file that the calling ssh was given (`-F`), if it is text.
#[must_use]
pub fn config_file(argv: &[Vec<u8>]) -> Option<String> {
    let given = options(argv).into_iter().rfind(|(flag, _)| *flag == b'F');
    given.and_then(|(_, value)| String::from_utf8(value).ok()).filter(|file| !file.is_empty())
}

/// The `ConnectionAttempts` on the command line of the calling ssh, if it gives them.
#[must_use]
pub fn connection_attempts(argv: &[Vec<u8>]) -> Option<u32> {
    config_option(argv, "connectionattempts").and_then(|value| value.parse().ok()).filter(|&attempts| attempts > 0)
}

/// Whether the calling ssh prints nothing, not even errors (`-q`, `LogLevel=QUIET`); none if its command line does not
/// say. As in ssh.c the last of `-q` and `-v` wins, and the first `LogLevel` counts only where neither stands before it.
#[must_use]
pub fn is_quiet(argv: &[Vec<u8>]) -> Option<bool> {
    let mut quiet = None;
    for (flag, value) in options(argv) {
        match flag {
            b'q' => quiet = Some(true),
            b'v' => quiet = Some(false),
            b'o' if quiet.is_none() => {
                quiet = keyword(&value).filter(|(key, _)| key == "loglevel").map(|(_, level)| is_quiet_level(&level));
            }
            _ => {}
        }
    }
    quiet
}

/// Whether ssh prints no errors at this `LogLevel`. SILENT is another name of QUIET, and what `ssh -G` prints for it
/// (log.c).
#[must_use]
pub fn is_quiet_level(level: &str) -> bool {
    level.eq_ignore_ascii_case("quiet") || level.eq_ignore_ascii_case("silent")
}

/// The first value that `-o` gives a keyword (in lower case).
fn config_option(argv: &[Vec<u8>], wanted: &str) -> Option<String> {
    let values = options(argv).into_iter().filter(|(flag, _)| *flag == b'o');
    values.filter_map(|(_, value)| keyword(&value)).find(|(key, _)| key == wanted).map(|(_, value)| value)
}

fn master_at(path: &str) -> Master {
    let literal = path.starts_with('/') && !path.contains('%') && !path.contains("${");
    if literal { Master::At(path.to_owned()) } else { Master::None }
}

fn apply(connection: &mut Connection, option: &[u8]) {
    let Some((key, value)) = keyword(option) else { return };
    match key.as_str() {
        // With any ProxyJump, "none" included, clients before 10.3 ignore our ProxyCommand (distributions' builds differ):
        // nothing here depends on the version, since a push that was not needed costs less than a failed login.
        "proxycommand" | "proxyjump" => connection.through_proxy = false,
        "controlpath" if connection.master == Master::Ours => connection.master = master_at(&value),
        "controlmaster" if !matches!(value.as_str(), "no" | "auto") => connection.master = Master::None,
        "port" if connection.port.is_none() => connection.port = value.parse().ok(),
        _ => {}
    }
}

/// The options before and right behind the host, as getopt hands them to ssh from 9.4: flag and value ("" for a bare
/// flag).
fn options(argv: &[Vec<u8>]) -> Vec<(u8, Vec<u8>)> {
    options_with(argv, true)
}

/// The same where `-P` takes a value (`tag`), or does not.
fn options_with(argv: &[Vec<u8>], tag: bool) -> Vec<(u8, Vec<u8>)> {
    let mut found = Vec::new();
    let mut hosts = 0;
    let mut rest = argv.iter().skip(1);
    while let Some(word) = rest.next() {
        if word == b"--" || word.len() < 2 || word[0] != b'-' {
            // ssh takes options once more behind the host; the second plain word starts the remote command.
            hosts += usize::from(word != b"--");
            if word == b"--" || hosts > 1 {
                let host_follows = word == b"--" && hosts == 0;
                if !host_follows || rest.next().is_none() {
                    break;
                }
                hosts = 1;
            }
            continue;
        }
        let flags = word[1..].iter().enumerate();
        for (at, &flag) in flags {
            if WITH_VALUE.contains(&flag) || (flag == b'P' && tag) {
                let glued = &word[at + 2..];
                let value = if glued.is_empty() { rest.next().cloned().unwrap_or_default() } else { glued.to_vec() };
                found.push((flag, value));
                break;
            }
            found.push((flag, Vec::new()));
        }
    }
    found
}

/// Splits `Key=value`, `Key value` or `Key = "value"` as readconf.c does.
fn keyword(option: &[u8]) -> Option<(String, String)> {
    let option = text(option);
    let option = option.trim();
    let end = option.find(|c: char| c == '=' || c.is_whitespace())?;
    let value = option[end..].trim_start();
    let value = value.strip_prefix('=').unwrap_or(value).trim().trim_matches('"');
    Some((option[..end].to_ascii_lowercase(), value.to_owned()))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Splits at spaces; `_` stands for a space inside a word.
    fn argv(line: &str) -> Vec<Vec<u8>> {
        line.split(' ').map(|word| word.replace('_', " ").into_bytes()).collect()
    }

    fn connects(through_proxy: bool, port: Option<u16>, may_share: bool) -> Intent {
        let master = if may_share { Master::Ours } else { Master::None };
        Intent::Connects(Connection { through_proxy, port, master })
    }

    #[test]
    fn a_control_path_without_tokens_is_looked_at() {
        let at = Master::At("/home/u/.ansible/cp/1a2b3c".to_owned());
        for line in
            ["ssh -o ControlPath=\"/home/u/.ansible/cp/1a2b3c\" h", "ssh -S /home/u/.ansible/cp/1a2b3c -S none h"]
        {
            let Intent::Connects(connection) = of_caller(&argv(line)) else { panic!("{line}") };
            assert_eq!(connection.master, at, "{line}");
        }
    }

    #[test]
    fn real_command_lines_are_read_as_ssh_reads_them() {
        let plain = || connects(true, None, true);
        let table: &[(&str, Intent)] = &[
            // People.
            ("ssh prod-web-1", plain()),
            ("/usr/bin/ssh deploy@prod-web-1 uptime", plain()),
            ("ssh -p 2222 prod-web-1", connects(true, Some(2222), true)),
            ("ssh -p2222 -p 22 prod-web-1", connects(true, Some(2222), true)),
            ("ssh prod-web-1 -p 2222 -v", connects(true, Some(2222), true)),
            ("ssh -G prod-web-1", Intent::Nothing),
            ("ssh prod-web-1 -G", Intent::Nothing),
            ("ssh -vG prod-web-1", Intent::Nothing),
            ("ssh -O check prod-web-1", Intent::Nothing),
            ("ssh -Oexit prod-web-1", Intent::Nothing),
            ("ssh -J bastion prod-web-1", connects(false, None, true)),
            ("ssh -Jnone prod-web-1", connects(false, None, true)),
            ("ssh -o ProxyJump=bastion prod-web-1", connects(false, None, true)),
            ("ssh -oProxyJump=none prod-web-1", connects(false, None, true)),
            ("ssh -o proxyjump_none prod-web-1", connects(false, None, true)),
            (
                "/usr/bin/ssh -x -oPermitLocalCommand=no -oProxyJump=none -s -- prod-web-1 sftp",
                connects(false, None, true),
            ),
            ("ssh -o proxycommand_=_nc_%h_%p prod-web-1", connects(false, None, true)),
            ("ssh -S none prod-web-1", connects(true, None, false)),
            ("ssh -M -N prod-web-1", connects(true, None, false)),
            ("ssh -o ControlPath=none prod-web-1", connects(true, None, false)),
            ("ssh -o ControlMaster=yes prod-web-1", connects(true, None, false)),
            ("ssh -o Port=2200 prod-web-1", connects(true, Some(2200), true)),
            // What looks like an option of ours but belongs to the remote command, or is another option's value.
            ("ssh prod-web-1 ls -G", plain()),
            ("ssh prod-web-1 -- ls -G", plain()),
            ("ssh -l G prod-web-1 ssh -J x y", plain()),
            ("ssh -i -G prod-web-1", plain()),
            ("ssh -L 8080:localhost:80 -fNT prod-web-1", plain()),
            // Programs.
            ("ssh -W [prod-db-1]:22 prod-web-1", plain()),
            (
                "/usr/bin/ssh -x -oForwardAgent=no -oPermitLocalCommand=no -oClearAllForwardings=yes -oRemoteCommand=none -oRequestTTY=no -oControlMaster=no -s -- prod-web-1 sftp",
                plain(),
            ),
            ("ssh prod-web-1 rsync --server -vlogDtpre.iLsfxCIvu . /tmp", plain()),
            ("ssh -o SendEnv=GIT_PROTOCOL git@prod-web-1 git-upload-pack_'/srv/x.git'", plain()),
            (
                "ssh -C -o ControlMaster=auto -o ControlPersist=60s -o ControlPath=\"/home/u/.ansible/cp/%h\" prod-web-1 /bin/sh",
                connects(true, None, false),
            ),
            (
                "ssh -n -tt -S none -o ProxyCommand=/usr/bin/mosh_--fake-proxy_--_%h_%p prod-web-1 -- mosh-server new",
                connects(false, None, false),
            ),
            ("ssh -T -D 51234 prod-web-1 bash", plain()),
            // With a value from 9.4, without before: only what both readings agree on is certain.
            ("ssh -P -J bastion prod-web-1", Intent::Unknown),
            ("ssh -P tag prod-web-1", plain()),
            ("ssh -P prod-web-1", plain()),
            ("ssh -P -G prod-web-1", Intent::Unknown),
            ("ssh -vP -p 2222 prod-web-1", Intent::Unknown),
            // Others.
            ("python3 deploy.py -G", Intent::Unknown),
            ("sshd: prod-web-1", Intent::Unknown),
            ("bash -c ssh", Intent::Unknown),
        ];
        for (line, expected) in table {
            assert_eq!(&of_caller(&argv(line)), expected, "{line}");
        }
        assert_eq!(of_caller(&[]), Intent::Unknown);
    }

    #[test]
    fn connection_attempts_are_the_first_ones_given() {
        let table = [
            ("ssh prod-web-1", None),
            ("ssh -o ConnectionAttempts=5 -oConnectionAttempts=9 prod-web-1", Some(5)),
            ("ssh prod-web-1 -oconnectionattempts_3 true", Some(3)),
            ("ssh prod-web-1 echo -o ConnectionAttempts=5", None),
            ("ssh -o ConnectionAttempts=0 prod-web-1", None),
        ];
        for (line, expected) in table {
            assert_eq!(connection_attempts(&argv(line)), expected, "{line}");
        }
    }

    #[test]
    fn a_quiet_client_is_recognised() {
        let table = [
            ("ssh prod-web-1", None),
            ("ssh -q prod-web-1", Some(true)),
            ("ssh -Nq prod-web-1", Some(true)),
            ("ssh -v -q prod-web-1", Some(true)),
            ("ssh -q -v prod-web-1", Some(false)),
            ("ssh -o LogLevel=QUIET prod-web-1", Some(true)),
            ("ssh -ologlevel_quiet -o LogLevel=INFO prod-web-1", Some(true)),
            ("ssh -o LogLevel=Silent prod-web-1", Some(true)),
            ("ssh -o LogLevel=ERROR prod-web-1", Some(false)),
            ("ssh -o LogLevel=ERROR -q prod-web-1", Some(true)),
            ("ssh prod-web-1 grep -q x", None),
        ];
        for (line, expected) in table {
            assert_eq!(is_quiet(&argv(line)), expected, "{line}");
        }
    }

    #[test]
    fn connect_timeout_is_the_first_one_given() {
        let table = [
            ("ssh prod-web-1", None),
            ("ssh -o ConnectTimeout=5 -oConnectTimeout=9 prod-web-1", Some(5)),
            ("ssh prod-web-1 -oconnecttimeout_1m30 true", Some(90)),
            ("ssh prod-web-1 echo -o ConnectTimeout=5", None),
            ("ssh -o ConnectTimeout=none prod-web-1", None),
        ];
        for (line, expected) in table {
            assert_eq!(connect_timeout(&argv(line)), expected.map(Duration::from_secs), "{line}");
        }
    }
}
