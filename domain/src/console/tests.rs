//! Console texts as images print them, and lines that an attacker adds.

use proptest::prelude::*;

use super::*;

const ED25519: &str = include_str!("../testdata/kex/ed25519.pub");
const ECDSA: &str = include_str!("../testdata/kex/ecdsa.pub");
const RSA: &str = include_str!("../testdata/kex/rsa.pub");
const MLDSA44_ED25519: &str = include_str!("../testdata/kex/mldsa44-ed25519.pub");
/// Of another instance.
const OTHER: &str = include_str!("../testdata/kex/ca.pub");
const FINGERPRINTS: &str = include_str!("../testdata/kex/fingerprints");

fn keys(lines: &[&str]) -> ConsoleKeys {
    ConsoleKeys::Keys(lines.iter().map(|line| HostKey::parse(line).unwrap()).collect())
}

/// The fingerprints of the ed25519, ecdsa, rsa and mldsa44-ed25519 files, at these positions.
fn fingerprints(positions: &[usize]) -> ConsoleKeys {
    let all = [(ED25519, "ED25519"), (ECDSA, "ECDSA"), (RSA, "RSA"), (MLDSA44_ED25519, "MLDSA44-ED25519")];
    let listed = positions.iter().map(|&position| {
        let (line, label) = all[position];
        ConsoleFingerprint { fingerprint: HostKey::parse(line).unwrap().fingerprint(), label: label.to_owned() }
    });
    ConsoleKeys::Fingerprints(listed.collect())
}

fn block(prefix: &str, lines: &[&str]) -> String {
    let lines = [&[BEGIN_KEYS], lines, &[END_KEYS]].concat();
    lines.iter().map(|line| format!("{prefix}{}\n", line.trim_end())).collect::<Vec<_>>().concat()
}

fn unusable(reason: Unusable) -> ConsoleKeys {
    ConsoleKeys::Unusable(reason)
}

#[test]
fn amazon_linux_2_prints_syslog_fingerprints_and_plain_keys_with_carriage_returns() {
    let text = format!(
        "[    0.000000] Linux version 5.10.0 (mockbuild@ip-10-0-0-1)\nAmazon Linux 2\nKernel 5.10.0 on an x86_64\n\n\
         ip-10-0-0-1 login: [   14.1] cloud-init[3311]: Cloud-init v. 19.3 running 'modules:final'\n\
         ci-info: no authorized ssh keys fingerprints found for user ec2-user.\n\
         <14>Nov 25 10:00:00 ec2: \n<14>Nov 25 10:00:00 ec2: ####\n<14>Nov 25 10:00:00 ec2: {BEGIN_FINGERPRINTS}\n\
         <14>Nov 25 10:00:00 ec2: {}<14>Nov 25 10:00:00 ec2: {END_FINGERPRINTS}\n{}",
        FINGERPRINTS.lines().next().unwrap().to_owned() + "\n",
        block("", &[ECDSA, ED25519, RSA])
    );
    assert_eq!(read(text.replace('\n', "\r\n").as_bytes()), keys(&[ECDSA, ED25519, RSA]));
}

#[test]
fn amazon_linux_2023_and_ubuntu_print_the_block_behind_cloud_inits_own_prefix_or_without_one() {
    for prefix in ["[   17.384210] cloud-init[2107]: ", "[12345.678901] cloud-init[1]: ", ""] {
        let text = format!(
            "[   16.911222] cloud-init[2107]: Cloud-init v. 22.2.2 finished\n<14>Nov  5 10:00:00 cloud-init: ####\n\
             {}[   17.4] cloud-init[2107]: Cloud-init v. 22.2.2 finished at Wed, 25 Nov 2026\n",
            block(prefix, &[ECDSA, ED25519, RSA])
        );
        assert_eq!(read(text.as_bytes()), keys(&[ECDSA, ED25519, RSA]), "{prefix}");
    }
}

#[test]
fn debians_block_with_kernel_lines_in_between_keeps_the_whole_keys() {
    let noise = "[   21.000111] audit: type=1400 audit(1.2:3): apparmor=\"STATUS\"";
    let text = format!("Debian GNU/Linux 12 ip ttyS0\n{}", block("", &[noise, ED25519, noise, "", RSA, noise]));
    assert_eq!(read(text.as_bytes()), keys(&[ED25519, RSA]));
    // The kernel writes in the middle of a key: that key is lost.
    let cut = format!("{}{noise}\n{}", &ED25519[..40], &ED25519[40..]);
    assert_eq!(read(block("", &[&cut, RSA]).as_bytes()), keys(&[RSA]));
    assert_eq!(read(block("", &[&cut]).as_bytes()), unusable(Unusable::TruncatedKey));
}

#[test]
fn each_unusable_output_has_its_reason() {
    let rocky_8 = format!(
        "<14>Nov 25 10:00:00 ec2: {BEGIN_FINGERPRINTS}\n<14>Nov 25 10:00:00 ec2: {END_FINGERPRINTS}\n{}\nRocky Linux 8\n",
        block("", &[])
    );
    let rhel_8 = "[    5.0] systemd[1]: Started OpenSSH server daemon.\nRed Hat Enterprise Linux 8.9 (Ootpa)\nlogin: ";
    let table = [
        ("", Unusable::NoOutput),
        ("\r\n \n\0", Unusable::NoOutput),
        (rhel_8, Unusable::NoBlock),
        (&rocky_8, Unusable::EmptyBlock),
        (&block("", &[&RSA[..200]]), Unusable::TruncatedKey),
        (&format!("{BEGIN_KEYS}\n{ED25519}"), Unusable::UnclosedBlock),
        (&format!("{ED25519}{END_KEYS}\n"), Unusable::NoBlock),
    ];
    for (text, reason) in table {
        assert_eq!(read(text.as_bytes()), unusable(reason), "{text}");
    }
}

#[test]
fn a_key_of_another_length_is_not_taken() {
    let extended = format!("{}AAAA ca\n", ED25519.rsplit_once(' ').unwrap().0);
    let renamed = ED25519.replacen("ssh-ed25519", "ssh-rsa", 1);
    for line in [&ED25519[..79], &extended, &renamed, "ssh-ed25519 AAAA", "ssh-ed25519"] {
        assert_eq!(read(block("", &[line]).as_bytes()), unusable(Unusable::TruncatedKey), "{line}");
        assert_eq!(read(block("", &[line, RSA]).as_bytes()), keys(&[RSA]), "{line}");
    }
}

#[test]
fn the_last_complete_block_with_a_key_counts() {
    let first = block("", &[OTHER]);
    let second = block("", &[ED25519, RSA]);
    for later in [
        String::new(),
        block("", &[]),
        block("", &[&RSA[..100]]),
        format!("{BEGIN_KEYS}\n{OTHER}"),
        "reboot: Restarting system\n[    0.000000] Linux version\n".to_owned(),
    ] {
        assert_eq!(read(format!("{first}{second}{later}").as_bytes()), keys(&[ED25519, RSA]), "{later}");
    }
    // A block that a reboot interrupted does not continue in the next one.
    let interrupted = format!("{BEGIN_KEYS}\n{OTHER}{second}");
    assert_eq!(read(interrupted.as_bytes()), keys(&[ED25519, RSA]));
}

#[test]
fn nixos_freebsd_and_fedora_coreos_print_fingerprints() {
    let lines = |prefix: &str| -> String {
        let listed = [BEGIN_FINGERPRINTS].into_iter().chain(FINGERPRINTS.lines()).chain([END_FINGERPRINTS]);
        listed.map(|line| format!("{prefix}{line}\r\n")).collect::<Vec<_>>().concat()
    };
    let nixos = format!("<<< NixOS Stage 2 >>>\r\n{}\r\n<<< Welcome to NixOS 24.05 >>>\r\n", lines(""));
    let freebsd = format!("Starting sshd.\r\nec2: ####\r\n{}ec2: ####\r\n", lines("ec2: "));
    let cloud_init = format!("{}{}", lines("<14>Nov 25 10:00:00 cloud-init: "), block("", &[]));
    for text in [nixos, freebsd, cloud_init] {
        assert_eq!(read(text.as_bytes()), fingerprints(&[0, 1, 2, 3]), "{text}");
    }
    let ssh_keygen: Vec<&str> = FINGERPRINTS.lines().map(|line| line.split(' ').nth(1).unwrap()).collect();
    let coreos = format!(
        "Fedora CoreOS 40\nKernel 6.8 on an x86_64 (ttyS0)\n\nSSH host key: {other} (ED25519)\nSSH host key: {} (ECDSA)\n\
         reboot: Restarting\nSSH host key: {} (ED25519)\n[   12.3] kernel: x\nSSH host key: {} (ECDSA)\nens5: 10.0.0.1\n\
         Ignition: ran\nip login: ",
        ssh_keygen[2],
        ssh_keygen[0],
        ssh_keygen[1],
        other = HostKey::parse(OTHER).unwrap().fingerprint()
    );
    assert_eq!(read(coreos.as_bytes()), fingerprints(&[0, 1]));
    // Keys are better than fingerprints, wherever they are.
    assert_eq!(read(format!("{}{coreos}", block("", &[RSA])).as_bytes()), keys(&[RSA]));
}

/// What a remote party can put into a line: everything after the prefix of the program that logs it.
const FOREIGN_PREFIXES: [&str; 12] = [
    "sshd[1]: Invalid user ",
    "[   99.100000] sshd[1]: Invalid user ",
    "Nov 25 10:00:00 ip-10-0-0-1 sshd[1]: Invalid user ",
    "<14>Nov 25 10:00:00 ip-10-0-0-1 cloud-init: ",
    "Nov 25 10:00:00 cloud-init: ",
    "cloud-init: ",
    "[   99.100000] ",
    "[   99.100000] cloud-init[99]: segfault ",
    "[   99.1] sshd[1]: x] cloud-init[99]: ",
    "ip-10-0-0-1 login: ",
    "\r",
    " ",
];

#[test]
fn injected_lines_never_open_fill_or_close_a_block() {
    for prefix in FOREIGN_PREFIXES {
        let inject = |line: &str| format!("{prefix}{}\n", line.trim_end());
        let whole = block(prefix, &[OTHER]);
        assert_eq!(read(whole.as_bytes()), unusable(Unusable::NoBlock), "opened by {prefix:?}");
        // Injected lines inside a block neither add a key, nor end the block, nor begin a new one.
        for own in ["", "[   17.3] cloud-init[2107]: "] {
            let own_line = |line: &str| format!("{own}{}\n", line.trim_end());
            let text = [
                own_line(BEGIN_KEYS),
                inject(OTHER),
                inject(END_KEYS),
                own_line(ED25519),
                inject(BEGIN_KEYS),
                own_line(RSA),
                own_line(END_KEYS),
                whole.clone(),
            ];
            assert_eq!(read(text.concat().as_bytes()), keys(&[ED25519, RSA]), "{prefix:?} {own:?}");
        }
        let listed = [BEGIN_FINGERPRINTS, FINGERPRINTS.lines().next().unwrap(), END_FINGERPRINTS];
        let text: String = listed.into_iter().map(inject).collect();
        assert_eq!(read(text.as_bytes()), unusable(Unusable::NoBlock), "{prefix:?}");
        let banner = inject(&format!("{BANNER}{} (ED25519)", HostKey::parse(OTHER).unwrap().fingerprint()));
        assert_eq!(read(banner.as_bytes()), unusable(Unusable::NoBlock), "{prefix:?}");
    }
}

#[test]
fn a_carriage_return_in_a_logged_line_does_not_begin_a_line() {
    let text = format!("sshd[1]: Invalid user x\r{}", block("", &[OTHER]).replace('\n', "\r"));
    assert_eq!(read(text.as_bytes()), unusable(Unusable::NoBlock));
}

#[test]
fn lines_of_another_process_do_not_belong_to_a_block() {
    let (a, b) = ("[   17.3] cloud-init[2107]: ", "[   17.4] cloud-init[4000]: ");
    let text = format!("{a}{BEGIN_KEYS}\n{b}{OTHER}{b}{END_KEYS}\n{OTHER}{END_KEYS}\n{a}{ED25519}{a}{END_KEYS}\n");
    assert_eq!(read(text.as_bytes()), keys(&[ED25519]));
}

#[test]
fn sixty_four_kib_of_any_one_piece_hold_no_key() {
    for piece in [
        BEGIN_KEYS,
        "[",
        "[ 1.1] cloud-init[",
        "ssh-ed25519 ",
        "<14>",
        "-----BEGIN SSH HOST KEY KEYS-----\n",
        "\n",
        "\r",
    ] {
        let text = piece.repeat(64 * 1024 / piece.len());
        assert!(matches!(read(text.as_bytes()), ConsoleKeys::Unusable(_)), "{piece}");
    }
}

/// Pieces from which lines that look like cloud-init's are built.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let fixed = prop::sample::select(vec![
        BEGIN_KEYS,
        END_KEYS,
        BEGIN_FINGERPRINTS,
        END_FINGERPRINTS,
        BANNER,
        ED25519,
        FINGERPRINTS,
        "\n",
        "\r\n",
        "[   12.3] cloud-init[99]: ",
        "ec2: ",
        "<14>Nov 25 10:00:00 cloud-init: ",
        "<14>",
        "[",
        "] cloud-init[",
        "]: ",
        "é",
    ])
    .prop_map(|text| text.as_bytes().to_vec());
    let piece = prop_oneof![4 => fixed, 1 => prop::collection::vec(any::<u8>(), 0..50)];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn arbitrary_output_is_read_and_shows_only_keys_that_it_contains(output in pieces()) {
        if let ConsoleKeys::Keys(keys) = read(&output) {
            prop_assert!(!keys.is_empty());
            for key in keys {
                let text = key.to_string();
                prop_assert!(output.windows(text.len()).any(|window| window == text.as_bytes()));
            }
        }
    }

    #[test]
    fn arbitrary_lines_behind_a_foreign_prefix_change_nothing(prefix in prop::sample::select(&FOREIGN_PREFIXES[..]), line in "[ -~]{0,120}", at in 0_usize..5) {
        let own = block("", &[ED25519, RSA]);
        let mut lines: Vec<&str> = own.lines().collect();
        let injected = format!("{prefix}{line}");
        lines.insert(at, &injected);
        prop_assert_eq!(read(lines.join("\n").as_bytes()), keys(&[ED25519, RSA]));
    }

    #[test]
    fn a_block_cut_at_any_byte_shows_whole_keys_or_none(from in 0_usize..1200, to in 0_usize..1200) {
        let text = block("", &[ED25519, ECDSA, RSA]);
        let to = to.min(text.len());
        if let ConsoleKeys::Keys(found) = read(&text.as_bytes()[from.min(to)..to]) {
            prop_assert_eq!(ConsoleKeys::Keys(found), keys(&[ED25519, ECDSA, RSA]));
        }
    }
}
