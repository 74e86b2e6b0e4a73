//! Host keys in the console output of an EC2 instance.
//!
//! cloud-init prints the public keys between two marker lines, once per instance; NixOS, FreeBSD, Fedora `CoreOS` and
//! RHCOS print fingerprints at every boot. The last block that has a complete key counts; fingerprints count only if no
//! block has one.
//!
//! IAM and TLS authenticate the transport, but the content is everything that was written to the guest's console. What
//! a party can do who is able to add lines to it:
//! - A remote party, through text that sshd or another daemon logs: nothing. Such a line starts with a time stamp, a
//!   host name or the daemon's name, and a marker, key or fingerprint is read only at the start of a line or after one
//!   of cloud-init's own prefixes. A carriage return inside a line does not end it, and loggers escape line feeds. The
//!   kernel puts its time stamp before each line of a message, and no kernel message that begins with a process name
//!   (`cloud-init[99]: segfault at …`) continues with text that the process chooses.
//! - Text that arrives inside a block or in the middle of a key line: at worst the key is lost, never changed. A key has
//!   to fill its base64 field and its structure exactly. If no key is left, the output is unusable.
//! - A block that one writer opened cannot be filled or closed by another: every line of a block has the prefix,
//!   including the process id, of its first line.
//! - **Not prevented:** a party that writes whole lines of its choice to the console device. That takes root on the
//!   instance (`/dev/console`, `/dev/kmsg`), hence also its host keys; or a local user whose lines journald forwards
//!   under an identifier of his choice (`ForwardToConsole=yes` and `logger -t cloud-init`), which no image does as
//!   delivered. A plain copy of a remote party's text to the console, without any prefix, would be the same.
//!
//! Every function is linear in the length of the output. Not here: requesting the output, deciding what to trust.

use crate::host_key::{Fingerprint, HostKey, HostKeyType};

const BEGIN_KEYS: &str = "-----BEGIN SSH HOST KEY KEYS-----";
const END_KEYS: &str = "-----END SSH HOST KEY KEYS-----";
const BEGIN_FINGERPRINTS: &str = "-----BEGIN SSH HOST KEY FINGERPRINTS-----";
const END_FINGERPRINTS: &str = "-----END SSH HOST KEY FINGERPRINTS-----";
/// Fedora `CoreOS` and RHCOS, above the login prompt (console-login-helper-messages).
const BANNER: &str = "SSH host key: ";

/// What a console output says about the host keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsoleKeys {
    /// The keys of the last block that has any; at least one.
    Keys(Vec<HostKey>),
    /// Fingerprints only; at least one.
    Fingerprints(Vec<ConsoleFingerprint>),
    /// Neither.
    Unusable(Unusable),
}

/// A fingerprint that the console lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleFingerprint {
    /// The digest of the key.
    pub fingerprint: Fingerprint,
    /// The key type as `ssh-keygen -l` prints it, such as `ED25519`.
    pub label: String,
}

/// Why a console output has no usable host key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// Nothing but white space: AWS takes a snapshot some minutes after the instance has started.
    NoOutput,
    /// No block. Either the image prints none, or the block is no longer in the output after a reboot; the output alone
    /// does not show which.
    NoBlock,
    /// The last block contains no key.
    EmptyBlock,
    /// The last block contains damaged keys only.
    TruncatedKey,
    /// The last block has no end: it is being written, or the output was cut at 64 KiB.
    UnclosedBlock,
}

/// The writer of a line, as far as its prefix shows: lines of different writers do not belong to one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writer<'a> {
    /// No prefix: an echo to the console device.
    Plain,
    /// `[   12.3] cloud-init[99]: `, with this process id.
    CloudInit(&'a str),
    /// `ec2: ` or `<14>Nov 25 10:00:00 cloud-init: ` (fingerprint blocks only), with this identifier.
    Logger(&'a str),
}

/// A block that has not ended yet.
#[derive(Debug)]
struct Open<'a, T> {
    writer: Writer<'a>,
    items: Vec<T>,
    damaged: bool,
}

impl<'a, T> Open<'a, T> {
    fn new(writer: Writer<'a>) -> Self {
        Self { writer, items: Vec::new(), damaged: false }
    }
}

/// What has been found up to a line.
#[derive(Debug, Default)]
struct Found<'a> {
    open_keys: Option<Open<'a, HostKey>>,
    open_fingerprints: Option<Open<'a, ConsoleFingerprint>>,
    keys: Vec<HostKey>,
    fingerprints: Vec<ConsoleFingerprint>,
    banner: Vec<ConsoleFingerprint>,
    /// Why the last complete key block had no key.
    reason: Option<Unusable>,
}

/// Reads decoded console output: any bytes.
#[must_use]
pub fn read(output: &[u8]) -> ConsoleKeys {
    if output.iter().all(|b| b.is_ascii_whitespace() || *b == 0) {
        return ConsoleKeys::Unusable(Unusable::NoOutput);
    }
    let mut found = Found::default();
    for line in output.split(|&b| b == b'\n') {
        // Lines that are not text cannot be those of cloud-init.
        if let Ok(line) = std::str::from_utf8(line) {
            found.read_line(line.trim_end_matches('\r'));
        }
    }
    found.result()
}

impl<'a> Found<'a> {
    fn read_line(&mut self, line: &'a str) {
        let (writer, text) = split_writer(line);
        if !matches!(writer, Writer::Logger(_)) {
            self.read_key_line(writer, text);
        }
        self.read_fingerprint_line(writer, text);
        if writer == Writer::Plain {
            self.read_banner_line(text);
        }
    }

    fn read_key_line(&mut self, writer: Writer<'a>, text: &str) {
        if text == BEGIN_KEYS {
            self.open_keys = Some(Open::new(writer));
            return;
        }
        let Some(open) = self.open_keys.as_mut().filter(|open| open.writer == writer) else { return };
        if text == END_KEYS {
            if !open.items.is_empty() {
                self.keys = std::mem::take(&mut open.items);
            }
            self.reason = Some(if open.damaged { Unusable::TruncatedKey } else { Unusable::EmptyBlock });
            self.open_keys = None;
        } else if text.split(' ').next().is_some_and(|name| HostKeyType::parse(name).is_some()) {
            match HostKey::parse(text) {
                Some(key) => open.items.push(key),
                None => open.damaged = true,
            }
        }
    }

    fn read_fingerprint_line(&mut self, writer: Writer<'a>, text: &str) {
        if text == BEGIN_FINGERPRINTS {
            self.open_fingerprints = Some(Open::new(writer));
            return;
        }
        let Some(open) = self.open_fingerprints.as_mut().filter(|open| open.writer == writer) else { return };
        if text == END_FINGERPRINTS {
            if !open.items.is_empty() {
                self.fingerprints = std::mem::take(&mut open.items);
            }
            self.open_fingerprints = None;
        } else if let Some(fingerprint) = keygen_line(text) {
            open.items.push(fingerprint);
        }
    }

    /// The banner has no end and is printed again at each boot, so the last line of each key type counts.
    fn read_banner_line(&mut self, text: &str) {
        let read = || {
            let (fingerprint, label) = text.strip_prefix(BANNER)?.trim_end().split_once(' ')?;
            Some(ConsoleFingerprint { fingerprint: Fingerprint::parse(fingerprint)?, label: in_parentheses(label)? })
        };
        if let Some(read) = read() {
            match self.banner.iter_mut().find(|listed| listed.label == read.label) {
                Some(listed) => *listed = read,
                None => self.banner.push(read),
            }
        }
    }

    fn result(self) -> ConsoleKeys {
        if !self.keys.is_empty() {
            return ConsoleKeys::Keys(self.keys);
        }
        let fingerprints = if self.fingerprints.is_empty() { self.banner } else { self.fingerprints };
        if !fingerprints.is_empty() {
            return ConsoleKeys::Fingerprints(fingerprints);
        }
        ConsoleKeys::Unusable(match self.reason {
            _ if self.open_keys.is_some() || self.open_fingerprints.is_some() => Unusable::UnclosedBlock,
            Some(reason) => reason,
            None => Unusable::NoBlock,
        })
    }
}

/// Takes one of the accepted prefixes off a line. Every other prefix stays, so that the text matches nothing.
fn split_writer(line: &str) -> (Writer<'_>, &str) {
    let cloud_init = cloud_init_prefix(line).map(|(process, text)| (Writer::CloudInit(process), text));
    let logger = || logger_prefix(line).map(|(identifier, text)| (Writer::Logger(identifier), text));
    cloud_init.or_else(logger).unwrap_or((Writer::Plain, line))
}

/// `[   12.345678] cloud-init[99]: TEXT`: journald's copy of cloud-init's standard output.
fn cloud_init_prefix(line: &str) -> Option<(&str, &str)> {
    let (stamp, rest) = line.strip_prefix('[')?.split_once("] cloud-init[")?;
    let (seconds, fraction) = stamp.trim_start_matches(' ').split_once('.')?;
    let (process, text) = rest.split_once("]: ")?;
    [seconds, fraction, process].into_iter().all(is_number).then_some((process, text))
}

/// `ec2: TEXT` (FreeBSD, old cloud-init), or with `logger -s`: `<14>Nov 25 10:00:00 cloud-init: TEXT`. A line of the
/// system log has a host name between time and identifier.
fn logger_prefix(line: &str) -> Option<(&str, &str)> {
    let rest = match line.strip_prefix('<') {
        None => line,
        Some(rest) => {
            let (priority, rest) = rest.split_once('>')?;
            let (stamp, rest) = rest.split_at_checked("Nov 25 10:00:00 ".len())?;
            (is_number(priority) && is_time_stamp(stamp.as_bytes())).then_some(rest)?
        }
    };
    let (identifier, text) = rest.split_once(": ")?;
    let known = identifier == "ec2" || (identifier == "cloud-init" && line.starts_with('<'));
    known.then_some((identifier, text))
}

fn is_number(text: &str) -> bool {
    (1..=10).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

/// Whether this has the form `Nov 25 10:00:00 `.
fn is_time_stamp(stamp: &[u8]) -> bool {
    stamp.iter().zip(b"Aaa _0 00:00:00 ").all(|(&found, form)| match form {
        b'A' => found.is_ascii_uppercase(),
        b'a' => found.is_ascii_lowercase(),
        b'_' => found == b' ' || found.is_ascii_digit(),
        b'0' => found.is_ascii_digit(),
        &form => found == form,
    })
}

/// A line of `ssh-keygen -l`: `256 SHA256:… comment (ED25519)`. The comment may be missing or have spaces.
fn keygen_line(text: &str) -> Option<ConsoleFingerprint> {
    let (bits, rest) = text.split_once(' ')?;
    let (fingerprint, rest) = rest.split_once(' ')?;
    let label = rest.trim_end().rsplit(' ').next()?;
    let fingerprint = Fingerprint::parse(fingerprint).filter(|_| is_number(bits))?;
    Some(ConsoleFingerprint { fingerprint, label: in_parentheses(label)? })
}

/// `ED25519` of `(ED25519)`; only the key types that can be compared with a presented key.
fn in_parentheses(text: &str) -> Option<String> {
    let label = text.strip_prefix('(')?.strip_suffix(')')?;
    HostKeyType::ALL.iter().any(|key_type| key_type.label() == label).then(|| label.to_owned())
}

#[cfg(test)]
mod tests;
