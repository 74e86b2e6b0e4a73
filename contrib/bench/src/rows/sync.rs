//! P5: `ssh-eic sync` against `aws ec2 describe-instances` of the same instances, over the same TLS, in the same pages.

use std::io;

use serde_json::json;

use crate::lab::{Lab, Site, aws_describe, progress};
use crate::meter::{self, Sample, Step};
use crate::report::{Line, Quantity};
use crate::stats::Runs;

/// A tenth of the AWS CLI's time and CPU time.
const TIME: Quantity = Quantity::Ratio(0.1);
const MEMORY: Quantity = Quantity::MiB(32.0);
const LATENCY_MS: u64 = 300;

/// All runs with one latency.
struct Series {
    hosts: usize,
    latency_ms: u64,
    first: Runs,
    second: Runs,
    aws: Result<Runs, String>,
    curl: Option<Runs>,
}

pub(super) fn measure(lab: &mut Lab) -> io::Result<Vec<Line>> {
    let (hosts, rounds) = (lab.hosts(), lab.pick(5, 1));
    let site = lab.fleet(hosts)?;
    let mut lines = Vec::new();
    for latency_ms in [0, LATENCY_MS] {
        site.latency(latency_ms)?;
        let series = series(site, hosts, latency_ms, rounds)?;
        lines.extend(series.time());
        if latency_ms == 0 {
            lines.push(series.cpu());
            lines.extend(series.memory(&meter::once(&site.sandbox, &Step::new(["ssh-eic", "--version"]))?));
        }
    }
    site.latency(0)?;
    Ok(lines)
}

fn series(site: &Site, hosts: usize, latency_ms: u64, rounds: usize) -> io::Result<Series> {
    let (aws, curl) = (site.aws(), site.curl_describe());
    let (mut first, mut second) = (Vec::new(), Vec::new());
    let (mut by_aws, mut by_curl): (Vec<Sample>, Vec<Sample>) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        progress(&format!("P5: {hosts} instances, {latency_ms} ms a page, round {round} of {rounds}"));
        first.push(site.first_sync()?);
        second.push(site.sync()?);
        if let Ok(aws) = &aws {
            by_aws.push(meter::once(&site.sandbox, &aws_describe(aws))?);
        }
        if let Some(curl) = &curl {
            by_curl.push(meter::once(&site.sandbox, curl)?);
        }
    }
    Ok(Series {
        hosts,
        latency_ms,
        first: Runs::of(first),
        second: Runs::of(second),
        aws: aws.map(|_| Runs::of(by_aws)),
        curl: curl.map(|_| Runs::of(by_curl)),
    })
}

impl Series {
    fn what(&self, sync: &str) -> String {
        match self.latency_ms {
            0 => format!("{sync} of {} / aws", self.hosts),
            ms => format!("{sync} of {}, {ms} ms a page / aws", self.hosts),
        }
    }

    /// The first and the second sync against the AWS CLI.
    fn time(&self) -> Vec<Line> {
        let line = |name: &str, runs: &Runs| {
            let ours = format!("{:.3} s", runs.wall.median);
            let raw =
                json!({"latency_ms": self.latency_ms, "sync": runs, "aws": self.aws.as_ref().ok(), "curl": self.curl});
            match &self.aws {
                Err(why) => Line::missing(self.what(name), format!("{why}; sync {ours}")),
                Ok(aws) => {
                    let detail = format!("{ours} / {:.3} s", aws.wall.median);
                    Line::new(self.what(name), Quantity::Ratio(runs.wall.median / aws.wall.median), detail)
                        .floor(self.floor(aws))
                }
            }
            .limit(TIME)
            .raw(raw)
        };
        vec![line("first sync", &self.first), line("unchanged sync", &self.second)]
    }

    /// The pages come one after the other, and curl has shown how fast the server sends them.
    #[expect(clippy::cast_precision_loss, reason = "a few pages")]
    fn floor(&self, aws: &Runs) -> Option<Quantity> {
        let further_pages = self.hosts.div_ceil(1000) - 1;
        let waiting = self.latency_ms as f64 / 1000.0 * further_pages as f64;
        self.curl.as_ref().map(|curl| Quantity::Ratio((curl.wall.min + waiting) / aws.wall.median))
    }

    fn cpu(&self) -> Line {
        let what = format!("CPU of a first sync of {} / aws", self.hosts);
        let ours = self.first.cpu.median;
        match &self.aws {
            Err(why) => Line::missing(what, format!("{why}; sync {ours:.3} s")),
            Ok(aws) => {
                let detail = format!("{ours:.3} s / {:.3} s", aws.cpu.median);
                Line::new(what, Quantity::Ratio(ours / aws.cpu.median), detail)
            }
        }
        .limit(TIME)
    }

    /// The floor is the program when it does nothing.
    fn memory(&self, nothing: &Sample) -> [Line; 2] {
        let aws = self.aws.as_ref().map_or_else(Clone::clone, |aws| format!("aws {:.1} MiB", aws.peak_mib));
        [("first", &self.first), ("unchanged", &self.second)].map(|(name, runs)| {
            let what = format!("peak memory, {name} sync of {}", self.hosts);
            Line::new(what, Quantity::MiB(runs.peak_mib), aws.as_str())
                .limit(MEMORY)
                .floor(Some(Quantity::MiB(nothing.peak_mib)))
        })
    }
}
