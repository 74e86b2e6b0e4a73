//! Access to AWS on real networks: proxies, private certificate authorities, endpoint overrides; traces and footprint of a
//! connection.

use std::net::SocketAddr;
use std::process::Command;

use sandbox::{Proxy, ProxyRequest, Sandbox};

use crate::world::{World, run};

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

/// A CONNECT proxy of the sandbox, see [`Proxy`].
pub(crate) struct ConnectProxy<'a> {
    sandbox: &'a Sandbox,
    pub(crate) address: SocketAddr,
}

impl<'a> ConnectProxy<'a> {
    pub(crate) fn start(world: &'a World) -> Self {
        Self::with(world, Proxy::default())
    }

    /// One that refuses every request with this status.
    pub(crate) fn refusing(world: &'a World, status: u16) -> Self {
        Self::with(world, Proxy { refuse: Some(status), ..Proxy::default() })
    }

    fn with(world: &'a World, proxy: Proxy) -> Self {
        Self { sandbox: &world.sandbox, address: world.sandbox.add_proxy(proxy).expect("a proxy") }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests since the last call: `CONNECT host:port`, and the authorization.
    pub(crate) fn requests(&self) -> Vec<(String, String)> {
        let requests = self.sandbox.proxy_requests(self.address).expect("the proxy's requests");
        self.sandbox.clear_proxy_requests(self.address).expect("the proxy's requests");
        let line = |request: &ProxyRequest| format!("{} {}", request.method, request.target);
        requests.into_iter().map(|r| (line(&r), r.authorization.unwrap_or_default())).collect()
    }

    /// The same without the authorization and duplicates, sorted.
    fn targets(&self) -> Vec<String> {
        let mut targets: Vec<String> = self.requests().into_iter().map(|(request, _)| request).collect();
        targets.sort();
        targets.dedup();
        targets
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
