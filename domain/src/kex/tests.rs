//! Recorded connections of ssh and sshd 9.2 (`testdata/kex`), and packets that no honest server sends.

use proptest::prelude::*;

use super::*;
use crate::handshake::{Direction, Phase};
use crate::host_key::{HostKey, HostKeyType};

struct Recording {
    name: &'static str,
    client: &'static [u8],
    server: &'static [u8],
}

macro_rules! recordings {
    ($($name:literal),* $(,)?) => {
        [$(Recording {
            name: $name,
            client: include_bytes!(concat!("../testdata/kex/", $name, ".client")),
            server: include_bytes!(concat!("../testdata/kex/", $name, ".server")),
        }),*]
    };
}

const RECORDINGS: [Recording; 17] = recordings![
    "sntrup761x25519-sha512",
    "sntrup761x25519-sha512@openssh.com",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group1-sha1",
    "diffie-hellman-group14-sha1",
    "diffie-hellman-group14-sha256",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
    "diffie-hellman-group-exchange-sha1",
    "diffie-hellman-group-exchange-sha256",
    "key-ssh-ed25519-cert-v01@openssh.com",
    "key-rsa-sha2-512",
    "key-ecdsa-sha2-nistp256",
];

/// The version line and what follows it.
fn after_version(stream: &[u8]) -> &[u8] {
    let end = stream.iter().position(|&b| b == b'\n').expect("a version line");
    &stream[end + 1..]
}

/// The packets before NEWKEYS, as `Direction` passes them when the stream arrives in pieces.
fn passed(stream: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut direction = Direction::new();
    let mut passed = Vec::new();
    let mut rest = stream;
    for &cut in cuts {
        let (piece, after) = rest.split_at(cut.min(rest.len()));
        passed.extend(direction.read(piece));
        rest = after;
    }
    passed.extend(direction.read(rest));
    assert_eq!(direction.phase(), Phase::NewKeys);
    after_version(&passed).to_vec()
}

/// Every host key that an exchange returns, the client's packets first.
fn observe(client: &[u8], server: &[u8]) -> Result<Vec<Presented>, KexError> {
    let mut exchange = KeyExchange::new();
    let mut keys = Vec::new();
    for packet in packets(client) {
        assert_eq!(exchange.read(Sender::Client, packet)?, None);
    }
    for packet in packets(server) {
        keys.extend(exchange.read(Sender::Server, packet)?);
    }
    Ok(keys)
}

fn key_file(key_type: HostKeyType) -> HostKey {
    let line = match key_type {
        HostKeyType::Rsa => include_str!("../testdata/kex/rsa.pub"),
        HostKeyType::EcdsaP256 => include_str!("../testdata/kex/ecdsa.pub"),
        _ => include_str!("../testdata/kex/ed25519.pub"),
    };
    HostKey::parse(line).expect("a public key")
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

fn packet(payload: &[u8]) -> Vec<u8> {
    let padding = 8 - (5 + payload.len()) % 8 + 4;
    let body = [&[u8::try_from(padding).unwrap()], payload, &vec![0; padding]].concat();
    string(&body)
}

fn kexinit(kex: &str, host_key: &str, guess: bool) -> Vec<u8> {
    let mut payload = vec![SSH_MSG_KEXINIT];
    payload.extend([7; 16]);
    for names in [kex, host_key, "a", "a", "a", "a", "none", "none", "", ""] {
        payload.extend(string(names.as_bytes()));
    }
    payload.extend([u8::from(guess), 0, 0, 0, 0]);
    packet(&payload)
}

fn reply(message: u8) -> Vec<u8> {
    let key = key_file(HostKeyType::Ed25519);
    packet(&[vec![message], string(key.blob()), string(b"public"), string(b"signature")].concat())
}

fn group() -> Vec<u8> {
    packet(&[vec![KEX_REPLY_OR_GROUP], string(&[0x7f; 256]), string(&[2])].concat())
}

#[test]
fn each_recorded_key_exchange_shows_the_servers_host_key() {
    for Recording { name, client, server } in RECORDINGS {
        let keys = observe(&passed(client, &[]), &passed(server, &[])).unwrap();
        let [key] = &keys[..] else { panic!("{name}: {} host keys", keys.len()) };
        let key_type = match name {
            "key-rsa-sha2-512" => HostKeyType::Rsa,
            "key-ecdsa-sha2-nistp256" => HostKeyType::EcdsaP256,
            _ => HostKeyType::Ed25519,
        };
        assert_eq!(key.key(), &key_file(key_type), "{name}");
        assert_eq!(matches!(key, Presented::Certificate(_)), name.contains("-cert-"), "{name}");
    }
}

#[test]
fn newkeys_passes_after_the_host_key_only() {
    let newkeys = packet(&[SSH_MSG_NEWKEYS]);
    let start = [kexinit("curve25519-sha256", "ssh-ed25519", false), reply(31)];
    let client = kexinit("curve25519-sha256", "ssh-ed25519", false);
    assert_eq!(observe(&client, &[start.concat(), newkeys.clone()].concat()).unwrap().len(), 1);
    assert_eq!(observe(&client, &[start[0].clone(), newkeys.clone()].concat()), Err(KexError::NoHostKey));
    assert_eq!(observe(&[client, newkeys].concat(), &[]), Err(KexError::NoHostKey));
}

#[test]
fn mlkem_has_its_reply_in_message_31_too() {
    let kexinit = kexinit("mlkem768x25519-sha256,curve25519-sha256", "ssh-ed25519", false);
    assert_eq!(observe(&kexinit, &[kexinit.clone(), reply(31)].concat()).unwrap().len(), 1);
}

#[test]
fn the_clients_order_decides_the_key_exchange() {
    let server = kexinit("diffie-hellman-group-exchange-sha256,curve25519-sha256", "ssh-ed25519", false);
    let gex_first = kexinit("x,diffie-hellman-group-exchange-sha256,curve25519-sha256", "ssh-ed25519", false);
    let gex_last = kexinit("x,curve25519-sha256,diffie-hellman-group-exchange-sha256", "ssh-ed25519", false);
    let run = |client: &[u8], messages: &[Vec<u8>]| observe(client, &[server.clone(), messages.concat()].concat());
    assert_eq!(run(&gex_last, &[reply(31)]).unwrap().len(), 1);
    assert_eq!(run(&gex_first, &[group(), reply(33)]).unwrap().len(), 1);
    assert_eq!(run(&gex_last, &[reply(33)]), Err(KexError::Unexpected { message: 33 }));
    assert_eq!(run(&gex_first, &[reply(33)]), Err(KexError::Unexpected { message: 33 }));
    // A reply in the group's place is no group, and a second group is no reply.
    assert_eq!(run(&gex_first, &[reply(31)]), Err(KexError::Structure { message: 31 }));
    assert_eq!(run(&gex_first, &[group(), group()]), Err(KexError::Unexpected { message: 31 }));
}

#[test]
fn unsupported_key_exchanges_are_refused() {
    for name in ["gss-group14-sha256-toWM5Slw5Ew8Mqkay+al2g==", "ext-info-c", "kex-strict-c-v00@openssh.com"] {
        let kexinit = kexinit(&format!("{name},curve25519-sha256"), "ssh-ed25519", false);
        let read = observe(&kexinit, &[kexinit.clone(), reply(31)].concat());
        assert_eq!(read, Err(KexError::Unsupported { name: name.to_owned() }));
    }
    let client = kexinit("curve25519-sha256", "ssh-ed25519", false);
    let server = kexinit("diffie-hellman-group14-sha256", "ssh-ed25519", false);
    assert_eq!(observe(&client, &[server, reply(31)].concat()), Err(KexError::NothingInCommon));
}

#[test]
fn guessed_packets_of_the_client_do_not_matter_and_wrong_guesses_of_the_server_are_refused() {
    let plain = kexinit("curve25519-sha256,ecdh-sha2-nistp256", "ssh-ed25519", false);
    let other = kexinit("ecdh-sha2-nistp256,curve25519-sha256", "ssh-ed25519", true);
    let other_key = kexinit("curve25519-sha256", "ssh-rsa,ssh-ed25519", true);
    let right = kexinit("curve25519-sha256", "ssh-ed25519,ssh-rsa", true);
    let guessed = packet(&[30, 0, 0, 0, 0]);
    for client in [&other, &other_key, &right] {
        let keys = observe(&[&client[..], &guessed].concat(), &[plain.clone(), reply(31)].concat());
        assert_eq!(keys.unwrap().len(), 1);
    }
    for server in [other, other_key] {
        let read = observe(&plain, &[server, reply(31), reply(31)].concat());
        assert_eq!(read, Err(KexError::WrongGuess));
    }
    assert_eq!(observe(&plain, &[right, reply(31)].concat()).unwrap().len(), 1);
}

#[test]
fn a_second_reply_or_kexinit_and_every_other_message_is_an_error_for_good() {
    let kexinit = kexinit("curve25519-sha256", "ssh-ed25519", false);
    let unexpected = |message| Err(KexError::Unexpected { message });
    assert_eq!(observe(&kexinit, &[kexinit.clone(), reply(31), reply(31)].concat()), unexpected(31));
    assert_eq!(observe(&kexinit, &[kexinit.clone(), kexinit.clone()].concat()), unexpected(20));
    assert_eq!(observe(&[kexinit.clone(), kexinit.clone()].concat(), &[]), unexpected(20));
    // A reply before either KEXINIT.
    assert_eq!(observe(&kexinit, &reply(31)), unexpected(31));
    assert_eq!(observe(&[], &[kexinit.clone(), reply(31)].concat()), unexpected(31));
    for message in (0..=255).filter(|m| ![1, 2, 3, 4, 20, 21, 31].contains(m)) {
        let read = observe(&kexinit, &[kexinit.clone(), packet(&[message, 0])].concat());
        assert_eq!(read, unexpected(message));
    }
    let mut exchange = KeyExchange::new();
    assert_eq!(exchange.read(Sender::Server, b"junk"), Err(KexError::Packet));
    assert_eq!(exchange.read(Sender::Client, &kexinit), Err(KexError::Packet));
    assert!(!exchange.host_key_seen());
}

#[test]
fn a_reply_with_missing_extra_or_unknown_bytes_is_refused() {
    let kexinit = kexinit("curve25519-sha256", "ssh-ed25519", false);
    let key = key_file(HostKeyType::Ed25519);
    let (public, signature) = (string(b"public"), string(b"signature"));
    let run = |parts: &[&[u8]]| observe(&kexinit, &[kexinit.clone(), packet(&parts.concat())].concat());
    let structure = Err(KexError::Structure { message: 31 });
    assert_eq!(run(&[&[31], &string(key.blob()), &public]), structure);
    assert_eq!(run(&[&[31], &string(key.blob()), &public, &signature, b"x"]), structure);
    let long = [key.blob(), b"x"].concat();
    for blob in [&long, &key.blob()[1..], b"", b"\0\0\0\x07ssh-new\0\0\0\x01x"] {
        assert_eq!(run(&[&[31], &string(blob), &public, &signature]), Err(KexError::HostKey));
    }
}

#[test]
fn transport_messages_pass() {
    let kexinit = kexinit("curve25519-sha256", "ssh-ed25519", false);
    let ignore = packet(&[SSH_MSG_IGNORE, 0, 0, 0, 0]);
    let stream = [ignore.clone(), kexinit.clone(), ignore.clone(), reply(31), ignore].concat();
    assert_eq!(observe(&kexinit, &stream).unwrap().len(), 1);
}

proptest! {
    #[test]
    fn cuts_do_not_matter(recording in 0..RECORDINGS.len(), cuts in prop::collection::vec(1_usize..600, 0..40)) {
        let Recording { client, server, .. } = RECORDINGS[recording];
        let whole = observe(&passed(client, &[]), &passed(server, &[])).unwrap();
        prop_assert_eq!(observe(&passed(client, &cuts), &passed(server, &cuts)).unwrap(), whole);
    }

    #[test]
    fn a_changed_byte_shows_another_key_or_none_and_never_two(recording in 0..RECORDINGS.len(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let Recording { client, server, .. } = RECORDINGS[recording];
        let mut server = passed(server, &[]);
        let at = at.index(server.len());
        server[at] = byte;
        let client = passed(client, &[]);
        if let Ok(keys) = observe(&client, &server) {
            prop_assert!(keys.len() <= 1);
            // A key that was returned is the one in the bytes that a client reads.
            for key in keys {
                if let Presented::Key(key) = key {
                    prop_assert!(server.windows(key.blob().len()).any(|window| window == key.blob()));
                }
            }
        }
    }

    #[test]
    fn arbitrary_packets_never_panic_or_show_a_key(parts in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..60)), 0..20)) {
        let mut exchange = KeyExchange::new();
        for (client, bytes) in parts {
            let sender = if client { Sender::Client } else { Sender::Server };
            let framed = packet(&bytes);
            for bytes in [&bytes[..], &framed] {
                prop_assert!(!matches!(exchange.read(sender, bytes), Ok(Some(_))));
            }
        }
    }
}

#[test]
fn lines_before_the_version_are_not_packets() {
    let mut exchange = KeyExchange::new();
    assert_eq!(exchange.after_version(Sender::Server, b"notice\r\n"), b"");
    assert!(!exchange.version_seen(Sender::Server));
    assert_eq!(exchange.after_version(Sender::Server, b"more\nSSH-2.0-x\r\npacket\n"), b"packet\n");
    assert_eq!(exchange.after_version(Sender::Server, b"next\n"), b"next\n");
    assert!(exchange.version_seen(Sender::Server) && !exchange.version_seen(Sender::Client));
}
