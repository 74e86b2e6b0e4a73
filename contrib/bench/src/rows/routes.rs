//! P13 to P15 and SSM: sessions through an EC2 Instance Connect Endpoint, over Systems Manager, and with `auto`.

use std::io;

use sandbox::{Change, Endpoint, Form, Network, Switches};
use serde_json::json;

use super::login::{FEW, LATENCY_MS, PUSH, pause};
use super::stream::zeros;
use crate::lab::{Lab, PROFILE, REGION, Site, host, progress};
use crate::meter::Step;
use crate::programs;
use crate::report::{Line, Quantity};
use crate::stats::Runs;
use crate::tls_relay;
use crate::ways::{self, Plain};

/// The hosts of [`site`], by their route; host-0 is reached directly.
pub(super) const ENDPOINT: &str = "host-1";
pub(super) const SSM: &str = "host-2";
const AUTO: &str = "host-3";

/// P13, at least.
const THROUGHPUT: Quantity = Quantity::Ratio(0.8);
/// P13, at most.
const CPU: Quantity = Quantity::Ratio(0.2);
/// P14, in milliseconds.
const FIRST_LOGIN: f64 = 60.0;
/// P15, in milliseconds more than a login through the endpoint: the first login, and the next one.
const BLACK_HOLE: [f64; 2] = [1000.0, 50.0];

/// A sandbox whose hosts have different routes, each with a known host key; or why there can be none.
pub(super) fn site(lab: &Lab) -> io::Result<Result<Site, &'static str>> {
    if Form::detect() == Form::Loopback {
        return Ok(Err("the names of endpoints resolve in namespaces only"));
    }
    let routes = [(ENDPOINT, "endpoint"), (SSM, "ssm"), (AUTO, "auto")];
    let routes = routes.map(|(name, route)| format!("\n[[host]]\nmatch = \"{name}\"\nroute = \"{route}\"\n"));
    let site = lab.logins(FEW, &routes.concat())?;
    site.sandbox.add_endpoint(Endpoint::default())?;
    let ours = ways::ours(&site);
    let logins: [Step; FEW] = std::array::from_fn(|n| ours.login(&host(n)));
    site.runs(&logins, 1)?;
    Ok(Ok(site))
}

/// P13.
#[expect(clippy::cast_precision_loss, reason = "a few hundred MiB")]
pub(super) fn endpoint_stream(lab: &mut Lab) -> io::Result<Vec<Line>> {
    let (mib, rounds) = (lab.pick(100, 8), lab.pick(7, 2));
    let what = |direction: &str| format!("{mib} MiB {direction} through an endpoint / TLS relay");
    let site = match site(lab)? {
        Ok(site) => site,
        Err(reason) => return Ok(vec![Line::missing(what("down"), reason)]),
    };
    let file = zeros(&site, mib)?;
    let plain = Plain::new(&site, &[ENDPOINT], None)?;
    let relay = tls_relay::start(&site, &ways::seen(&site, ENDPOINT)?)?;
    let relayed = plain.through(&relay.command())?;
    let ways = [&ways::ours(&site), &relayed];
    let mut lines = Vec::new();
    let mut cpu = 0.0;
    for direction in ["down", "up"] {
        progress(&format!("P13: {mib} MiB {direction}, {rounds} rounds"));
        let steps = ways.map(|way| match direction {
            "down" => way.run(ENDPOINT, &format!("exec cat {file}")),
            _ => way.run(ENDPOINT, "exec cat >/dev/null").stdin(&file),
        });
        let [ours, relay] = site.runs(&steps, rounds)?;
        let [of_ours, of_relay] = [&ours, &relay].map(|runs| mib as f64 / runs.wall.median);
        cpu += ours.cpu.median;
        let detail = format!("{of_ours:.0} / {of_relay:.0} MiB/s, {rounds} runs");
        let line = Line::new(what(direction), Quantity::Ratio(of_ours / of_relay), detail);
        lines.push(line.at_least(THROUGHPUT).raw(json!({"ours": ours, "relay": relay})));
    }
    lines.push(open_tunnel(&site, &plain, &file, rounds, cpu)?);
    Ok(lines)
}

/// The CPU time of the same transfers through the CLI's own tunnel.
fn open_tunnel(site: &Site, plain: &Plain, file: &str, rounds: usize, cpu: f64) -> io::Result<Line> {
    let what = "CPU of ssh and its proxy through an endpoint / aws ec2-instance-connect open-tunnel";
    let Some(aws) = programs::aws_2(&site.sandbox) else {
        return Ok(Line::missing(what, "only version 2 of the AWS CLI has it, and there is none").limit(CPU));
    };
    let id = ways::seen(site, ENDPOINT)?.id;
    let command =
        format!("{aws} ec2-instance-connect open-tunnel --instance-id {id} --profile {PROFILE} --region {REGION}");
    let way = plain.through(&command)?;
    let steps = [way.run(ENDPOINT, &format!("exec cat {file}")), way.run(ENDPOINT, "exec cat >/dev/null").stdin(file)];
    let [down, up] = site.runs(&steps, rounds)?;
    let theirs = down.cpu.median + up.cpu.median;
    Ok(Line::new(what, Quantity::Ratio(cpu / theirs), format!("{cpu:.2} / {theirs:.2} s")).limit(CPU))
}

/// P14.
pub(super) fn first_login(lab: &mut Lab) -> io::Result<Vec<Line>> {
    let rounds = lab.pick(21, 3);
    let what = format!("first login, endpoint - direct, AWS responds in {LATENCY_MS} ms");
    let site = match site(lab)? {
        Ok(site) => site,
        Err(reason) => return Ok(vec![Line::missing(what, reason)]),
    };
    progress(&format!("P14: first logins, {rounds} rounds"));
    let calls = [PUSH, "DescribeInstanceConnectEndpoints"];
    let latency_ms = calls.map(|action| (action.to_owned(), LATENCY_MS)).into();
    site.sandbox.switches(Switches { latency_ms, ..Switches::default() })?;
    let ours = ways::ours(&site);
    let [direct_id, endpoint_id] = [&host(0), ENDPOINT].map(|name| ways::seen(&site, name).map(|seen| seen.id));
    let (direct_id, endpoint_id) = (direct_id?, endpoint_id?);
    let cache = site.sandbox.home().join(".cache/ssh-eic/endpoints").display().to_string();
    let steps = [
        site.forget_keys(&direct_id),
        pause(),
        ours.login(&host(0)),
        site.forget_keys(&endpoint_id),
        pause(),
        ours.login(ENDPOINT),
        site.forget_keys(&endpoint_id),
        Step::new(["rm", "-rf", &cache]).uncounted(),
        pause(),
        ours.login(ENDPOINT),
    ];
    let [_, _, direct, _, _, known, _, _, _, unknown] = site.runs(&steps, rounds)?;
    let line = |what: String, endpoint: &Runs| {
        let difference = (endpoint.wall.median - direct.wall.median) * 1000.0;
        let detail = format!("{}, {rounds} runs", endpoint.beside(&direct));
        let raw = json!({"endpoint": endpoint, "direct": direct});
        Line::new(what, Quantity::Ms(difference), detail).raw(raw)
    };
    Ok(vec![
        line(what.clone(), &known).limit(Quantity::Ms(FIRST_LOGIN)),
        line(format!("{what}, the endpoints of the VPC not known"), &unknown),
    ])
}

/// P15.
pub(super) fn black_hole(lab: &mut Lab) -> io::Result<Vec<Line>> {
    let rounds = lab.pick(11, 2);
    let what = ["auto, no response: first login - endpoint login", "auto, no response: next login - endpoint login"];
    let site = match site(lab)? {
        Ok(site) => site,
        Err(reason) => return Ok(what.map(|what| Line::missing(what, reason)).into()),
    };
    progress(&format!("P15: auto and an address without a response, {rounds} rounds"));
    let change = Change { network: Some(Network::Blackhole), ..Change::default() };
    site.sandbox.update(&ways::seen(&site, AUTO)?.id, change)?;
    let ours = ways::ours(&site);
    let routes = site.sandbox.home().join(".cache/ssh-eic/routes.json").display().to_string();
    let steps = [
        ours.login(ENDPOINT).uncounted(),
        pause(),
        ours.login(ENDPOINT),
        Step::new(["rm", "-f", &routes]).uncounted(),
        pause(),
        ours.login(AUTO),
        pause(),
        ours.login(AUTO),
    ];
    let [_, _, endpoint, _, _, first, _, next] = site.runs(&steps, rounds)?;
    let lines = [(what[0], first, BLACK_HOLE[0]), (what[1], next, BLACK_HOLE[1])].map(|(what, runs, limit)| {
        let difference = (runs.wall.median - endpoint.wall.median) * 1000.0;
        let detail = format!("{}, {rounds} runs", runs.beside(&endpoint));
        let raw = json!({"auto": runs, "endpoint": endpoint});
        Line::new(what, Quantity::Ms(difference), detail).limit(Quantity::Ms(limit)).raw(raw)
    });
    Ok(lines.into())
}

/// SSM: first logins and throughput, beside the CLI with its plugin.
#[expect(clippy::cast_precision_loss, reason = "a few MiB")]
pub(super) fn session_manager(lab: &mut Lab) -> io::Result<Vec<Line>> {
    let (mib, rounds) = (lab.pick(10, 1), lab.pick(5, 1));
    let site = match site(lab)? {
        Ok(site) => site,
        Err(reason) => return Ok(vec![Line::missing("Session Manager", reason)]),
    };
    let plain = Plain::new(&site, &[SSM], None)?;
    let seen = ways::seen(&site, SSM)?;
    let theirs = match [programs::find(&site.sandbox, "aws"), programs::find(&site.sandbox, "session-manager-plugin")] {
        [Ok(aws), Ok(_)] => Ok(plain.through(&format!(
            "{aws} ssm start-session --target {} --document-name AWS-StartSSHSession --parameters portNumber=%p \
             --profile {PROFILE} --region {REGION}",
            seen.id
        ))?),
        [Err(reason), _] | [_, Err(reason)] => Err(reason),
    };
    let file = zeros(&site, mib)?;
    let mut lines = Vec::new();
    for (name, way) in [("ssh-eic", Ok(ways::ours(&site))), ("aws ssm start-session", theirs)] {
        let way = match way {
            Ok(way) => way,
            Err(reason) => {
                lines.push(Line::missing(name, reason));
                continue;
            }
        };
        progress(&format!("SSM: {name}, {rounds} rounds"));
        let steps = [
            site.forget_keys(&seen.id),
            pause(),
            way.login(SSM),
            pause(),
            way.run(SSM, &format!("exec cat {file}")),
            pause(),
            way.run(SSM, "exec cat >/dev/null").stdin(&file),
        ];
        let [_, _, first, _, down, _, up] = site.runs(&steps, rounds)?;
        let ms = first.wall.median * 1000.0;
        let rates = [&down, &up].map(|runs| mib as f64 / runs.wall.median);
        let detail = format!("{mib} MiB: {:.2} MiB/s down, {:.2} MiB/s up; {rounds} runs", rates[0], rates[1]);
        let raw = json!({"first": first, "down": down, "up": up});
        lines.push(Line::new(format!("{name}, first login over Session Manager"), Quantity::Ms(ms), detail).raw(raw));
    }
    Ok(lines)
}
