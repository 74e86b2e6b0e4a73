//! P10: what a session that does nothing holds of the machine's memory, by the proxy alone: there may be hundreds, for days.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::login::FEW;
use super::routes;
use super::stream::zeros;
use crate::lab::{Lab, Site, host, progress};
use crate::report::{Line, Quantity};
use crate::stats::Summary;
use crate::ways;

const MEMORY: Quantity = Quantity::MiB(1.0);
/// Timeout for the end of the process that pushed, and of the proxy after its ssh was killed.
const GONE: Duration = Duration::from_secs(5);

/// One proxy with nothing to do.
struct Idle {
    mib: f64,
    /// Processes that it has started and that are still there.
    beside: usize,
    /// Whether it outlived its ssh.
    left: bool,
}

pub(super) fn measure(lab: &mut Lab) -> io::Result<Vec<Line>> {
    const WHAT: &str = "memory of an idle proxy";
    if !cfg!(target_os = "linux") {
        return Ok(vec![Line::missing(WHAT, "only Linux says what a process shares with nobody").limit(MEMORY)]);
    }
    let rounds = lab.pick(7, 2);
    let site = lab.reachable(FEW)?;
    progress(&format!("P10: idle sessions, {rounds} rounds"));
    let (mut cold, mut warm) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        site.forget_logins()?;
        cold.push(idle(site, &host(0), None)?);
        warm.push(idle(site, &host(0), None)?);
    }
    let line = |what: &str, idle: &[Idle]| {
        let mib: Vec<f64> = idle.iter().map(|idle| idle.mib).collect();
        let Summary { median, min } = Summary::of(mib.iter().copied());
        let detail = format!("least {min:.2} MiB, most {:.2} MiB", mib.iter().copied().fold(0.0, f64::max));
        Line::new(format!("{WHAT}, {what}"), Quantity::MiB(median), detail).limit(MEMORY).raw(json!(mib))
    };
    let all = || warm.iter().chain(&cold);
    let beside: usize = all().map(|idle| idle.beside).sum();
    let left = all().filter(|idle| idle.left).count();
    #[expect(clippy::cast_precision_loss, reason = "a few processes")]
    let processes = Line::new(
        "processes beside idle proxies",
        Quantity::Count(beside as f64),
        format!("{left} outlived their ssh"),
    )
    .limit(Quantity::Count(0.0));
    Ok(vec![line("warm", &warm), line("after a cold push", &cold), processes])
}

/// P12: the same of sessions over the other routes, also after bytes have passed.
pub(super) fn tunnels(lab: &mut Lab) -> io::Result<Vec<Line>> {
    const WHAT: &str = "memory of an idle tunnel";
    if !cfg!(target_os = "linux") {
        return Ok(vec![Line::missing(WHAT, "only Linux reports the private memory of a process")]);
    }
    let mib = lab.pick(100, 2);
    let site = match routes::site(lab)? {
        Ok(site) => site,
        Err(reason) => return Ok(vec![Line::missing(WHAT, reason)]),
    };
    let file = zeros(&site, mib)?;
    let load = Load { file: &file, bytes: mib as u64 * 1_048_576 };
    let mut lines = Vec::new();
    // Session Manager carries 0.9 MB/s: one round takes four minutes.
    for (route, name, limit, rounds) in
        [("endpoint", routes::ENDPOINT, 1.0, lab.pick(5, 1)), ("ssm", routes::SSM, 2.0, 1)]
    {
        progress(&format!("P12: idle sessions over {route}, then {rounds} after {mib} MiB"));
        let limit = Quantity::MiB(limit);
        let idle = |load: Option<&Load<'_>>, rounds: usize| -> io::Result<Vec<f64>> {
            (0..rounds).map(|_| Ok(idle(&site, name, load)?.mib)).collect()
        };
        for (what, mib) in [
            (format!("{WHAT}, {route}"), idle(None, lab.pick(5, 1))?),
            (format!("{WHAT}, {route}, after {mib} MiB each way"), idle(Some(&load), rounds)?),
        ] {
            let most = mib.iter().copied().fold(0.0, f64::max);
            let detail = format!("{} runs, most {most:.2} MiB", mib.len());
            let median = Summary::of(mib.iter().copied()).median;
            lines.push(Line::new(what, Quantity::MiB(median), detail).limit(limit).raw(json!(mib)));
        }
    }
    Ok(lines)
}

/// Bytes that a session carries in each direction before it is idle.
struct Load<'a> {
    /// A file of this size.
    file: &'a str,
    bytes: u64,
}

/// Measures the proxy of a session, and ends the session.
fn idle(site: &Site, host: &str, load: Option<&Load<'_>>) -> io::Result<Idle> {
    let bytes = load.map_or(0, |load| load.bytes);
    let script = match load {
        None => "echo here; exec sleep 60".to_owned(),
        Some(_) => format!("head -c {bytes} >/dev/null; head -c {bytes} /dev/zero; echo here; exec sleep 60"),
    };
    let [program, args @ ..] = &*ways::ours(site).argv(host, &script) else {
        return Err(io::Error::other("no ssh"));
    };
    let stdin = load.map_or_else(|| Ok(Stdio::null()), |load| fs::File::open(load.file).map(Stdio::from))?;
    let mut command = site.sandbox.command(program);
    // Inside, ssh replaces the process that enters: the process that is started here is ssh.
    let mut ssh = command.args(args).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let stdout = ssh.stdout.take();
    let seen = look(&ssh, stdout, bytes);
    ssh.kill()?;
    ssh.wait()?;
    let (proxy, mib, beside) = seen?;
    Ok(Idle { mib, beside, left: !within(GONE, || !is_proxy(proxy)) })
}

/// The proxy's process, its memory, and how many processes it has beside it.
fn look(ssh: &Child, stdout: Option<ChildStdout>, bytes: u64) -> io::Result<(u32, f64, usize)> {
    let mut line = String::new();
    let mut stdout = BufReader::new(stdout.ok_or_else(|| io::Error::other("an ssh without stdout"))?);
    io::copy(&mut stdout.by_ref().take(bytes), &mut io::sink())?;
    stdout.read_line(&mut line)?;
    if line != "here\n" {
        return Err(io::Error::other("ssh ended before its session was there"));
    }
    let proxy = children(ssh.id())?.into_iter().find(|&pid| is_proxy(pid));
    let proxy = proxy.ok_or_else(|| io::Error::other("an ssh without a proxy"))?;
    let alone = || children(proxy).is_ok_and(|children| children.is_empty());
    within(GONE, alone);
    // Whatever it does at the beginning is over by then.
    thread::sleep(Duration::from_millis(300));
    Ok((proxy, private_mib(&fs::read_to_string(proc(proxy).join("smaps"))?), children(proxy)?.len()))
}

fn proc(pid: u32) -> PathBuf {
    Path::new("/proc").join(pid.to_string())
}

fn is_proxy(pid: u32) -> bool {
    let line = fs::read(proc(pid).join("cmdline")).unwrap_or_default();
    let mut words = line.split(|&byte| byte == 0);
    words.next().is_some_and(|program| program.ends_with(b"ssh-eic")) && words.any(|word| word == b"proxy")
}

fn children(parent: u32) -> io::Result<Vec<u32>> {
    let pids = fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    Ok(pids.filter(|&pid| parent_of(pid) == Some(parent)).collect())
}

/// The fourth field of `proc_pid_stat(5)`; the second, in parentheses, is the program's name.
fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(proc(pid).join("stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

fn within(timeout: Duration, condition: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    while !condition() {
        if begun.elapsed() > timeout {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
    true
}

/// Anonymous memory, and other private pages that have been written to, from `proc_pid_smaps(5)`: of each mapping,
/// since anonymous pages are private and dirty ones too.
#[expect(clippy::cast_precision_loss, reason = "kibibytes of one process")]
fn private_mib(smaps: &str) -> f64 {
    let (mut total, mut private_dirty) = (0, 0);
    for line in smaps.lines() {
        let kib = |rest: &str| rest.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or_default();
        match line.split_once(':') {
            Some(("Private_Dirty", rest)) => private_dirty = kib(rest),
            // It follows in the same mapping.
            Some(("Anonymous", rest)) => total += kib(rest).max(private_dirty),
            _ => {}
        }
    }
    total as f64 / 1024.0
}

#[cfg(test)]
mod tests {
    use super::private_mib;

    #[test]
    fn anonymous_pages_are_not_counted_twice() {
        let mapping = |dirty: u32, anonymous: u32| {
            format!(
                "55d0-55e0 rw-p 00000000 fe:00 12  /usr/bin/ssh-eic\nRss:  900 kB\nPrivate_Clean:  700 kB\n\
                 Private_Dirty:  {dirty} kB\nReferenced:  900 kB\nAnonymous:  {anonymous} kB\nVmFlags: rd wr mr\n"
            )
        };
        let smaps = format!("{}{}{}", mapping(512, 512), mapping(256, 0), mapping(0, 256));
        assert_eq!(private_mib(&smaps).to_bits(), 1.0_f64.to_bits());
    }
}
