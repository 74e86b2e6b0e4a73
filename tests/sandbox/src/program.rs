//! Queries to the machine: paths of programs, the current user, random text.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The PATH of every program in the sandbox, and where the sandbox itself looks for programs.
pub(crate) const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The absolute path of `name` on [`SYSTEM_PATH`], or on PATH (Homebrew's and Nix's sshd).
pub(crate) fn find(name: &str) -> io::Result<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    SYSTEM_PATH
        .split(':')
        .chain(path.split(':'))
        .map(|folder| Path::new(folder).join(name))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{name} is not installed")))
}

/// The login name of the effective user, by passwd.
pub(crate) fn user_name() -> io::Result<String> {
    let output = Command::new("id").arg("-un").output()?;
    let name = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if name.is_empty() { Err(io::Error::other("id -un does not know the current user")) } else { Ok(name) }
}

/// The `sandbox` program: `$SANDBOX_BIN`, this very program, or the one built beside the running test.
pub(crate) fn sandbox_binary() -> io::Result<PathBuf> {
    if let Some(path) = std::env::var_os("SANDBOX_BIN") {
        return Ok(path.into());
    }
    let exe = std::env::current_exe()?;
    if exe.file_name().is_some_and(|name| name == "sandbox") {
        return Ok(exe);
    }
    exe.ancestors()
        .skip(1)
        .take(3)
        .map(|folder| folder.join("sandbox"))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| io::Error::other(format!("no `sandbox` program near {}: cargo build -p sandbox", exe.display())))
}

/// Sixteen random capitals and digits.
pub(crate) fn random_word() -> io::Result<String> {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect())
}
