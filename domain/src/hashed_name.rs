//! Host names of `known_hosts` that are stored as a hash (`HashKnownHosts`, hostfile.c): `|1|salt|HMAC-SHA1(salt, name)`,
//! both in base64. Each line has a salt of its own, so that a name has to be hashed once for each line.

use base64ct::{Base64, Encoding};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// The hash of one host name, with its salt.
#[derive(Clone)]
pub struct HashedName {
    /// With the salt as its key: half of the work for each name.
    keyed: Hmac<Sha1>,
    hash: [u8; LENGTH],
}

/// Bytes of a salt and of a hash.
const LENGTH: usize = 20;

impl std::fmt::Debug for HashedName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HashedName").field("hash", &self.hash).finish_non_exhaustive()
    }
}

impl HashedName {
    /// Reads the first word of a line; none if it is not a hash.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        let (salt, hash) = word.strip_prefix("|1|")?.split_once('|')?;
        let decoded = |text: &str| -> Option<[u8; LENGTH]> {
            let mut bytes = [0; LENGTH + 1];
            Base64::decode(text, &mut bytes).ok()?.try_into().ok()
        };
        Some(Self { keyed: Hmac::new_from_slice(&decoded(salt)?).ok()?, hash: decoded(hash)? })
    }

    /// Whether this word of a line is the hash of this name.
    #[must_use]
    pub fn is_hash_of(word: &str, name: &str) -> bool {
        Self::parse(word).is_some_and(|hashed| hashed.is_of(name))
    }

    /// Whether it is the hash of this name, which ssh has in lower case, as `[name]:port` if the port is not 22.
    #[must_use]
    pub fn is_of(&self, name: &str) -> bool {
        let mut hmac = self.keyed.clone();
        hmac.update(name.as_bytes());
        hmac.finalize().into_bytes().as_slice() == self.hash
    }
}

#[cfg(test)]
mod tests {
    use super::HashedName;

    #[test]
    fn a_line_of_ssh_keygen_is_of_its_name_only() {
        // Made by `ssh-keygen -H` of OpenSSH 9.2 for "gitlab".
        let hashed = HashedName::parse("|1|WLtgV1kIHgr2C39LlktB2x4wVz0=|aMnI5djLPvPUcd1LijPHroaOoS0=").unwrap();
        assert!(hashed.is_of("gitlab"));
        assert!(!hashed.is_of("gitlab2") && !hashed.is_of("[gitlab]:2222") && !hashed.is_of(""));
    }

    #[test]
    fn what_is_no_hash_is_passed_over() {
        for word in
            ["gitlab", "|1|", "|1|a|b", "|1|AAAA|AAAA", "|2|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg="]
        {
            assert!(HashedName::parse(word).is_none(), "{word}");
        }
    }
}
