//! The way to AWS on real networks: proxies, authorities of a company's own, endpoints of one's own, and how little a
//! connection leaves behind and costs.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command};

use crate::world::{World, run, spawn};

mod endpoints;
mod footprint;
mod https_proxy;
mod trace;
mod trust;

/// Whether a program can be run inside; a test that needs one is skipped elsewhere, never under CI.
fn can_run(world: &World, command: &[&str]) -> bool {
    let mut shell = world.sandbox.command("sh");
    shell.args(["-c", "exec \"$@\" >/dev/null 2>&1", "sh"]).args(command);
    let can = run(shell).code == Some(0);
    assert!(can || std::env::var_os("CI").is_none(), "CI has to be able to run {command:?}");
    can
}

/// A proxy that leads AWS's own names to the stand-in; gone with its value.
pub(crate) struct ConnectProxy {
    child: Child,
    pub(crate) port: String,
    log: PathBuf,
}

impl ConnectProxy {
    /// None where there is no Python.
    fn start(world: &World) -> Option<Self> {
        Self::answering(world, 200)
    }

    /// One that answers every request with this status.
    fn answering(world: &World, status: u16) -> Option<Self> {
        Self::to(world, status, port_of(world.sandbox.endpoint()))
    }

    /// One that leads AWS's own names to this port of 127.0.0.1, or to this address and port.
    pub(crate) fn to(world: &World, status: u16, aws: &str) -> Option<Self> {
        if !can_run(world, &["python3", "--version"]) {
            return None;
        }
        let log = world.sandbox.dir().join(format!("proxy-{status}.log"));
        std::fs::write(&log, "").expect("a log");
        let mut command = world.sandbox.command("python3");
        command.args(["-c", include_str!("connect_proxy.py")]);
        command.arg(&log).arg(aws).arg(status.to_string());
        let mut child = spawn(&mut command);
        let mut port = String::new();
        BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut port).expect("the proxy's port");
        Some(Self { child, port: port.trim().to_owned(), log })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it has been asked for since the last look: `CONNECT host:port`, and the authorization.
    pub(crate) fn requests(&self) -> Vec<(String, String)> {
        let text = std::fs::read_to_string(&self.log).expect("the proxy's log");
        std::fs::write(&self.log, "").expect("the proxy's log");
        let parts = |line: &str| {
            let (request, authorization) = line.split_once('\t')?;
            Some((request.strip_suffix(" HTTP/1.1")?.to_owned(), authorization.to_owned()))
        };
        text.lines().map(|line| parts(line).unwrap_or_else(|| panic!("no request: {line:?}"))).collect()
    }

    /// The same without the authorization, each once, sorted.
    fn asked(&self) -> Vec<String> {
        let mut asked: Vec<String> = self.requests().into_iter().map(|(request, _)| request).collect();
        asked.sort();
        asked.dedup();
        asked
    }
}

impl Drop for ConnectProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn port_of(url: &str) -> &str {
    url.rsplit(':').next().expect("a port")
}

/// `ssh-eic` with these arguments, to be given an environment.
fn eic(world: &World, args: &[&str]) -> Command {
    let mut command = world.sandbox.command("ssh-eic");
    command.args(args);
    command
}

/// The variables of the environment set; `-NAME` takes one out.
pub(crate) fn with(mut command: Command, environment: &[(&str, &str)]) -> Command {
    for (name, value) in environment {
        match name.strip_prefix('-') {
            Some(name) => command.env_remove(name),
            None => command.env(name, value),
        };
    }
    command
}
