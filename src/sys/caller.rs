//! The command line of the process that called us: OpenSSH itself, since it runs hook and proxy with `exec`.

/// The id of the parent process.
#[must_use]
pub fn pid() -> Option<i32> {
    rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get())
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
