//! S1: five times the instances may take five times as long, and no longer.

use std::io;

use serde_json::json;

use super::config::ssh_g;
use crate::files;
use crate::lab::{Lab, progress};
use crate::meter::Sample;
use crate::report::{Line, Quantity};
use crate::stats::Runs;

/// How much larger the larger fleet is.
const TIMES: usize = 5;
/// Linear growth, and a tenth for noise.
const LINEAR: Quantity = Quantity::Ratio(5.5);

/// What a fleet of one size takes.
struct Size {
    first: Runs,
    second: Runs,
    routing: Runs,
    bare: Runs,
}

pub(super) fn measure(lab: &mut Lab) -> io::Result<Vec<Line>> {
    let hosts = lab.hosts();
    let (small, large) = (size(lab, hosts)?, size(lab, TIMES * hosts)?);
    let line = |what: &str, unit: &str, quantity: fn(&Size) -> f64| {
        let (small, large) = (quantity(&small), quantity(&large));
        let detail = match unit {
            "s" => format!("{large:.3} / {small:.3} s"),
            _ => format!("{large:.1} / {small:.1} {unit}"),
        };
        let what = format!("{what}: {} / {hosts} hosts", TIMES * hosts);
        Line::new(what, Quantity::Ratio(large / small), detail).limit(LINEAR)
    };
    let raw = |size: &Size| json!({"first": size.first, "second": size.second, "ssh_g": size.routing, "ssh_g_bare": size.bare});
    let bare = Quantity::Ratio(large.bare.wall.median / small.bare.wall.median);
    let raw = json!({"small": raw(&small), "large": raw(&large)});
    Ok(vec![
        line("first sync", "s", |size| size.first.wall.median).raw(raw),
        line("unchanged sync", "s", |size| size.second.wall.median),
        line("CPU of a first sync", "s", |size| size.first.cpu.median),
        line("peak memory", "MiB", |size| size.first.peak_mib.max(size.second.peak_mib)),
        line("ssh -G of the last", "s", |size| size.routing.wall.median).floor(Some(bare)),
    ])
}

fn size(lab: &mut Lab, hosts: usize) -> io::Result<Size> {
    let (syncs, rounds) = (lab.pick(3, 1), lab.pick(21, 5));
    let site = lab.fleet(hosts)?;
    let (mut first, mut second): (Vec<Sample>, Vec<Sample>) = (Vec::new(), Vec::new());
    for round in 1..=syncs {
        progress(&format!("S1: sync of {hosts} instances, round {round} of {syncs}"));
        first.push(site.first_sync()?);
        second.push(site.sync()?);
    }
    let files = files::write(site)?;
    progress(&format!("S1: ssh -G with {hosts} hosts, {rounds} rounds"));
    let [routing, bare] = site.runs(&[ssh_g(&files.routing, &files.last), ssh_g(&files.bare, &files.last)], rounds)?;
    Ok(Size { first: Runs::of(first), second: Runs::of(second), routing, bare })
}
