//! A whole login by the real ssh through an endpoint's tunnel.

mod common;
#[path = "common/tunnel.rs"]
#[allow(unreachable_pub, dead_code, reason = "shared by test files")]
mod tunnel_client;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use common::{key, login, said, ssh, start};
use jiff::Timestamp;
use sandbox::{Endpoint, Form, Instance, Network, Sandbox};
use tunnel_client::{name, parameters, presign, wait};

/// The ProxyCommand that relays through the endpoint: Cargo builds examples beside the tests.
fn proxy_command(sandbox: &Sandbox, instance: &Instance) -> String {
    let exe = std::env::current_exe().unwrap();
    let folder = exe.ancestors().nth(2).unwrap();
    let program: PathBuf = folder.join("examples").join("open_tunnel");
    assert!(program.is_file(), "{} is missing: cargo build -p sandbox --examples", program.display());
    let host = name(sandbox);
    let target = presign(&tunnel_client::key(sandbox), &host, &parameters(instance), Timestamp::now());
    let file = sandbox.home().join("url");
    std::fs::write(&file, format!("wss://{host}{target}")).unwrap();
    format!("ProxyCommand={} {} {}", program.display(), sandbox.ca().unwrap().display(), file.display())
}

#[test]
fn ssh_logs_in_through_a_tunnel_and_transfers_20_mib_both_ways() {
    let sandbox = start(Form::detect());
    let id = sandbox.add(Instance::new("web").network(Network::Blackhole)).unwrap();
    let instance = sandbox.instances().unwrap().pop().unwrap();
    sandbox.add_endpoint(Endpoint::default()).unwrap();
    let user = login(&sandbox);
    let (_, public) = key(&sandbox);
    sandbox.accept_key(&id, &user, &public, Duration::from_hours(1)).unwrap();

    let proxy = proxy_command(&sandbox, &instance);
    let output = ssh(&sandbox, &id, &user, &["-o", &proxy], "echo $SSH_EIC_INSTANCE");
    assert!(said(&output).starts_with(&id), "{}", said(&output));

    let script = format!(
        "set -e; head -c 20971520 /dev/urandom >sent; \
         ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -i id \
         -o '{proxy}' -l {user} web cat <sent >received; sha256sum <sent; sha256sum <received"
    );
    let output = sandbox.command("bash").args(["-c", &script]).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let sums: Vec<&str> = text.lines().collect();
    assert!(sums.len() == 2 && sums[0] == sums[1], "{}", said(&output));
    let record = wait(&sandbox, |tunnel| tunnel.closed.is_some());
    assert!(record.received > 20 << 20 && record.sent > 20 << 20, "{record:?}");
}
