//! The command line and the program of the parent process: OpenSSH itself, since it runs hook and proxy with `exec`.

#[cfg(target_os = "linux")]
use std::fs::File;
#[cfg(target_os = "linux")]
use std::io::Read;
use std::sync::OnceLock;

use crate::domain::ssh_client::ProgramFile;

/// Whether the arguments are those of the parent process in any case, and not words of a line that was split at spaces.
pub const IS_EXACT: bool = cfg!(target_os = "linux");

/// The id of the parent process.
#[must_use]
pub fn pid() -> Option<i32> {
    rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get())
}

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

/// The arguments of the parent process, which are read once; none where they cannot be read.
#[must_use]
pub fn argv() -> Option<&'static [Vec<u8>]> {
    static ARGV: OnceLock<Option<Vec<Vec<u8>>>> = OnceLock::new();
    ARGV.get_or_init(read_argv).as_deref()
}

#[cfg(target_os = "linux")]
fn read_argv() -> Option<Vec<Vec<u8>>> {
    let parent = rustix::process::getppid()?;
    let file = File::open(format!("/proc/{}/cmdline", parent.as_raw_nonzero())).ok()?;
    // Two reads for a usual command line: the kernel gives no length, by which the buffer could be made.
    let mut line = Vec::with_capacity(4096);
    file.take(u64::MAX).read_to_end(&mut line).ok()?;
    let line = line.strip_suffix(b"\0").unwrap_or(&line);
    (!line.is_empty()).then(|| line.split(|&b| b == 0).map(<[u8]>::to_vec).collect())
}

/// As ps(1) prints them. Words are split at spaces, so that the words after an option with a value are unknown: none then,
/// and the hook pushes.
#[cfg(not(target_os = "linux"))]
fn read_argv() -> Option<Vec<Vec<u8>>> {
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
