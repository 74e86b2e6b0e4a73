//! PEERS: how long a login takes with other programs. Without a budget, for information.
//!
//! All peers log in to the same instance in turn. The host key is known to all; nothing else is to who comes first.

use std::io;

use sandbox::Form;
use serde_json::json;

use super::login::{FEW, pause};
use crate::lab::{Lab, PROFILE, REGION, Site, host, progress};
use crate::meter::{self, Step};
use crate::programs;
use crate::report::{Line, Quantity};
use crate::stats::Runs;
use crate::ways::{self, Plain, Seen, Way};

const NAME: &str = "PEERS";
const CONNECTIONS: [&str; 2] = ["first", "second"];

/// Whose login a line of this row is, which connection, and how many milliseconds it took.
pub(crate) fn login(line: &Line) -> Option<(&str, &str, f64)> {
    let word = |key: &str| line.raw.get(key)?.as_str();
    match line.measured {
        Some(Quantity::Ms(ms)) if line.row == NAME => Some((word("peer")?, word("connection")?, ms)),
        _ => None,
    }
}

/// One way to log in.
struct Peer {
    name: &'static str,
    /// The command of the first connection and of the second, or why there is none.
    login: Result<Step, String>,
    /// Makes the next connection a first one.
    before: Option<Step>,
    note: String,
}

impl Peer {
    fn new(name: &'static str, login: Result<Step, String>, note: impl Into<String>) -> Self {
        Self { name, login, before: None, note: note.into() }
    }

    /// Another program that does not work here must not stop the others.
    fn tried(mut self, site: &Site) -> Self {
        let tried = self.login.as_ref().map(|login| meter::once(&site.sandbox, login));
        if let Ok(Err(error)) = tried {
            let message = error.to_string();
            self.login = Err(message.lines().next_back().unwrap_or_default().trim().to_owned());
        }
        self
    }
}

pub(super) fn measure(lab: &mut Lab) -> io::Result<Vec<Line>> {
    let rounds = lab.pick(15, 2);
    let site = lab.reachable(FEW)?;
    let peers = peers(site)?;
    progress(&format!("{NAME}: logins, {rounds} rounds"));
    let nothing = || Step::new(["true"]).uncounted();
    let steps = peers.iter().filter_map(|peer| {
        let login = peer.login.as_ref().ok()?;
        Some([peer.before.clone().unwrap_or_else(nothing), pause(), login.clone(), pause(), login.clone()])
    });
    let samples = meter::interleaved(&site.sandbox, &steps.flatten().collect::<Vec<Step>>(), rounds)?;
    // The uncounted ones have none.
    let mut samples = samples.into_iter().filter(|samples| !samples.is_empty());
    let mut lines = Vec::new();
    for Peer { name, login, note, .. } in peers {
        if let Err(why) = login {
            lines.push(Line::missing(name, why));
            continue;
        }
        for (connection, samples) in CONNECTIONS.into_iter().zip(samples.by_ref()) {
            let runs = Runs::of(samples);
            let ms = |seconds: f64| seconds * 1000.0;
            let detail = format!("least {:.1} ms, {:.1} ms of CPU{note}", ms(runs.wall.min), ms(runs.cpu.median));
            let line =
                Line::new(format!("{name}, {connection} connection"), Quantity::Ms(ms(runs.wall.median)), detail);
            lines.push(line.raw(json!({"peer": name, "connection": connection, "runs": runs})));
        }
    }
    Ok(lines)
}

fn peers(site: &Site) -> io::Result<Vec<Peer>> {
    let name = host(0);
    let seen = ways::seen(site, &name)?;
    let plain = Plain::new(site, &[&name], None)?;
    let relayed = plain.relayed("")?.map(|way| way.login(&name));
    let keyless = ways::keyless(site)?;
    let ours = Peer::new("ssh-eic", Ok(ways::ours(site).login(&name)), "");
    Ok(vec![
        Peer::new("plain ssh, static key", Ok(plain.way.login(&name)), ""),
        Peer::new("ssh by a bare relay, static key", relayed, ""),
        Peer { before: Some(site.forget_keys(&seen.id)), ..ours },
        Peer::new("mssh", mssh(site, &seen, &keyless), "").tried(site),
        push_and_ssh(site, &seen, &keyless)?.tried(site),
        cli_ssh(site, &seen).tried(site),
    ])
}

/// mssh queries the instance's address, makes an RSA key, pushes it and runs ssh: each time.
fn mssh(site: &Site, seen: &Seen, way: &Way) -> Result<Step, String> {
    let program = programs::find(&site.sandbox, "mssh")?;
    let target = format!("{}@{}", seen.user, seen.id);
    let own = [&program, "-u", PROFILE, "-r", REGION];
    Ok(Step::new([&own[..], &way.flags(), &["-p", &seen.port, &target, "/bin/true"]].concat()))
}

/// What the documentation shows to users of the CLI, as a script that does not know how long ago it pushed.
fn push_and_ssh(site: &Site, seen: &Seen, way: &Way) -> io::Result<Peer> {
    const SCRIPT: &str = r#"aws=$1 instance=$2 user=$3 key=$4; shift 4
        "$aws" ec2-instance-connect send-ssh-public-key --instance-id "$instance" --instance-os-user "$user" \
            --ssh-public-key "file://$key.pub" --profile "$PROFILE" --region "$REGION" && exec ssh -i "$key" "$@""#;
    const PEER: &str = "aws send-ssh-public-key, ssh";
    let aws = match site.aws() {
        Ok(aws) => aws,
        Err(why) => return Ok(Peer::new(PEER, Err(why), "")),
    };
    let key = ways::own_key(site, "pushed")?;
    let target = format!("{}@{}", seen.user, seen.address);
    let script = ["sh", "-c", SCRIPT, "sh", &aws, &seen.id, &seen.user, &key];
    let step = Step::new([&script[..], &way.flags(), &["-p", &seen.port, &target, "/bin/true"]].concat());
    let step = step.env("PROFILE", PROFILE).env("REGION", REGION);
    Ok(Peer::new(PEER, Ok(step), "; without the push it is plain ssh for a minute"))
}

/// The command of the CLI's version 2, which queries the address, makes a key, pushes it and runs ssh. It accepts neither a
/// command nor options for ssh: this measures a login shell without input, with the key exchange that ssh prefers.
fn cli_ssh(site: &Site, seen: &Seen) -> Peer {
    const PEER: &str = "aws ec2-instance-connect ssh";
    let login = match programs::aws_2(&site.sandbox) {
        None => Err("only version 2 of the AWS CLI has it, and there is none".into()),
        // Without options it would go by the user's own ssh config.
        Some(_) if site.sandbox.form() == Form::Loopback => Err("its ssh cannot be kept inside this sandbox".into()),
        Some(aws) => know(site, seen).map(|()| {
            let options = ["--instance-id", &seen.id, "--os-user", &seen.user, "--ssh-port", &seen.port];
            let fixed = ["--connection-type", "direct", "--profile", PROFILE, "--region", REGION];
            Step::new([&[aws.as_str(), "ec2-instance-connect", "ssh"], &options[..], &fixed].concat())
        }),
    };
    Peer::new(PEER, login, "; a login shell, key exchange not pinned")
}

/// Makes the host key known to an ssh that has no other config than the user's.
fn know(site: &Site, seen: &Seen) -> Result<(), String> {
    let script = r#"ssh-keyscan -t ed25519 -p "$0" "$1" >>"$HOME/.ssh/known_hosts""#;
    let mut command = site.sandbox.command("sh");
    let output = command.args(["-c", script, &seen.port, &seen.address]).output().map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
}
