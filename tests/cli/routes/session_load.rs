//! Session Manager under load: a reader that stops, and masters that stay.

use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use super::session_manager::{Managed, kill};
use crate::inventory;
use crate::world::{spawn, wait_until};

/// A value of `/proc/PID/io` or `/proc/PID/smaps_rollup`.
fn value(process: &Path, file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(process.join(file)).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{file}: {name}"));
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn a_reader_that_stops_stops_the_stream_in_bounded_memory() {
    let managed = Managed::new();
    let mut ssh = spawn(managed.world.ssh_command(&["app", "seq 1 1100000"]).stdin(Stdio::null()));
    let mut stdout = ssh.stdout.take().expect("stdout");
    let mut received = vec![0; 100_000];
    stdout.read_exact(&mut received).expect("the first bytes");
    // ssh itself takes 2 MiB without a reader; stopped, it takes nothing from the proxy.
    kill("STOP", &ssh.id().to_string());
    let is_proxy = |line: &str| line.contains(" proxy ") && !line.starts_with("ssh ");
    let (proxy, _) = managed.world.processes().into_iter().find(|(_, line)| is_proxy(line)).expect("a proxy");
    let at_stop = value(&proxy, "io", "rchar:");
    let mut last = (at_stop, 0);
    wait_until("the proxy reads on and on", || {
        std::thread::sleep(Duration::from_millis(100));
        let now = value(&proxy, "io", "rchar:");
        last = if now == last.0 { (now, last.1 + 1) } else { (now, 0) };
        last.1 == 20
    });
    // A pipe, and the queues of the proxy; what it does not read waits in the system, and then at the gateway.
    assert!(last.0 - at_stop < 512 * 1024, "{} bytes", last.0 - at_stop);
    // The budget is 2 MiB for a release build (contrib/bench); this one has debug information and checks.
    let anonymous = value(&proxy, "smaps_rollup", "Anonymous:");
    assert!(anonymous <= 3072, "{anonymous} KiB");
    kill("CONT", &ssh.id().to_string());
    stdout.read_to_end(&mut received).expect("the rest");
    assert!(ssh.wait().expect("ssh").success());
    let expected: Vec<String> = (1..=1_100_000).map(|n| n.to_string()).collect();
    let expected = expected.join("\n") + "\n";
    assert!(received == expected.as_bytes(), "{} of {} bytes", received.len(), expected.len());
    managed.all_ended();
}

#[sandbox::needs_namespaces]
#[test]
fn ansible_does_not_wait_for_the_master_that_stays() {
    let managed = Managed::new();
    if !inventory::has(&managed.world, &["ansible", "ansible-inventory"]) {
        return;
    }
    let output = inventory::ansible(&managed.world, "ansible", &["app", "-m", "ping"]);
    assert_eq!(output.ok().matches("\"ping\": \"pong\"").count(), 1, "{output}");
    // Ansible's own ControlPersist is 60 s.
    output.within(Duration::from_secs(30));
    let sessions = managed.sessions();
    assert!(sessions.len() == 1 && sessions[0].ended.is_none(), "{sessions:?}");
    managed.world.sh("for path in ~/.ansible/cp/*; do ssh -O exit -o ControlPath=$path app; done").ok();
    managed.all_ended();
}
