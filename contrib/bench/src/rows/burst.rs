//! P9: a first connection to very many hosts at once, as an administrator's loop makes them, while AWS takes only so many
//! pushes a second. Nobody may be turned away, and it should take no longer than AWS or the logins themselves do.

use std::collections::BTreeMap;
use std::io;

use sandbox::{Switches, Throttle};
use serde_json::json;

use crate::lab::{Lab, Site, host, progress};
use crate::meter::{self, Sample, Step};
use crate::report::{Line, Quantity};
use crate::stats::Runs;
use crate::ways::{self, Plain, Way};

const TIME: Quantity = Quantity::Ratio(1.2);

pub(super) fn measure(lab: &mut Lab) -> io::Result<Vec<Line>> {
    let (hosts, rate, rounds) = (lab.pick(200, 30), lab.pick(20, 10), lab.pick(3, 1));
    let site = lab.reachable(hosts)?;
    let names: Vec<String> = (0..hosts).map(host).collect();
    let plain = Plain::new(site, &names, None)?;
    let burst = |way: &Way| Step::burst(names.iter().map(|name| way.argv(name, "/bin/true")).collect()).may_fail();
    let (mut ours, mut others) = (Vec::new(), Vec::new());
    let (mut pushed, mut refused) = (0, 0);
    for round in 1..=rounds {
        progress(&format!("P9: {hosts} first connections at once, round {round} of {rounds}"));
        site.forget_logins()?;
        plain.forget_hosts()?;
        throttle(site, rate)?;
        site.sandbox.clear_calls()?;
        ours.push(meter::once(&site.sandbox, &burst(&ways::ours(site)))?);
        let (good, bad): (Vec<_>, Vec<_>) = site.sandbox.pushes()?.into_iter().partition(|call| call.status == 200);
        (pushed, refused) = (pushed + good.len(), refused + bad.len());
        site.sandbox.reset_switches()?;
        others.push(meter::once(&site.sandbox, &burst(&plain.way))?);
    }
    let failed = failed(&ours, &others, hosts);
    let note = format!("{} pushes and {} throttled ones a burst", pushed / rounds, refused / rounds);
    let time = time(&Runs::of(ours), &Runs::of(others), (hosts, rate), &note);
    Ok(vec![time, failed])
}

#[expect(clippy::cast_precision_loss, reason = "a few hundred hosts")]
fn time(ours: &Runs, others: &Runs, (hosts, rate): (usize, usize), note: &str) -> Line {
    let (least, of_static) = (hosts as f64 / rate as f64, others.wall.median);
    let what = format!("{hosts} first logins at once / {hosts} at {rate} a second or static keys");
    let cpu = format!("CPU of the clients {:.1} / {:.1} s", ours.cpu.median, others.cpu.median);
    let detail = format!("{:.2} s / the longer of {least:.1} and {of_static:.2} s, {note}, {cpu}", ours.wall.median);
    Line::new(what, Quantity::Ratio(ours.wall.median / least.max(of_static)), detail)
        .limit(TIME)
        .raw(json!({"ours": ours, "static": others}))
}

#[expect(clippy::cast_precision_loss, reason = "a few hundred hosts")]
fn failed(ours: &[Sample], others: &[Sample], hosts: usize) -> Line {
    let count = |samples: &[Sample]| samples.iter().map(|sample| sample.failed).sum::<usize>();
    let of_static = format!("of {}; {} with static keys", hosts * ours.len(), count(others));
    let words = ours.iter().find_map(|sample| sample.said.lines().find(|line| line.contains("error")));
    let detail = words.map_or_else(|| of_static.clone(), |words| format!("{of_static}; {words}"));
    Line::new("first logins at once that failed", Quantity::Count(count(ours) as f64), detail)
        .limit(Quantity::Count(0.0))
}

/// AWS takes so many pushes a second, and as many at once.
#[expect(clippy::cast_precision_loss, reason = "a few pushes a second")]
fn throttle(site: &Site, rate: usize) -> io::Result<()> {
    let throttle = Throttle { rate_per_s: rate as f64, burst: rate as f64, times: 0 };
    let throttle = BTreeMap::from([("SendSSHPublicKey".to_owned(), throttle)]);
    site.sandbox.switches(Switches { throttle, ..Switches::default() })
}
