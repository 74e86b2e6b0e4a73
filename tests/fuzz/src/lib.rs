//! The fuzz targets: each takes arbitrary bytes, as a network peer, an instance or another user could send them, and panics if a
//! property does not hold.
//!
//! `fuzz/` runs them under libFuzzer (`cargo fuzz run NAME`); `tests/replay.rs` replays the corpora, and mutations of them,
//! on a stable toolchain. Only parsers of the pure layer are here; they build without the AWS SDK.

#![expect(clippy::missing_panics_doc, reason = "a panic is how a target reports a defect")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domain::alias::{self, Template};
use domain::console;
use domain::described_instances::{Page, ReadError, Reader};
use domain::duration;
use domain::handshake::{Direction, disconnect};
use domain::hashed_name::HashedName;
use domain::host_key::HostKey;
use domain::http_response;
use domain::intent;
use domain::kex::{KeyExchange, Sender, packets};
use domain::known_hosts;
use domain::pattern;
use domain::policy::{self, Access, Origin, PolicyError};
use domain::session_manager::{Channel, Message, NoOverflow};
use domain::source::Route;
use domain::ssh_config::edit::{self, Edit, Part};
use domain::ssh_config::read;
use domain::ssh_config::shadow;
use domain::ssh_words;
use domain::upgrade::Url;
use domain::websocket;

/// A target: its name, which its corpus has too, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("handshake", handshake),
    ("key_exchange", key_exchange),
    ("console", console_output),
    ("described_instances", described_instances),
    ("known_hosts", known_hosts_file),
    ("websocket", websocket_frames),
    ("http_response", upgrade_response),
    ("stream_url", stream_url),
    ("session_message", session_message),
    ("session_channel", session_channel),
    ("command_line", command_line),
    ("ssh_config", ssh_config),
    ("settings", settings),
    ("policy", policy_input),
    ("ssh_output", ssh_output),
];

/// The pieces in which a stream arrives: their lengths are the first bytes of the input.
fn pieces(data: &[u8]) -> (Vec<usize>, &[u8]) {
    let (cuts, stream) = data.split_at(data.len().min(8));
    (cuts.iter().map(|cut| usize::from(*cut) + 1).collect(), stream)
}

fn in_pieces(data: &[u8], mut read: impl FnMut(&[u8])) {
    let (cuts, mut rest) = pieces(data);
    for cut in cuts.into_iter().cycle().take(rest.len() + 1) {
        let (piece, after) = rest.split_at(cut.min(rest.len()));
        read(piece);
        rest = after;
        if rest.is_empty() {
            return;
        }
    }
}

/// No byte of a direction is lost or invented, however it is cut; a DISCONNECT is one packet.
pub fn handshake(data: &[u8]) {
    let mut direction = Direction::new();
    let mut out = Vec::new();
    in_pieces(data, |piece| out.extend(direction.read(piece)));
    out.extend(direction.release());
    assert_eq!(out, pieces(data).1);
    let packet = disconnect(&String::from_utf8_lossy(data));
    assert_eq!(packet.len() % 8, 0);
}

/// After the first error every further packet is an error, and no host key is reported then.
pub fn key_exchange(data: &[u8]) {
    let mut exchange = KeyExchange::new();
    let mut failed = false;
    for (number, packet) in packets(data).enumerate() {
        let sender = if number % 2 == 0 { Sender::Server } else { Sender::Client };
        match exchange.read(sender, packet) {
            Ok(_) => assert!(!failed, "accepted after an error"),
            Err(_) => failed = true,
        }
    }
}

/// Console output of any kind is read without a panic, and no key comes out of it that its fingerprint does not describe.
pub fn console_output(data: &[u8]) {
    if let console::ConsoleKeys::Keys(keys) = console::read(data) {
        assert!(!keys.is_empty());
        for key in keys {
            assert_eq!(HostKey::from_blob(key.blob()).as_ref(), Some(&key));
        }
    }
}

/// A response is read without a panic. Where its body is cut does not change the page, nor whether there is an error.
pub fn described_instances(data: &[u8]) {
    let body = pieces(data).1;
    let whole = read_page(|read| read(body));
    let cut = read_page(|read| in_pieces(data, read));
    assert_eq!(cut.ok(), whole.ok());
}

fn read_page(body: impl FnOnce(&mut dyn FnMut(&[u8]))) -> Result<Page, ReadError> {
    let mut reader = Reader::default();
    let mut read = Ok(());
    body(&mut |piece| {
        if read.is_ok() {
            read = reader.read(piece);
        }
    });
    read.and_then(|()| reader.finish())
}

/// Lines of `known_hosts` are read without a panic; a written line is read again.
pub fn known_hosts_file(data: &[u8]) {
    let name = "i-0123456789abcdef0";
    let known = known_hosts::keys_for("file", data, name);
    for listed in &known.hosts {
        let line = listed.key.known_hosts_line(name);
        assert_eq!(known_hosts::keys_for("file", line.as_bytes(), name).hosts.len(), 1);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = HashedName::parse(text.trim());
    }
}

/// Frames are decoded without a panic, and decoding ends at the first violation.
pub fn websocket_frames(data: &[u8]) {
    let mut decoder = websocket::Decoder::default();
    let mut ended = false;
    in_pieces(data, |mut piece| {
        while !ended && !piece.is_empty() {
            let before = piece.len();
            match decoder.next(&mut piece) {
                Ok(None) if piece.len() == before => return,
                Ok(_) => {}
                Err(_) => ended = true,
            }
        }
    });
}

/// The response to an upgrade or a CONNECT is read without a panic.
pub fn upgrade_response(data: &[u8]) {
    for mut reader in [http_response::Reader::of_upgrade(), http_response::Reader::of_connect()] {
        let mut ended = false;
        in_pieces(data, |piece| {
            if !ended {
                ended = !matches!(reader.read(piece), Ok(None));
            }
        });
        if !ended {
            let _ = reader.end();
        }
    }
}

/// URLs of a service are parsed without a panic, and the URL itself never appears in a debug form.
pub fn stream_url(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(url) = Url::parse(text) {
        assert_eq!(format!("{url:?}"), format!("wss://{}/…", url.authority()));
        assert!(!url.authority().contains(['?', '/', '=', '&', '%', '@']), "{}", url.authority());
    }
}

/// A message that is decoded is decoded from its encoded form again, with the same payload.
pub fn session_message(data: &[u8]) {
    if let Ok(message) = Message::decode(data) {
        let encoded = message.encode();
        let again = Message::decode(&encoded).expect("an encoded message");
        assert_eq!(again.payload, message.payload);
    }
}

/// Whatever the peer sends, the channel holds a bounded amount and ends its actions.
pub fn session_channel(data: &[u8]) {
    let mut now = Duration::ZERO;
    let mut channel = Channel::new([7; 32], 1, now, Box::new(NoOverflow));
    channel.connected("token", now);
    let mut rest = data;
    while let Some((length, after)) = rest.split_first() {
        let (frame, after) = after.split_at(usize::from(*length).min(after.len()));
        rest = after;
        channel.receive(frame, now);
        now += Duration::from_millis(u64::from(*length));
        for _ in 0..1000 {
            if channel.next_action(now).is_none() {
                break;
            }
        }
        assert!(channel.held() < 4 * 1024 * 1024, "{} bytes", channel.held());
    }
}

/// Command lines of other processes are read without a panic.
pub fn command_line(data: &[u8]) {
    let argv: Vec<Vec<u8>> = data.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
    for argv in [argv.clone(), [vec![b"ssh".to_vec()], argv].concat()] {
        let _ = intent::of_caller(&argv);
        let _ = intent::connect_timeout(&argv);
        let _ = intent::connection_attempts(&argv);
        let _ = intent::is_quiet(&argv);
    }
}

/// The user's own `ssh_config`: what is inserted is removed again without a change of any other byte, and a second insertion
/// changes nothing.
pub fn ssh_config(data: &[u8]) {
    const LINE: &str = "Include /home/u/.ssh/eic/main";
    for line in read::lines(data) {
        let _ = read::host_patterns(&line);
    }
    let _ = shadow::ahead(data, data.len());
    let _ = edit::present(data, LINE);
    let _ = edit::blanked(data, LINE);
    for part in [Part::Line, Part::Block("Host a\n    HostName 10.0.0.1\n")] {
        let Edit::Replace(config) = edit::insert(data, LINE, part) else { continue };
        assert_eq!(edit::insert(&config, LINE, part), Edit::Nothing, "a second insertion changes the file");
        let original = edit::remove(data, LINE).expect("a config that can be edited");
        assert_eq!(edit::remove(&config, LINE), Ok(original), "other bytes have changed");
    }
}

/// Values of config.toml that have a grammar of their own, and tags: an alias never has a character that ssh or a shell reads.
pub fn settings(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (value, rest) = text.split_once('\n').unwrap_or((text, ""));
    if let Some(seconds) = duration::seconds(value) {
        assert_eq!(duration::seconds(&duration::text(seconds)), Some(seconds));
    }
    let _ = Route::parse(value);
    let _ = pattern::matches(value, rest);
    let _ = domain::connection_options::parse_tunnel_duration(value);
    let part = alias::sanitize(value);
    assert!(part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{part:?}");
    let Ok(template) = Template::parse(value) else { return };
    let tags: BTreeMap<String, String> = template.tags().map(|key| (key.to_owned(), rest.to_owned())).collect();
    let id = domain::ids::InstanceId::parse("i-0123456789abcdef0").expect("an id");
    let subject = alias::Subject {
        id: &id,
        az: "eu-west-1a",
        vpc: "vpc-1",
        source: rest,
        region: "eu-west-1",
        account: "111122223333",
        account_name: rest,
        tags: &tags,
    };
    if let Some(name) = template.expand(&subject) {
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)), "{name:?}");
        assert!(!name.starts_with('-') && name.len() <= 63, "{name:?}");
    }
}

/// Input of a policy: what is printed fits into a managed policy and has no other account than the requested ones.
pub fn policy_input(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut accesses: Vec<Access> = Vec::new();
    let (mut networks, mut endpoints) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let (kind, value) = line.split_at_checked(1).unwrap_or(("", ""));
        let value = value.to_owned();
        if kind == "a" {
            accesses.push(Access {
                account: format!("{:012}", accesses.len()),
                regions: BTreeSet::from(["eu-west-1".to_owned()]),
                ..Access::default()
            });
        }
        let Some(access) = accesses.last_mut() else { continue };
        match kind {
            "r" => {
                access.regions.insert(value);
            }
            "u" => {
                access.users.insert(value);
            }
            "t" => {
                access.tagged_users.insert(value);
            }
            "f" | "x" => {
                let (key, filter) = value.split_once('=').unwrap_or((&value, ""));
                let filters = if kind == "f" { &mut access.tags } else { &mut access.exclude };
                filters.entry(key.to_owned()).or_default().push(filter.to_owned());
            }
            "e" => access.tunnel_duration = Some(3600),
            "s" => access.session_manager = true,
            "c" => access.console = true,
            "n" => networks.push(value),
            "v" => endpoints.push(value),
            _ => {}
        }
    }
    let Ok(origin) = Origin::new(&networks, &endpoints) else { return };
    match policy::document(&accesses, &origin) {
        Ok(document) => assert!(policy::length(&document.policy) <= policy::LIMIT),
        Err(PolicyError::TooLong { length }) => assert!(length > policy::LIMIT),
        Err(PolicyError::Unfiltered { .. }) => {}
    }
}

/// What ssh prints, and what a server sends before its version: read without a panic, and what is quoted cannot change a
/// terminal.
pub fn ssh_output(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for code in [None, Some(0), Some(255), Some(1)] {
        let _ = ssh_words::login(code, &text);
    }
    let _ = ssh_words::Refusal::of(&text);
    let _ = ssh_words::program(&text);
    for whole in [false, true] {
        if let ssh_words::Greeting::Ssh(line) | ssh_words::Greeting::Other(line) = ssh_words::greeting(data, whole) {
            assert!(!line.chars().any(char::is_control), "{line:?}");
        }
    }
}
