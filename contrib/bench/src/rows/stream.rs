//! P7: bulk data through a session, down and up. Who relays has to copy all of it once more, and encryption has to be the
//! bottleneck all the same.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::login::FEW;
use crate::lab::{Lab, Site, host, progress};
use crate::meter::Step;
use crate::report::{Line, Quantity};
use crate::ways::{self, Plain, Way};

const THROUGHPUT: Quantity = Quantity::Ratio(0.97);

pub(super) fn measure(lab: &mut Lab) -> io::Result<Vec<Line>> {
    let (mib, rounds) = (lab.pick(1024, 64), lab.pick(5, 2));
    let name = host(0);
    let site = lab.reachable(FEW)?;
    let file = zeros(site, mib)?;
    let plain = Plain::new(site, &[&name], None)?;
    let relay = plain.relayed("")?;
    let ways = [&ways::ours(site), relay.as_ref().unwrap_or(&plain.way), &plain.way];
    let down = |way: &Way| way.run(&name, &format!("exec cat {file}"));
    let up = |way: &Way| way.run(&name, "exec cat >/dev/null").stdin(&file);
    let mut lines = Vec::new();
    for (what, steps) in [("down", ways.map(down)), ("up", ways.map(up))] {
        progress(&format!("P7: {mib} MiB {what}, {rounds} rounds"));
        lines.push(line(site, &format!("{mib} MiB {what} / plain ssh"), &steps, rounds, mib, relay.is_ok())?);
    }
    fs::remove_file(file)?;
    Ok(lines)
}

/// A file without any block on the disk, which everybody may read.
fn zeros(site: &Site, mib: usize) -> io::Result<String> {
    let path = site.sandbox.dir().join("zeros");
    File::create(&path)?.set_len(mib as u64 * 1_048_576)?;
    fs::set_permissions(&path, Permissions::from_mode(0o644))?;
    Ok(path.display().to_string())
}

/// Throughput by ssh-eic, by the relay and by nobody: the inverse of the times.
#[expect(clippy::cast_precision_loss, reason = "no more than a few GiB")]
fn line(site: &Site, what: &str, steps: &[Step; 3], rounds: usize, mib: usize, relay: bool) -> io::Result<Line> {
    let [ours, relayed, plain] = site.runs(steps, rounds)?;
    let rate = |seconds: f64| mib as f64 / seconds;
    let [of_ours, of_relay, of_plain] = [&ours, &relayed, &plain].map(|runs| rate(runs.wall.median));
    let by_relay = if relay { format!(" (relay {of_relay:.0})") } else { String::new() };
    Ok(Line::new(what, Quantity::Ratio(of_ours / of_plain), format!("{of_ours:.0} / {of_plain:.0} MiB/s{by_relay}"))
        .at_least(THROUGHPUT)
        .floor(relay.then_some(Quantity::Ratio(of_relay / of_plain)))
        .raw(json!({"ours": ours, "relay": relay.then_some(relayed), "plain": plain})))
}
