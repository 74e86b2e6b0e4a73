//! The ssh client that reads the private keys, and the encodings that it can read.
//!
//! If ssh can load the public half of an `IdentityFile` when it starts (from OpenSSH's own private key format), it asks
//! the server whether the key is acceptable before it signs, and sshd runs `AuthorizedKeysCommand` for both requests. If it
//! can load only the private key, it signs at once (sshconnect2.c, `userauth_pubkey`). Ed25519 keys in PKCS#8 have no
//! public half that ssh reads at start. The source of OpenSSH reads them since 9.6, with a libcrypto that has Ed25519; stock
//! builds do since 9.8, because the test of 9.6 and 9.7 for such a libcrypto does not compile (configure.ac).

use serde::{Deserialize, Serialize};

/// The oldest version whose source can read Ed25519 keys in PKCS#8 (sshkey.c, `sshkey_parse_private_pem_fileblob`). Whether
/// a build can is checked with the build itself.
pub const READS_PKCS8: (u32, u32) = (9, 6);

/// How an Ed25519 private key is encoded in its file.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyEncoding {
    /// OpenSSH's own format (PROTOCOL.key), which every client reads.
    #[default]
    OpenSsh,
    /// PKCS#8 in PEM (RFC 8410).
    Pkcs8,
}

/// A program file as stat(2) describes it; the file of another build or version differs. The device is left out: its
/// number may change when the machine restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramFile {
    /// Inode number.
    pub inode: u64,
    /// Size in bytes.
    pub size: u64,
    /// Time of the last modification, nanoseconds since 1970.
    pub modified: i64,
}

/// The client that the last sync found on PATH, and whether it can read Ed25519 keys in PKCS#8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckedClient {
    /// Its program file.
    pub program: ProgramFile,
    /// The result of the check with its ssh-keygen.
    pub reads_pkcs8: bool,
}

impl CheckedClient {
    /// The encoding for keys that `caller` will read. A client that was not checked gets the one that all of them read.
    #[must_use]
    pub fn encoding_for(&self, caller: Option<ProgramFile>) -> KeyEncoding {
        if self.reads_pkcs8 && caller == Some(self.program) { KeyEncoding::Pkcs8 } else { KeyEncoding::OpenSsh }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_checked_client_gets_pkcs8() {
        let program = ProgramFile { inode: 7, size: 1_000_000, modified: 1_700_000_000_000_000_000 };
        let checked = CheckedClient { program, reads_pkcs8: true };
        assert_eq!(checked.encoding_for(Some(program)), KeyEncoding::Pkcs8);
        for other in [
            None,
            Some(ProgramFile { inode: 8, ..program }),
            Some(ProgramFile { size: 1_000_001, ..program }),
            Some(ProgramFile { modified: program.modified + 1, ..program }),
        ] {
            assert_eq!(checked.encoding_for(other), KeyEncoding::OpenSsh, "{other:?}");
        }
        let older = CheckedClient { reads_pkcs8: false, ..checked };
        assert_eq!(older.encoding_for(Some(program)), KeyEncoding::OpenSsh);
    }
}
