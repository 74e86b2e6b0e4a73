//! P4: what one push costs the processor, against the AWS CLI doing the same. Each pays for its start, its
//! credentials, TLS and one request.

use std::io;

use serde_json::json;

use super::login::FEW;
use crate::lab::{Lab, Push, Site, aws_push, host, progress};
use crate::meter::Step;
use crate::report::{Line, Quantity};
use crate::stats::Runs;
use crate::ways::{self, Plain};

const CPU: Quantity = Quantity::Ratio(1.0 / 60.0);

/// The CPU of each.
struct Spent {
    ours: Runs,
    aws: Result<Runs, String>,
    curl: Option<Runs>,
}

pub(super) fn measure(lab: &mut Lab) -> io::Result<Vec<Line>> {
    let rounds = lab.pick(21, 3);
    let name = host(0);
    let site = lab.reachable(FEW)?;
    let ways::Seen { id, user, .. } = ways::seen(site, &name)?;
    // The other programs push another key, so that the pushes can be distinguished.
    let push = Push { id, user, key: Plain::new(site, &[&name], None)?.key };
    progress(&format!("P4: pushes, {rounds} rounds"));
    site.sandbox.clear_calls()?;
    let spent = spend(site, &name, &push, rounds)?;
    let pushes = site.sandbox.pushes()?;
    let ours = pushes.iter().filter(|call| call.params["SSHPublicKey"] != push.key.as_str()).count();
    // The round that warms up pushes too.
    let hooks = rounds + 1;
    let failed = pushes.iter().filter(|call| call.status != 200).count();
    #[expect(clippy::cast_precision_loss, reason = "a few pushes")]
    let count = |number: usize| Quantity::Count(number as f64);
    Ok(vec![
        spent.by_aws().limit(CPU),
        spent.by_curl(),
        Line::new(format!("pushes of {hooks} cold hooks"), count(ours), format!("{failed} failed"))
            .exactly(count(hooks)),
    ])
}

fn spend(site: &Site, name: &str, push: &Push, rounds: usize) -> io::Result<Spent> {
    let aws = site.aws();
    let curl = site.curl_push(push);
    let nothing = || Step::new(["/bin/true"]);
    let steps = [
        site.forget_keys(&push.id),
        // Who calls is no ssh, so that the hook pushes itself.
        Step::new(["ssh-eic", "match", name, &push.user]),
        aws.as_ref().map_or_else(|_| nothing(), |aws| aws_push(aws, push)),
        curl.clone().unwrap_or_else(nothing),
    ];
    let [_, ours, by_aws, by_curl] = site.runs(&steps, rounds)?;
    Ok(Spent { ours, aws: aws.map(|_| by_aws), curl: curl.map(|_| by_curl) })
}

impl Spent {
    fn by_aws(&self) -> Line {
        const WHAT: &str = "CPU of a cold push / aws";
        match &self.aws {
            Err(why) => Line::missing(WHAT, format!("{why}; ours {}", ms(&self.ours))),
            Ok(aws) => Line::new(WHAT, ratio(&self.ours, aws), format!("{} / {}", ms(&self.ours), ms(aws)))
                .floor(self.curl.as_ref().map(|curl| ratio(curl, aws)))
                .raw(json!({"ours": self.ours, "aws": aws, "curl": self.curl})),
        }
    }

    fn by_curl(&self) -> Line {
        const WHAT: &str = "CPU of a cold push / one TLS POST by curl";
        match &self.curl {
            None => Line::missing(WHAT, "curl: not installed"),
            Some(curl) => Line::new(WHAT, ratio(&self.ours, curl), format!("{} / {}", ms(&self.ours), ms(curl))),
        }
    }
}

fn ratio(ours: &Runs, other: &Runs) -> Quantity {
    Quantity::Ratio(ours.cpu.median / other.cpu.median)
}

fn ms(runs: &Runs) -> String {
    format!("{:.1} ms", runs.cpu.median * 1000.0)
}
