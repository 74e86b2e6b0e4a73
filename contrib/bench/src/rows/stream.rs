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
        let relay = relay.as_ref().map(drop).map_err(Clone::clone);
        lines.extend(throughput(site, &format!("{mib} MiB {what}"), &steps, rounds, mib, &relay)?);
    }
    fs::remove_file(file)?;
    Ok(lines)
}

/// A file without any block on the disk, which everybody may read.
pub(super) fn zeros(site: &Site, mib: usize) -> io::Result<String> {
    let path = site.sandbox.dir().join("zeros");
    File::create(&path)?.set_len(mib as u64 * 1_048_576)?;
    fs::set_permissions(&path, Permissions::from_mode(0o644))?;
    Ok(path.display().to_string())
}

/// Throughput by ssh-eic, by the relay and by ssh alone: the inverse of the times.
#[expect(clippy::cast_precision_loss, reason = "no more than a few GiB")]
fn throughput(
    site: &Site,
    what: &str,
    steps: &[Step; 3],
    rounds: usize,
    mib: usize,
    relay: &Result<(), String>,
) -> io::Result<[Line; 2]> {
    let [ours, relayed, plain] = site.runs(steps, rounds)?;
    let [of_ours, of_relay, of_plain] = [&ours, &relayed, &plain].map(|runs| mib as f64 / runs.wall.median);
    let by_relay = format!("{what} / bare relay");
    let by_relay = match relay {
        Ok(()) => {
            Line::new(by_relay, Quantity::Ratio(of_ours / of_relay), format!("{of_ours:.0} / {of_relay:.0} MiB/s"))
        }
        Err(reason) => Line::missing(by_relay, reason),
    };
    let by_plain = Line::new(
        format!("{what} / plain ssh"),
        Quantity::Ratio(of_ours / of_plain),
        format!("{of_ours:.0} / {of_plain:.0} MiB/s"),
    );
    let raw = json!({"ours": ours, "relay": relay.is_ok().then_some(relayed), "plain": plain});
    Ok([by_relay.at_least(THROUGHPUT).raw(raw), by_plain])
}
