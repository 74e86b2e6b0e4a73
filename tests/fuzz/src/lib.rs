//! The fuzz targets: each takes arbitrary bytes, as a network peer, an instance or another user could send them, and panics if a
//! property does not hold.
//!
//! `fuzz/` runs them under libFuzzer (`cargo fuzz run NAME`); `tests/replay.rs` replays the corpora, and mutations of them,
//! on a stable toolchain. Only parsers of the pure layer are here; they build without the AWS SDK.

#![expect(clippy::missing_panics_doc, reason = "a panic is how a target reports a defect")]

use std::time::Duration;

use domain::console;
use domain::described_instances::{Page, ReadError, Reader};
use domain::handshake::{Direction, disconnect};
use domain::hashed_name::HashedName;
use domain::host_key::HostKey;
use domain::http_response;
use domain::intent;
use domain::kex::{KeyExchange, Sender, packets};
use domain::known_hosts;
use domain::session_manager::{Channel, Message};
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
        let query = text.split_once('?').map_or("", |(_, query)| query);
        assert!(query.len() < 16 || !format!("{url:?}").contains(query));
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
    let mut channel = Channel::new([7; 32], 1, now);
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
