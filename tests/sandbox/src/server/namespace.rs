//! Inside the private network and mount namespaces: addresses, OS users, and nothing of the real home.
//!
//! All of it is undone by the namespaces' end; not one file outside the sandbox's folder changes.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// OS users that exist on every instance, beside root.
pub(crate) const USERS: [&str; 4] = ["ec2-user", "ubuntu", "admin", "deploy"];
/// The file over /etc/hosts, and the machine's own.
const HOSTS: &str = "hosts";
const REAL_HOSTS: &str = "hosts.machine";
const FIRST_UID: u32 = 64001;

/// Brings loopback up, makes 10.0.0.0/8 local and puts throw-away user files over the real ones.
pub(crate) fn furnish(dir: &Path) -> io::Result<()> {
    let etc = dir.join("etc");
    fs::create_dir(&etc)?;
    write_user_files(dir, &etc)?;
    fs::copy("/etc/hosts", etc.join(HOSTS))
        .or_else(|_| fs::write(etc.join(HOSTS), "127.0.0.1 localhost\n").map(|()| 0))?;
    fs::copy(etc.join(HOSTS), etc.join(REAL_HOSTS))?;
    let mut script = vec![String::from("set -e; ip link set lo up; ip route add local 10.0.0.0/8 dev lo")];
    script.push("ip -6 route add local fd00::/8 dev lo 2>/dev/null || :".into());
    let replaced = ["passwd", "group", "shadow", "sudoers", "hosts"].into_iter().filter(|name| etc.join(name).exists());
    script.extend(replaced.map(|name| format!("mount --bind \"$1/{name}\" /etc/{name}")));
    // sshd wants /run/sshd, and a name service cache would still know the real home.
    if !dir.starts_with("/run") && !dir.starts_with("/var/run") {
        script.push("mount -t tmpfs -o mode=0755 tmpfs /run".into());
    }
    script.push("mkdir -p -m 0755 /run/sshd".into());
    check(&Command::new("sh").args(["-c", &script.join("\n"), "sh"]).arg(&etc).output()?)
}

/// Lets names resolve to an address, and no others than those of the machine. The file is written in place: it is the
/// one that is mounted over /etc/hosts.
pub(crate) fn write_hosts(dir: &Path, names: &[String], address: IpAddr) -> io::Result<()> {
    let etc = dir.join("etc");
    let mut text = fs::read_to_string(etc.join(REAL_HOSTS))?;
    for name in names {
        text.extend(["\n", &address.to_string(), " ", name]);
    }
    fs::write(etc.join(HOSTS), text + "\n")
}

/// Makes more addresses local, each with a route of its own.
pub(crate) fn add_addresses<'a>(addresses: impl Iterator<Item = &'a str>) -> io::Result<()> {
    let lines: Vec<String> = addresses.map(|address| format!("route replace local {address} dev lo\n")).collect();
    if lines.is_empty() {
        return Ok(());
    }
    let mut ip = Command::new("ip");
    let mut child = ip.args(["-batch", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(lines.concat().as_bytes())?;
    }
    check(&child.wait_with_output()?)
}

fn check(output: &Output) -> io::Result<()> {
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// Copies passwd and group with root's home moved and our users added, and writes a shadow without any hash and a sudoers
/// that lets our users do everything, as cloud-init does on an instance.
fn write_user_files(dir: &Path, etc: &Path) -> io::Result<()> {
    let home = dir.join("home");
    let kept = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !USERS.iter().any(|user| first(line) == *user)).map(String::from).collect()
    };
    let mut passwd = kept(&fs::read_to_string("/etc/passwd")?);
    for line in &mut passwd {
        if first(line) == "root" {
            let mut fields: Vec<_> = line.split(':').map(String::from).collect();
            if let Some(field) = fields.get_mut(5) {
                *field = home.display().to_string();
            }
            *line = fields.join(":");
        }
    }
    let mut group = kept(&fs::read_to_string("/etc/group")?);
    fs::create_dir(dir.join("users"))?;
    for (user, id) in USERS.iter().zip(FIRST_UID..) {
        let home = dir.join("users").join(user);
        fs::create_dir(&home)?;
        std::os::unix::fs::chown(&home, Some(id), Some(id))?;
        passwd.push(format!("{user}:x:{id}:{id}::{}:/bin/sh", home.display()));
        group.push(format!("{user}:x:{id}:"));
    }
    fs::write(etc.join("passwd"), passwd.join("\n") + "\n")?;
    fs::write(etc.join("group"), group.join("\n") + "\n")?;
    let private = |name: &str, mode: u32, text: String| {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(mode).open(etc.join(name))?.write_all(text.as_bytes())
    };
    if Path::new("/etc/shadow").exists() {
        // `*` and not `!`: sshd without PAM takes the latter for a locked account and lets no key in.
        let shadow: Vec<_> = passwd.iter().map(|line| format!("{}:*:19000:0:99999:7:::\n", first(line))).collect();
        private("shadow", 0o600, shadow.concat())?;
    }
    if Path::new("/etc/sudoers").exists() {
        private("sudoers", 0o440, USERS.map(|user| format!("{user} ALL=(ALL) NOPASSWD: ALL\n")).concat())?;
    }
    Ok(())
}

fn first(line: &str) -> &str {
    line.split(':').next().unwrap_or_default()
}

/// Kills the processes left in this network namespace, which only commands and sessions of the sandbox can enter:
/// remote commands that outlived their sshd, lingering masters.
pub(crate) fn kill_everything_inside() {
    let me = std::process::id();
    let Ok(here) = fs::read_link("/proc/self/ns/net") else { return };
    let Ok(entries) = fs::read_dir("/proc") else { return };
    let inside = entries.filter_map(|entry| {
        let entry = entry.ok()?;
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let same = fs::read_link(entry.path().join("ns/net")).is_ok_and(|namespace| namespace == here);
        (same && pid.cast_unsigned() != me).then_some(pid)
    });
    for pid in inside.filter_map(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
}
