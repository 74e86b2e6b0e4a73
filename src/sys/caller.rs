//! The command line of the process that called us: OpenSSH itself, since it runs hook and proxy with `exec`.

use std::sync::OnceLock;

/// Whether the arguments are those of the parent process in any case, and not words of a line that was cut at spaces.
pub const IS_EXACT: bool = cfg!(target_os = "linux");

/// The arguments of the parent process; none where they cannot be read. Read once, since the parent may end.
#[must_use]
pub fn argv() -> Option<&'static [Vec<u8>]> {
    static ARGV: OnceLock<Option<Vec<Vec<u8>>>> = OnceLock::new();
    ARGV.get_or_init(read).as_deref()
}

#[cfg(target_os = "linux")]
fn read() -> Option<Vec<Vec<u8>>> {
    let parent = rustix::process::getppid()?;
    let line = std::fs::read(format!("/proc/{}/cmdline", parent.as_raw_nonzero())).ok()?;
    let line = line.strip_suffix(b"\0").unwrap_or(&line);
    (!line.is_empty()).then(|| line.split(|&b| b == 0).map(<[u8]>::to_vec).collect())
}

/// As ps(1) shows them. It separates words by spaces, so that an option's value cannot be told from what follows: none
/// then, and the hook pushes.
#[cfg(not(target_os = "linux"))]
fn read() -> Option<Vec<Vec<u8>>> {
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
