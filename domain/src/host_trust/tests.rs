//! The decision for each mode, source and kind of key.

use base64ct::{Base64, Encoding as _};

use super::*;
use crate::console;
use crate::known_hosts::keys_for;
use crate::source::HostKeys;

const ED25519: &str = include_str!("../testdata/kex/ed25519.pub");
const RSA: &str = include_str!("../testdata/kex/rsa.pub");
/// Another ed25519 key, and the authority of the certificate.
const CA: &str = include_str!("../testdata/kex/ca.pub");
const ID: &str = "i-0123456789abcdef0";
/// Within the certificate's validity period, 2026.
const NOW: u64 = 1_780_000_000;
const MODES: [HostKeys; 3] = [HostKeys::AcceptNew, HostKeys::Console, HostKeys::RequireConsole];

fn id() -> InstanceId {
    InstanceId::parse(ID).unwrap()
}

fn key(line: &str) -> Presented {
    Presented::Key(HostKey::parse(line).unwrap())
}

fn certificate() -> Presented {
    let line = include_str!("../testdata/kex/ed25519-cert.pub");
    Presented::from_blob(&Base64::decode_vec(line.split(' ').nth(1).unwrap()).unwrap()).unwrap()
}

fn listed(lines: &[&str]) -> Console {
    let text = format!("-----BEGIN SSH HOST KEY KEYS-----\n{}-----END SSH HOST KEY KEYS-----\n", lines.concat());
    Console::Read(console::read(text.as_bytes()))
}

fn known(file: &str) -> KnownKeys {
    keys_for("/etc/company", file.as_bytes(), ID)
}

fn decide(mode: HostKeys, console: &Console, known: &KnownKeys, presented: &Presented) -> Verdict {
    Trust { mode, console, known }.decide(&id(), presented, NOW)
}

fn refusal(verdict: Verdict) -> Refusal {
    match verdict {
        Verdict::Refused(refusal) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

fn company(line: usize) -> Source {
    Source::KnownHosts { file: "/etc/company".to_owned(), line }
}

fn trusted_by(verdict: &Verdict) -> Option<Source> {
    match verdict {
        Verdict::Trusted { source, .. } => Some(source.clone()),
        _ => None,
    }
}

#[test]
fn a_key_of_the_console_is_trusted_and_another_of_its_type_refused_with_both_fingerprints() {
    let fingerprints =
        Console::Read(console::read(b"SSH host key: SHA256:3jL55T1xC3K6onLscVWyXRA+J1XLURXB4g0FcQYpHis (ED25519)\n"));
    for mode in [HostKeys::Console, HostKeys::RequireConsole] {
        for console in [listed(&[RSA, ED25519]), fingerprints.clone()] {
            let verdict = decide(mode, &console, &known(""), &key(ED25519));
            assert_eq!(trusted_by(&verdict), Some(Source::Console));
            let refusal = refusal(decide(mode, &console, &known(""), &key(CA)));
            let presented = key(CA).key().fingerprint();
            assert_eq!(
                refusal.message(&id()),
                format!(
                    "host identification has changed: {ID} presents the ED25519 host key {presented}, but the instance's \
                     console output lists SHA256:3jL55T1xC3K6onLscVWyXRA+J1XLURXB4g0FcQYpHis"
                )
            );
        }
        // A certificate of an unknown authority counts as its plain key.
        let verdict = decide(mode, &listed(&[ED25519]), &known(""), &certificate());
        assert_eq!(trusted_by(&verdict), Some(Source::Console));
    }
}

#[test]
fn a_key_type_that_is_not_listed_is_refused() {
    for mode in [HostKeys::Console, HostKeys::RequireConsole] {
        let refusal = refusal(decide(mode, &listed(&[RSA]), &known(""), &key(ED25519)));
        assert!(matches!(&refusal.reason, Reason::UnlistedType(keys) if keys.len() == 1 && keys[0].label == "RSA"));
        assert_eq!(
            refusal.message(&id()),
            format!(
                "host identification has changed: {ID} presents the ED25519 host key {}, but the instance's console output \
                 lists only RSA {}",
                key(ED25519).key().fingerprint(),
                key(RSA).key().fingerprint()
            )
        );
    }
}

#[test]
fn a_console_without_keys_leaves_it_to_ssh_or_refuses_and_an_unread_one_refuses() {
    let none = known("");
    for reason in
        [Unusable::NoOutput, Unusable::NoBlock, Unusable::EmptyBlock, Unusable::TruncatedKey, Unusable::UnclosedBlock]
    {
        let console = Console::Read(ConsoleKeys::Unusable(reason));
        let fingerprint = key(ED25519).key().fingerprint();
        let left = Verdict::LeftToSsh { fingerprint, reason: Some(reason) };
        assert_eq!(decide(HostKeys::Console, &console, &none, &key(ED25519)), left);
        let refusal = refusal(decide(HostKeys::RequireConsole, &console, &none, &key(ED25519)));
        assert_eq!(refusal.reason, Reason::NoConsoleKeys(reason));
        assert!(refusal.message(&id()).len() < 400);
    }
    for mode in [HostKeys::Console, HostKeys::RequireConsole] {
        let refusal = refusal(decide(mode, &Console::Unavailable, &none, &key(ED25519)));
        assert_eq!(refusal.reason, Reason::ConsoleUnavailable);
    }
}

#[test]
fn accept_new_leaves_everything_but_revoked_keys_to_ssh() {
    for console in [Console::Unavailable, listed(&[RSA])] {
        for file in [String::new(), format!("i-* {CA}")] {
            let verdict = decide(HostKeys::AcceptNew, &console, &known(&file), &key(ED25519));
            assert!(matches!(verdict, Verdict::LeftToSsh { reason: None, .. }), "{verdict:?}");
        }
    }
    let verdict = decide(HostKeys::AcceptNew, &Console::Unavailable, &known(&format!("{ID} {ED25519}")), &key(ED25519));
    assert_eq!(trusted_by(&verdict), Some(company(1)));
}

#[test]
fn a_companys_key_is_trusted_beside_the_console_and_replaces_one_that_cannot_be_read() {
    let known = known(&format!("{ID} {ED25519}"));
    let unusable = Console::Read(ConsoleKeys::Unusable(Unusable::NoBlock));
    for mode in [HostKeys::Console, HostKeys::RequireConsole] {
        for console in [&listed(&[RSA]), &listed(&[CA]), &unusable, &Console::Unavailable] {
            assert_eq!(trusted_by(&decide(mode, console, &known, &key(ED25519))), Some(company(1)));
        }
        for console in [&unusable, &Console::Unavailable] {
            // The company lists a key of the instance, so another is not a first use.
            let refusal = refusal(decide(mode, console, &known, &key(CA)));
            assert!(matches!(&refusal.reason, Reason::Mismatch(expected) if expected.source == company(1)));
        }
    }
}

#[test]
fn a_certificate_of_a_trusted_authority_is_trusted_if_it_is_valid_for_the_instance() {
    let known = known(&format!("@cert-authority i-* {CA}"));
    for mode in MODES {
        for console in [&Console::Unavailable, &listed(&[RSA])] {
            assert_eq!(trusted_by(&decide(mode, console, &known, &certificate())), Some(company(1)));
        }
    }
    let other = InstanceId::parse("i-0123456789abcdef1").unwrap();
    let console = Console::Read(ConsoleKeys::Unusable(Unusable::NoBlock));
    for mode in [HostKeys::Console, HostKeys::RequireConsole] {
        let trust = Trust { mode, console: &console, known: &known };
        let wrong = refusal(trust.decide(&other, &certificate(), NOW));
        assert_eq!(wrong.reason, Reason::Certificate);
        assert_eq!(
            wrong.message(&other),
            format!(
                "i-0123456789abcdef1 presents a host certificate that is not valid for it (ED25519 {}); its certificate is \
                 for {ID}, web-1",
                key(ED25519).key().fingerprint()
            )
        );
        let expired = refusal(trust.decide(&id(), &certificate(), u64::MAX));
        assert!(matches!(expired.certificate, Some(CertificateProblem::Expired(_))));
        // The plain key of an invalid certificate still counts.
        let listed = listed(&[ED25519]);
        let trust = Trust { mode, console: &listed, known: &known };
        assert_eq!(trusted_by(&trust.decide(&other, &certificate(), NOW)), Some(Source::Console));
    }
    // An authority is not a host: its key as a plain host key is not trusted.
    let refusal = refusal(decide(HostKeys::RequireConsole, &console, &known, &key(CA)));
    assert_eq!(refusal.reason, Reason::NoConsoleKeys(Unusable::NoBlock));
}

#[test]
fn revoked_keys_and_authorities_are_refused_in_every_mode_and_from_every_source() {
    for mode in MODES {
        let known = known(&format!("{ID} {ED25519}@cert-authority * {CA}@revoked * {ED25519}"));
        for presented in [key(ED25519), certificate()] {
            let refusal = refusal(decide(mode, &listed(&[ED25519]), &known, &presented));
            assert_eq!(refusal.reason, Reason::Revoked(company(3)));
        }
        let known = keys_for("/etc/company", format!("@cert-authority * {CA}@revoked * {CA}").as_bytes(), ID);
        let refusal = refusal(decide(mode, &listed(&[ED25519]), &known, &certificate()));
        assert_eq!(refusal.reason, Reason::Revoked(company(2)));
    }
    // The only key that the console lists is revoked: another key is still not a first use.
    let known = known(&format!("@revoked * {RSA}"));
    let refusal = refusal(decide(HostKeys::Console, &listed(&[RSA]), &known, &key(ED25519)));
    assert!(matches!(refusal.reason, Reason::UnlistedType(_)));
}
