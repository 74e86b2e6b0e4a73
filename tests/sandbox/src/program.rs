//! Queries to the machine: paths of programs, the current user, random text.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The PATH of every program in the sandbox, and where the sandbox itself looks for programs.
pub(crate) const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Names a folder with the ssh, scp, sftp and ssh-keygen that commands inside find first: a client of another version.
const CLIENT_VARIABLE: &str = "SANDBOX_SSH_FOLDER";
/// Names the sshd that runs as the instances.
const SERVER_VARIABLE: &str = "SANDBOX_SSHD";

/// PATH of the commands inside, before a test adds its own folders.
pub(crate) fn command_path() -> String {
    match std::env::var(CLIENT_VARIABLE) {
        Ok(folder) if !folder.is_empty() => format!("{folder}:{SYSTEM_PATH}"),
        _ => SYSTEM_PATH.to_owned(),
    }
}

/// The sshd of the instances: `$SANDBOX_SSHD`, or the installed one.
pub(crate) fn sshd() -> io::Result<PathBuf> {
    let Some(path) = std::env::var_os(SERVER_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from) else {
        return find("sshd");
    };
    if path.is_absolute() && path.is_file() {
        return Ok(path);
    }
    Err(io::Error::new(io::ErrorKind::NotFound, format!("{SERVER_VARIABLE} is no absolute path: {}", path.display())))
}

/// The ssh-keygen that makes host keys: of the client's folder, since it may know more key types.
pub(crate) fn ssh_keygen() -> io::Result<PathBuf> {
    let of_client = std::env::var_os(CLIENT_VARIABLE).map(|folder| Path::new(&folder).join("ssh-keygen"));
    of_client.filter(|path| path.is_file()).map_or_else(|| find("ssh-keygen"), Ok)
}

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
