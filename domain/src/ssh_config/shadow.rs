//! Where the user's own ssh config overrides what was generated: the effective options of a host, compared with those
//! of the generated config alone.
//!
//! Both come from `ssh -G`, so that ssh itself is the judge; `doctor` runs it.

use std::collections::BTreeMap;

use crate::source::KeyType;
use crate::ssh_config::options::{self, Effect, Harmless};
use crate::ssh_config::read::{self, Line};

/// The options of one host as `ssh -G` prints them: keyword in lower case to values in order.
pub type Options = BTreeMap<String, Vec<String>>;

/// An option that has another value than was meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shadowed {
    /// In its usual spelling.
    pub keyword: &'static str,
    /// As ssh takes it.
    pub value: String,
    /// What another value does.
    pub effect: Effect,
}

/// What differs between the options that were `meant` and those that are `effective`, the worst first. `types` are the
/// signature algorithms of our keys.
#[must_use]
pub fn compare(meant: &Options, effective: &Options, types: &[&str]) -> Vec<Shadowed> {
    let mut found = Vec::new();
    for (option, effect) in options::compared() {
        let keyword = option.keyword;
        let lower = keyword.to_ascii_lowercase();
        let values = |options: &Options| options.get(&lower).cloned().unwrap_or_default();
        let (ours, theirs) = (values(meant), values(effective));
        let value = theirs.first().cloned().unwrap_or_else(|| "none".to_owned());
        let lists = |name: &str| value.split(',').any(|one| one == name);
        let is_as_good = match keyword {
            // They accumulate.
            "IdentityFile" => ours.iter().all(|own| theirs.contains(own)),
            "PreferredAuthentications" => lists("publickey"),
            // A master of its own for each instance is all that matters; without one, none is shared.
            "ControlPath" => value == "none" || first(meant, "hostkeyalias").is_some_and(|id| value.contains(id)),
            "PubkeyAcceptedAlgorithms" => theirs.is_empty() || types.iter().any(|name| lists(name)),
            "RequiredRSASize" => !types.contains(&"rsa-sha2-512") || takes_rsa_size(&value),
            // Whichever comes first switches the other one off.
            "ProxyJump" => theirs.is_empty() || value == "none",
            "ProxyCommand" if first(effective, "proxyjump").is_some_and(|jump| jump != "none") => true,
            "RemoteCommand" if ours.is_empty() && value == "none" => true,
            _ => false,
        };
        if !(is_as_good || ours == theirs) {
            found.push(Shadowed { keyword, value, effect });
        }
    }
    found
}

/// Bits of a generated RSA key.
pub const RSA_BITS: u32 = 2048;

/// Clients before 9.1 do not print the option, and have none.
fn takes_rsa_size(required: &str) -> bool {
    required.parse().is_ok_and(|bits: u32| bits <= RSA_BITS) || matches!(required, "" | "none")
}

/// Why ssh would offer none of the keys that a host may have, as the option of the user's config that excludes them.
/// `types` are the types of these keys.
#[must_use]
pub fn unusable_keys(effective: &Options, types: &[KeyType]) -> Option<String> {
    let algorithms = first(effective, "pubkeyacceptedalgorithms").unwrap_or_default();
    let accepts = |name: &str| algorithms.is_empty() || algorithms.split(',').any(|one| one == name);
    let size = first(effective, "requiredrsasize").unwrap_or_default();
    let why = |key_type: &KeyType| match key_type {
        KeyType::Ed25519 if accepts("ssh-ed25519") => None,
        KeyType::Ed25519 => {
            Some("PubkeyAcceptedAlgorithms without ssh-ed25519, so the key of ssh-eic is not offered".to_owned())
        }
        KeyType::Rsa if !(accepts("rsa-sha2-512") || accepts("rsa-sha2-256")) => {
            Some("PubkeyAcceptedAlgorithms without rsa-sha2-512, so the key of ssh-eic is not offered".to_owned())
        }
        KeyType::Rsa if !takes_rsa_size(size) => {
            Some(format!("RequiredRSASize {size}, so the RSA key of ssh-eic ({RSA_BITS} bits) is not offered"))
        }
        KeyType::Rsa => None,
    };
    types.iter().find_map(why)
}

fn first<'o>(options: &'o Options, keyword: &str) -> Option<&'o str> {
    options.get(keyword).and_then(|values| values.first()).map(String::as_str)
}

/// Lines ahead of our part, which begins at line `ours`, that win over it for every host.
#[must_use]
pub fn ahead(config: &[u8], ours: usize) -> Vec<Line> {
    let wins = |line: &Line| {
        let Some(option) = options::find(&line.keyword) else { return false };
        let is_harmless = match option.harmless {
            Harmless::Never => false,
            Harmless::Value(value) => line.arguments.join(" ") == value,
            Harmless::Always => true,
        };
        matches!(option.effect, Some(Effect::Breaks | Effect::AnotherWay)) && !is_harmless
    };
    let general = read::lines(config)
        .into_iter()
        .take_while(|line| line.number < ours && !matches!(line.keyword.as_str(), "host" | "match"));
    general.filter(wins).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Options {
        let mut options = Options::new();
        for (keyword, value) in pairs {
            options.entry((*keyword).to_owned()).or_default().push((*value).to_owned());
        }
        options
    }

    const MEANT: [(&str, &str); 8] = [
        ("hostname", "10.0.3.7"),
        ("hostkeyalias", "i-0abc12de"),
        ("user", "ec2-user"),
        ("port", "22"),
        ("identityfile", "/h/keys/%k"),
        ("controlpath", "/h/cm/%k-%p-%r"),
        ("proxycommand", "'/b' proxy"),
        ("pubkeyacceptedalgorithms", "ssh-ed25519,rsa-sha2-512"),
    ];

    fn with(other: &[(&str, &str)]) -> Vec<(&'static str, String)> {
        let mut pairs: Vec<(&str, &str)> =
            MEANT.iter().filter(|(one, _)| other.iter().all(|(keyword, _)| keyword != one)).copied().collect();
        pairs.extend(other);
        let found = compare(&options(&MEANT), &options(&pairs), &["ssh-ed25519"]);
        found.into_iter().map(|one| (one.keyword, one.value)).collect()
    }

    #[test]
    fn what_makes_no_difference_is_not_told() {
        assert_eq!(with(&[]), []);
        assert_eq!(with(&[("identityfile", "~/.ssh/own"), ("identityfile", "/h/keys/%k")]), []);
        assert_eq!(with(&[("controlpath", "/tmp/cm-i-0abc12de")]), []);
        assert_eq!(with(&[("controlpath", "none"), ("remotecommand", "none"), ("serveraliveinterval", "9")]), []);
    }

    #[test]
    fn what_wins_over_ours_is_told_once() {
        assert_eq!(with(&[("user", "bob")]), [("User", "bob".to_owned())]);
        assert_eq!(with(&[("identityfile", "~/.ssh/own")]), [("IdentityFile", "~/.ssh/own".to_owned())]);
        assert_eq!(with(&[("controlpath", "/tmp/%C")]), [("ControlPath", "/tmp/%C".to_owned())]);
        assert_eq!(with(&[("proxyjump", "bastion"), ("proxycommand", "x")]), [("ProxyJump", "bastion".to_owned())]);
        let only_rsa = ("PubkeyAcceptedAlgorithms", "rsa-sha2-512".to_owned());
        assert_eq!(with(&[("pubkeyacceptedalgorithms", "rsa-sha2-512")]), [only_rsa]);
        assert_eq!(with(&[("remotecommand", "tmux")]), [("RemoteCommand", "tmux".to_owned())]);
        assert_eq!(with(&[("requiredrsasize", "3072")]), [], "the key is Ed25519");
        let found = compare(&options(&[]), &options(&[("requiredrsasize", "3072")]), &["rsa-sha2-512"]);
        assert_eq!(found.iter().map(|one| one.keyword).collect::<Vec<_>>(), ["RequiredRSASize"]);
    }

    #[test]
    fn a_key_that_ssh_would_not_offer_is_found() {
        let rsa = [KeyType::Rsa];
        let why = |pairs: &[(&str, &str)], types: &[KeyType]| unusable_keys(&options(pairs), types);
        assert_eq!(why(&[], &rsa), None);
        assert_eq!(why(&[("requiredrsasize", "2048")], &rsa), None);
        assert_eq!(why(&[("requiredrsasize", "3072")], &[KeyType::Ed25519]), None);
        let words = why(&[("requiredrsasize", "3072")], &rsa).unwrap();
        assert_eq!(words, "RequiredRSASize 3072, so the RSA key of ssh-eic (2048 bits) is not offered");
        let only_ed25519 = [("pubkeyacceptedalgorithms", "ssh-ed25519")];
        assert_eq!(why(&only_ed25519, &[KeyType::Ed25519]), None);
        assert!(why(&only_ed25519, &rsa).is_some_and(|words| words.contains("without rsa-sha2-512")));
    }

    #[test]
    fn what_stands_ahead_of_ours_counts_as_far_as_it_is_for_all_hosts() {
        let config = b"# x\nUser bob\nServerAliveInterval 9\nIdentitiesOnly yes\nPort=2222\nInclude ours\nUser late\n";
        let lines: Vec<usize> = ahead(config, 6).iter().map(|line| line.number).collect();
        assert_eq!(lines, [2, 5]);
        assert_eq!(ahead(b"Host x\n  User bob\nMatch all\nInclude ours\n", 4), []);
    }
}
