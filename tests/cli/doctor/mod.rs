//! `ssh-eic doctor`: each fault is injected, and it is named with what to do; nothing behind it is guessed.
//!
//! Plain `ssh NAME` is what is diagnosed, so that these need the sandbox's form of namespaces.

use std::process::Command;
use std::time::{Duration, Instant};

use sandbox::{Instance, needs_namespaces};
use serde_json::Value;

use crate::world::{CommandOutput, World, finish, spawn};

mod aws;
mod host_key;
mod login;
mod machine;
mod network;
mod options;
mod routes;
mod set_up;

/// What the doctor says, as JSON and for people.
pub(crate) struct Diagnosis {
    json: CommandOutput,
    human: CommandOutput,
    findings: Vec<Value>,
}

/// The doctor, with these arguments, under a script that may change its environment.
fn command(world: &World, environment: &str, args: &[&str]) -> Command {
    let mut command = world.sandbox.command("bash");
    command.args(["-c", &format!("{environment} exec \"$0\" doctor \"$@\"")]).arg(crate::world::binary()).args(args);
    command
}

/// Asks in both ways at once.
pub(crate) fn doctor_in(world: &World, environment: &str, args: &[&str]) -> Diagnosis {
    let start = Instant::now();
    let mut for_people = command(world, environment, args);
    let mut in_json = command(world, environment, &[&["--json"], args].concat());
    let human = spawn(&mut for_people);
    let json = spawn(&mut in_json);
    let human = finish(human, format!("{for_people:?}"), start);
    let json = finish(json, format!("{in_json:?}"), start);
    let findings = serde_json::from_str(&json.stdout).unwrap_or_else(|error| panic!("{error}\n{json}"));
    assert_eq!(json.code, human.code, "{json}\n{human}");
    Diagnosis { json, human, findings }
}

pub(crate) fn doctor(world: &World, args: &[&str]) -> Diagnosis {
    doctor_in(world, "", args)
}

impl Diagnosis {
    fn of_status(&self, status: &str) -> Vec<&Value> {
        self.findings.iter().filter(|finding| finding["status"] == status).collect()
    }

    /// One problem, of this cause; the line has these words and what to do; whatever comes behind is not checked.
    #[track_caller]
    fn problem(&self, cause: &str, words: &[&str]) -> &Self {
        let problems = self.of_status("problem");
        assert_eq!(problems.len(), 1, "one problem\n{}", self.json);
        let wanted = if ["no-such-host", "name-shared"].contains(&cause) { 4 } else { 1 };
        self.json.fails_with(wanted);
        assert_eq!(problems[0]["cause"], cause, "{}", self.json);
        let at = self.findings.iter().position(|finding| finding["status"] == "problem").unwrap();
        let behind = &self.findings[at + 1..];
        assert!(behind.iter().all(|finding| finding["status"] == "skipped"), "guessed after it\n{}", self.json);
        self.line("problem ", problems[0], words)
    }

    /// A note of this cause and no problem.
    #[track_caller]
    fn note(&self, cause: &str, words: &[&str]) -> &Self {
        let notes = self.of_status("note");
        let note = notes.iter().find(|note| note["cause"] == cause);
        self.line("note ", note.unwrap_or_else(|| panic!("no note {cause}\n{}", self.json)), words)
    }

    /// The finding is one line for people, with these words and with what to do.
    #[track_caller]
    fn line(&self, status: &str, finding: &Value, words: &[&str]) -> &Self {
        let fix = finding["fix"].as_str().unwrap_or_default();
        assert!(!fix.is_empty(), "nothing to do\n{}", self.json);
        let check = finding["check"].as_str().unwrap();
        let mut is_inside = false;
        let mut lines: Vec<&str> = Vec::new();
        for line in self.human.stdout.lines() {
            is_inside = if line.starts_with(' ') {
                is_inside
            } else {
                line.starts_with(status) && line[9..].starts_with(check)
            };
            lines.extend(is_inside.then_some(line));
        }
        for word in words {
            assert!(lines.iter().any(|line| line.contains(word)), "{word:?} in {lines:#?}\n{}", self.human);
        }
        assert!(lines.iter().any(|line| line.trim_start().starts_with("fix: ")), "{}", self.human);
        self
    }

    /// No problem.
    #[track_caller]
    fn healthy(&self) -> &Self {
        self.json.ok();
        assert_eq!(self.of_status("problem"), Vec::<&Value>::new());
        self
    }

    /// Every check is well.
    #[track_caller]
    fn all_ok(&self) -> &Self {
        self.healthy();
        assert!(self.findings.iter().all(|finding| finding["status"] == "ok"), "{}", self.json);
        self
    }
}

fn world() -> World {
    World::new()
}

#[needs_namespaces]
#[test]
fn without_a_fault_every_check_is_ok() {
    let world = world();
    let checked = doctor(&world, &["prod-web-1"]);
    checked.all_ok();
    let checks: Vec<&str> = checked.findings.iter().map(|finding| finding["check"].as_str().unwrap()).collect();
    assert_eq!(checks.first(), Some(&"client"));
    let last = ["options", "credentials", "instance", "host-key", "address", "push", "login"];
    assert_eq!(&checks[checks.len() - last.len()..], last);
    assert!(checked.findings.iter().all(|one| one["cause"].is_null() && one["fix"].is_null()), "{}", checked.json);
    assert_eq!(checked.human.stdout.lines().count(), checked.findings.len());
    assert!(checked.human.stdout.starts_with("ok       client      OpenSSH "), "{}", checked.human);
    assert!(!checked.human.stdout.contains('\u{1b}') && checked.human.stderr.is_empty(), "{}", checked.human);
    doctor(&world, &[]).all_ok();
    // By whatever names it.
    for name in [world.web2.as_str(), "10.0.3.8"] {
        let checked = doctor(&world, &[name]);
        checked.all_ok();
        assert!(checked.json.stdout.contains("ec2-user@10.0.3.8 port 22"), "{}", checked.json);
    }
    // In a folder of its own, which ssh is told of.
    let own = "SSH_EIC_HOME=$HOME/own";
    world.sh(&format!("{own} ssh-eic init --profile prod --region eu-west-1")).ok();
    doctor_in(&world, own, &["prod-web-1"]).all_ok();
    // Under the other layout, too.
    let config = world.read(".config/ssh-eic/config.toml") + "\n[ssh]\nlayout = \"inline\"\n";
    world.write(".config/ssh-eic/config.toml", &config.replacen("\n[ssh]\n#", "\n#", 1));
    world.eic(&["sync"]).ok();
    doctor(&world, &["prod-web-1"]).all_ok();
}

#[needs_namespaces]
#[test]
fn an_id_that_is_not_in_the_index_is_looked_up() {
    let world = world();
    let id = world.sandbox.add(Instance::new("new").address("10.0.3.99")).unwrap();
    doctor(&world, &[&id]).all_ok();
    doctor(&world, &["i-0123456789abcdef0"]).problem("no-such-host", &["i-0123456789abcdef0"]);
}

#[needs_namespaces]
#[test]
fn of_two_faults_the_first_is_named_and_nothing_behind_it_is_guessed() {
    let world = world();
    world.deny("SendSSHPublicKey");
    world.write(".ssh/config", "");
    let found = doctor(&world, &["prod-web-1"]);
    found.problem("include-missing", &["~/.ssh/config".trim_start_matches('~'), "ssh-eic sync"]);
    assert!(!found.json.stdout.contains("permission-denied"), "{}", found.json);
    assert!(world.sandbox.calls().unwrap().is_empty(), "AWS was asked behind the first cause");
    let skipped: Vec<&str> = found.human.stdout.lines().filter(|line| line.starts_with("skipped  ")).collect();
    let not_checked =
        "generated, program, ssh-config, editor, host, options, credentials, instance, host-key, address, push, login";
    assert_eq!(skipped, [format!("skipped  not checked: {not_checked}")], "{}", found.human);
    world.eic(&["sync"]).ok();
    doctor(&world, &["prod-web-1"]).problem("permission-denied", &["ec2-instance-connect:SendSSHPublicKey"]);
}

#[needs_namespaces]
#[test]
fn quiet_prints_problems_only() {
    let world = world();
    let output = world.eic(&["doctor", "-q", "prod-web-1"]);
    assert_eq!((output.ok(), output.stderr.as_str()), ("", ""));
    world.write(".ssh/config", "");
    let output = world.eic(&["doctor", "-q"]);
    output.fails_with(1);
    let expected = "problem  include     ~/.ssh/config has no Include line of ssh-eic, so ssh finds no managed host\n\
                    \x20                    fix: ssh-eic sync, or put this at its top: ";
    assert!(output.stdout.lines().count() == 2 && output.stdout.starts_with(expected), "{output}");
}

#[needs_namespaces]
#[test]
fn a_host_that_looks_like_an_option_is_a_host() {
    let world = world();
    world.eic(&["doctor", "-oProxyCommand=id"]).fails_with(2);
    let found = doctor(&world, &["--", "-oProxyCommand=id"]);
    found.problem("no-such-host", &["-oProxyCommand=id"]);
}

#[needs_namespaces]
#[test]
fn every_check_ends_within_its_timeout() {
    let world = world();
    // Every answer takes longer than anybody waits.
    world.latency("*", Duration::from_mins(1));
    let found = doctor(&world, &["prod-web-1"]);
    found.problem("aws-unreachable", &["HTTPS_PROXY"]);
    found.human.within(Duration::from_secs(45));
    // So does a Match exec of somebody's.
    world.write(".ssh/config", &(world.read(".ssh/config") + "Match exec \"sleep 100\"\n"));
    let found = doctor(&world, &["prod-web-1"]);
    found.problem("ssh-config-broken", &["did not finish within 10 s", "Match exec"]);
    found.human.within(Duration::from_secs(30));
}
