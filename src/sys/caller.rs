//! The command line and the program of the parent process: OpenSSH itself, since it runs hook and proxy with `exec`.

use crate::domain::ssh_client::ProgramFile;

/// The program file of the parent process; none where the kernel does not let this process look at it.
#[cfg(target_os = "linux")]
#[must_use]
pub fn program() -> Option<ProgramFile> {
    let parent = rustix::process::getppid()?;
    super::ssh_client::program_file(std::path::Path::new(&format!("/proc/{}/exe", parent.as_raw_nonzero())))
}

/// Unknown: only system calls that Rust's safe libraries do not have can find out.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn program() -> Option<ProgramFile> {
    None
}

/// The arguments of the parent process; none where they cannot be read.
#[cfg(target_os = "linux")]
#[must_use]
pub fn argv() -> Option<Vec<Vec<u8>>> {
    let parent = rustix::process::getppid()?;
    let line = std::fs::read(format!("/proc/{}/cmdline", parent.as_raw_nonzero())).ok()?;
    let line = line.strip_suffix(b"\0").unwrap_or(&line);
    (!line.is_empty()).then(|| line.split(|&b| b == 0).map(<[u8]>::to_vec).collect())
}

/// The arguments of the parent process, as ps(1) shows them. Words are cut at spaces, so that behind an option's value
/// nothing can be told any more: none then, and the hook pushes.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn argv() -> Option<Vec<Vec<u8>>> {
    let parent = rustix::process::getppid()?;
    let output = std::process::Command::new("/bin/ps")
        .args(["-ww", "-o", "args=", "-p", &parent.as_raw_nonzero().to_string()])
        .stderr(std::process::Stdio::null())
        .output()
        .ok()?;
    let words: Vec<Vec<u8>> =
        output.stdout.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).map(<[u8]>::to_vec).collect();
    let has_values = words.iter().any(|word| word.starts_with(b"-o"));
    (!words.is_empty() && !has_values).then_some(words)
}
