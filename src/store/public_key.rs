//! Public keys that a person brings: the file is read, and what Instance Connect would drop is refused with words.
//!
//! The service takes any text of 80 to 4,096 characters and answers `Success`; on the instance only `ssh-ed25519` and
//! `ssh-rsa` of 2,048 or 4,096 bits come through (EC2 Instance Connect API reference, `SendSSHPublicKey`). Not here: our own
//! keys (`store::keys`).

use std::io::Read;
use std::path::Path;

use ssh_key::HashAlg;
use ssh_key::public::KeyData;

use crate::domain::source::KeyType;
use crate::error::{Error, Kind, Result};
use crate::store::keys::PublicKey;

/// No public key file is longer; whatever is was named by mistake.
const LONGEST: u64 = 64 * 1024;
/// Characters that the service takes.
const LENGTHS: std::ops::RangeInclusive<usize> = 80..=4096;
/// Bits of an RSA key that the instance takes.
const RSA_BITS: [usize; 2] = [2048, 4096];
const ACCEPTED: &str = if cfg!(feature = "fips") {
    "ssh-keygen -t rsa -b 4096 makes one that EC2 Instance Connect accepts"
} else {
    "ssh-keygen -t ed25519 makes one that EC2 Instance Connect accepts"
};

/// The first key of a file, `-` being stdin, without its comment.
///
/// # Errors
///
/// [`Kind::File`] if it cannot be read, [`Kind::Usage`] for what EC2 Instance Connect does not take.
pub fn read(path: &Path) -> Result<PublicKey> {
    let mut text = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(LONGEST).read_to_end(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(LONGEST).read_to_end(&mut text))
    };
    read.map_err(|error| Error::file("read", path, &error))?;
    parse(&String::from_utf8_lossy(&text)).map_err(|error| Error {
        message: format!(
            "{} {}",
            if path == Path::new("-") { Path::new("stdin") } else { path }.display(),
            error.message
        ),
        ..error
    })
}

fn parse(text: &str) -> Result<PublicKey> {
    let refuse = |why: String| Error::new(Kind::Usage, why);
    if text.contains("PRIVATE KEY-----") {
        return Err(refuse("is a private key".to_owned()).hint("use the public key, FILE.pub; nothing was sent"));
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let Some(line) = lines.into_iter().next() else {
        return Err(refuse("contains no public key".to_owned()).hint(ACCEPTED));
    };
    let kind = line.split_whitespace().next().unwrap_or_default();
    let name = match kind {
        _ if kind.starts_with("sk-") => Some("a key on a security token"),
        _ if kind.starts_with("ecdsa-") => Some("an ECDSA key"),
        "ssh-dss" => Some("a DSA key"),
        _ if kind.contains("-cert-v01@") => Some("a certificate"),
        _ => None,
    };
    if let Some(name) = name {
        return Err(refuse(format!("is {name}; EC2 Instance Connect accepts only Ed25519 and RSA keys")).hint(ACCEPTED));
    }
    let mut key = ssh_key::PublicKey::from_openssh(line).map_err(|error| {
        refuse("is not a public key in the format of OpenSSH".to_owned()).hint(ACCEPTED).because(error)
    })?;
    match key.key_data() {
        KeyData::Ed25519(_) => {
            if let Some(why) = KeyType::Ed25519.refused() {
                return Err(refuse(format!("is an Ed25519 key: {why}")).hint(ACCEPTED));
            }
        }
        KeyData::Rsa(rsa) => {
            let bits = rsa
                .n
                .as_positive_bytes()
                .map_or(0, |bytes| bytes.len() * 8 - bytes.first().map_or(0, |first| first.leading_zeros() as usize));
            if !RSA_BITS.contains(&bits) {
                return Err(refuse(format!(
                    "is an RSA key of {bits} bits; EC2 Instance Connect accepts only 2048 and 4096"
                ))
                .hint(ACCEPTED));
            }
        }
        _ => {
            return Err(refuse(format!(
                "is a key of type {kind}; EC2 Instance Connect accepts only Ed25519 and RSA keys"
            ))
            .hint(ACCEPTED));
        }
    }
    key.set_comment("");
    let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
    let line = key.to_openssh().map_err(|error| refuse("cannot be written as a line".to_owned()).because(error))?;
    if !LENGTHS.contains(&line.len()) {
        return Err(refuse(format!("has {} characters; EC2 Instance Connect accepts only 80 to 4096", line.len())));
    }
    Ok(PublicKey { line, fingerprint })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn made(arguments: &[&str]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let status = Command::new("ssh-keygen").args(["-q", "-N", "", "-f"]).arg(&path).args(arguments).status();
        assert!(status.unwrap().success(), "ssh-keygen {arguments:?}");
        std::fs::read_to_string(path.with_extension("pub")).unwrap()
    }

    #[test]
    fn what_instance_connect_takes_is_taken() {
        let ed25519 = (!cfg!(feature = "fips")).then_some(&["-t", "ed25519"][..]);
        for arguments in [&["-t", "rsa", "-b", "2048"][..], &["-t", "rsa", "-b", "4096"]].into_iter().chain(ed25519) {
            let line = made(arguments);
            let key = parse(&format!("# mine\n\n{line}")).unwrap();
            assert!(line.starts_with(&key.line) && !key.line.contains('@'), "{key:?}");
            assert!(key.fingerprint.starts_with("SHA256:"));
        }
    }

    #[test]
    fn what_the_instance_would_drop_is_refused_with_its_name() {
        for (text, why) in [
            (made(&["-t", "ecdsa"]), "an ECDSA key"),
            (made(&["-t", "rsa", "-b", "3072"]), "3072 bits"),
            ("sk-ssh-ed25519@openssh.com AAAA x".to_owned(), "security token"),
            ("ssh-dss AAAA x".to_owned(), "a DSA key"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl".to_owned(), "is a private key"),
            ("hello".to_owned(), "is not a public key"),
            ("\n# nothing\n".to_owned(), "contains no public key"),
        ] {
            let error = parse(&text).unwrap_err();
            assert_eq!(error.kind, Kind::Usage);
            assert!(error.message.contains(why), "{why}: {}", error.message);
        }
    }
}
