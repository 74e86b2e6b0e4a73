//! P6 and P11: what the generated config costs every `ssh`, measured by `ssh -G`, which reads it all and connects to
//! nothing. Runs of the compared files alternate.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::process::Stdio;

use serde_json::json;

use crate::files::{self, Files};
use crate::lab::{Lab, Site, progress};
use crate::meter::Step;
use crate::report::{Line, Quantity};
use crate::stats::Runs;

const MANAGED: Quantity = Quantity::Ratio(1.5);
const FOREIGN: Quantity = Quantity::Ratio(1.6);

/// `ssh -F FILE -G HOST`.
pub(super) fn ssh_g(file: &str, host: &str) -> Step {
    Step::new(["ssh", "-F", file, "-G", host])
}

/// P6: the last of the managed hosts, without the hook.
pub(super) fn managed(lab: &mut Lab) -> io::Result<Vec<Line>> {
    let (hosts, rounds) = (lab.hosts(), lab.pick(41, 7));
    let site = lab.fleet(hosts)?.synced()?;
    let files = files::write(site)?;
    let last = files.last.as_str();
    progress(&format!("P6: ssh -G {last}, {rounds} rounds"));
    let steps = [
        ssh_g(&files.routing, last),
        ssh_g(&files.whole, last).env("SSH_EIC_HOOK_OFF", "1"),
        ssh_g(&files.bare, last),
        ssh_g(&files.keyed, last),
    ];
    let [routing, whole, bare, keyed] = site.runs(&steps, rounds)?;
    let floor = Some(keyed.ratio(&bare));
    let raw = json!({"routing": routing, "whole": whole, "bare": bare, "keyed": keyed});
    Ok(vec![
        line(&format!("ssh -G last of {hosts}, no hook / bare pairs"), &routing, &bare)
            .limit(MANAGED)
            .floor(floor)
            .raw(raw),
        line(&format!("ssh -G last of {hosts}, hook a no-op / bare pairs"), &whole, &bare).floor(floor),
    ])
}

/// P11: a host that has nothing to do with us.
pub(super) fn foreign(lab: &mut Lab) -> io::Result<Vec<Line>> {
    const HOST: &str = "github.com";
    let (hosts, rounds) = (lab.hosts(), lab.pick(41, 7));
    let site = lab.fleet(hosts)?.synced()?;
    let files = files::write(site)?;
    progress(&format!("P11: ssh -G {HOST}, {rounds} rounds"));
    let steps = [&files.whole, &files.bare, &files.keyed].map(|file| ssh_g(file, HOST));
    let [whole, bare, keyed] = site.runs(&steps, rounds)?;
    let raw = json!({"whole": whole, "bare": bare, "keyed": keyed});
    let time = line(&format!("ssh -G {HOST}, {hosts} managed / bare pairs"), &whole, &bare)
        .limit(FOREIGN)
        .floor(Some(keyed.ratio(&bare)))
        .raw(raw);
    Ok(vec![time, processes(site, &files, HOST)?.limit(Quantity::Count(0.0))])
}

fn line(what: &str, runs: &Runs, base: &Runs) -> Line {
    Line::new(what, runs.ratio(base), runs.beside(base))
}

/// How many processes ssh starts for a foreign host; for a managed one there must be some, or counting has failed.
fn processes(site: &Site, files: &Files, host: &str) -> io::Result<Line> {
    let what = format!("processes started by ssh -G {host}");
    let (count, by) = match (traced(site, &files.whole, host), traced(site, &files.whole, &files.last)) {
        (Ok(foreign), Ok(managed)) if managed > 0 => ((foreign, managed), "by strace"),
        _ => ((counted(site, files, host)?, counted(site, files, &files.last)?), "the hook only, by a wrapper"),
    };
    if count.1 == 0 {
        return Ok(Line::missing(what, "not even the hook of a managed host was seen"));
    }
    let detail = format!("{by}; for a managed host {}", count.1);
    #[expect(clippy::cast_precision_loss, reason = "a few processes")]
    Ok(Line::new(what, Quantity::Count(count.0 as f64), detail))
}

/// Counts processes beside ssh itself: each is a number at the beginning of strace's lines.
fn traced(site: &Site, file: &str, host: &str) -> io::Result<usize> {
    let log = site.sandbox.dir().join("bench/strace");
    let mut command = site.sandbox.command("strace");
    command.args(["-f", "-qq", "-e", "trace=execve,exit_group", "-o"]).arg(&log);
    command.args(["ssh", "-F", file, "-G", host]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if !command.status()?.success() {
        return Err(io::Error::other("strace does not work here"));
    }
    let text = fs::read_to_string(&log)?;
    let processes: HashSet<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    Ok(processes.len().saturating_sub(1))
}

/// Counts calls of the hook, by a copy of the config that names a program which writes them down.
fn counted(site: &Site, files: &Files, host: &str) -> io::Result<usize> {
    use std::os::unix::fs::PermissionsExt;
    let folder = site.sandbox.dir().join("bench");
    let (wrapper, hook, config, log) =
        (folder.join("wrapper"), folder.join("hook"), folder.join("counted"), folder.join("hook.log"));
    fs::write(&wrapper, format!("#!/bin/sh\necho called >>'{}'\nexit 1\n", log.display()))?;
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755))?;
    fs::write(&log, "")?;
    let text = fs::read_to_string(site.sandbox.home().join(".ssh/eic/hook"))?;
    let program = text.split('\'').find(|word| word.ends_with("/ssh-eic")).unwrap_or_default().to_owned();
    fs::write(&hook, text.replace(&program, &wrapper.display().to_string()))?;
    fs::write(&config, format!("Include {} {}\n", files.routing, hook.display()))?;
    let mut command = site.sandbox.command("ssh");
    command.arg("-F").arg(&config).args(["-G", host]).stdin(Stdio::null()).stdout(Stdio::null());
    if !command.status()?.success() {
        return Err(io::Error::other(format!("ssh -G {host} does not succeed with a counting hook")));
    }
    Ok(fs::read_to_string(&log)?.lines().filter(|line| *line == "called").count())
}
