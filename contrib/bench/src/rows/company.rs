//! S2: many accounts and regions at once against the slowest of them alone. Waiting for AWS is most of it, and waits can
//! overlap.

use std::io;

use sandbox::{Instance, Network};
use serde_json::json;

use crate::lab::{Lab, Site, progress};
use crate::report::{Line, Quantity};
use crate::stats::Runs;

const SOURCES: usize = 40;
const REGIONS: [&str; 6] = ["eu-west-1", "eu-central-1", "us-east-1", "us-west-2", "ap-southeast-1", "ap-northeast-1"];
const LATENCY_MS: u64 = 300;

pub(super) fn measure(lab: &mut Lab) -> io::Result<Vec<Line>> {
    let (each, rounds, alone) = (lab.pick(42, 8), lab.pick(3, 1), lab.pick(8, 2));
    let hosts = SOURCES * REGIONS.len() * each;
    progress(&format!("a sandbox with {hosts} instances in {SOURCES} accounts and {} regions", REGIONS.len()));
    let mut site = lab.site()?;
    for source in 0..SOURCES {
        site.sandbox.add_profile(&profile(source), &account(source), REGIONS[0])?;
    }
    site.add((0..SOURCES).flat_map(|source| instances(source, each)).collect())?;
    site.latency(LATENCY_MS)?;
    let mut singles = Vec::new();
    site.expect(hosts / SOURCES);
    for source in (0..SOURCES).step_by(SOURCES / alone) {
        site.configure(&section(source))?;
        singles.push((source, syncs(&site, &format!("{} alone", profile(source)), rounds)?));
    }
    site.expect(hosts);
    site.configure(&(0..SOURCES).map(section).collect::<String>())?;
    site.sandbox.clear_calls()?;
    let all = syncs(&site, "all sources", rounds)?;
    let calls = site.sandbox.calls()?.len() / rounds;
    let slowest = singles.iter().max_by(|(_, a), (_, b)| a.wall.median.total_cmp(&b.wall.median));
    let Some((source, slowest)) = slowest else { return Ok(Vec::new()) };
    let what = format!("sync of {SOURCES} x {} source-regions, {LATENCY_MS} ms a page / slowest alone", REGIONS.len());
    let (together, single) = (all.wall.median, slowest.wall.median);
    let detail = format!("{together:.3} s, {calls} calls / {single:.3} s for {}", profile(*source));
    Ok(vec![
        Line::new(what, Quantity::Ratio(together / single), detail)
            .floor(Some(Quantity::Ratio(1.0)))
            .raw(json!({"all": all, "alone": singles, "calls": calls})),
    ])
}

fn syncs(site: &Site, what: &str, rounds: usize) -> io::Result<Runs> {
    progress(&format!("S2: {what}, {rounds} rounds"));
    (0..rounds).map(|_| site.first_sync()).collect::<io::Result<Vec<_>>>().map(Runs::of)
}

fn profile(source: usize) -> String {
    format!("corp-{source:02}")
}

fn account(source: usize) -> String {
    format!("{:012}", 200_000_000_000 + source)
}

fn section(source: usize) -> String {
    let regions: Vec<String> = REGIONS.iter().map(|region| format!("\"{region}\"")).collect();
    format!("[[source]]\nprofile = \"{}\"\nregions = [{}]\n\n", profile(source), regions.join(", "))
}

fn instances(source: usize, each: usize) -> Vec<Instance> {
    let of_region = |(number, region): (usize, &'static str)| {
        (0..each).map(move |n| {
            let instance = Instance::new(&format!("{}-r{number}-web-{n}", profile(source)));
            instance.account(account(source)).region(region).network(Network::Away)
        })
    };
    REGIONS.into_iter().enumerate().flat_map(of_region).collect()
}
