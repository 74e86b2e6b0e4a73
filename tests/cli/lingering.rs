//! Nothing of ours lingers after ssh has gone, however it went; a shared master survives the keyboard.

use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

use sandbox::{Instance, Network, needs_namespaces};

use crate::world::{World, can_have_namespaces, finish, spawn, wait_until};

const SOON: Duration = Duration::from_secs(5);

/// Starts `ssh prod-web-1 sleep` and waits until it is in.
fn session(world: &World) -> std::process::Child {
    let mut command = world.ssh_command(&["prod-web-1", "echo in; sleep 60"]);
    let mut child = spawn(command.stdin(Stdio::piped()));
    let mut first = [0; 3];
    child.stdout.as_mut().expect("stdout").read_exact(&mut first).expect("a word from the instance");
    assert_eq!(&first, b"in\n");
    child
}

/// Sends a signal to the ssh inside, whose pid is that of the command or, behind nsenter, the same by exec.
fn signal(child: &std::process::Child, name: &str) {
    let status = std::process::Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status();
    assert!(status.expect("kill").success());
}

#[test]
fn after_a_normal_end_no_process_is_left() {
    let world = World::new();
    world.ssh(&["prod-web-1", "true"]).ok();
    world.nothing_lingers(SOON);
}

#[test]
fn a_program_that_captures_stderr_does_not_wait_for_the_proxy() {
    let world = World::new();
    let config = world.read(".config/ssh-eic/config.toml").replace("[sync]", "[sync]\nrefresh = \"1s\"");
    world.write(".config/ssh-eic/config.toml", &config);
    world.eic(&["sync"]).ok();
    std::thread::sleep(Duration::from_millis(1100));
    world.hold("DescribeInstances");
    world.sandbox.clear_calls().unwrap();
    let ssh = if can_have_namespaces() { "ssh" } else { "ssh -F ~/.ssh/config" };
    let output = world.sh(&format!("x=$({ssh} prod-web-1 true 2>&1); echo done"));
    // The sync that this connection starts in the background gets no answer, so that a process that shares its stderr
    // would wait for ever.
    assert_eq!(output.ok(), "done\n");
    let has_asked = || world.sandbox.calls().unwrap().iter().any(|call| call.action == "GetCallerIdentity");
    wait_until("no sync was started", has_asked);
    world.sandbox.reset_switches().unwrap();
}

#[test]
fn after_ssh_was_killed_no_process_is_left() {
    let world = World::new();
    for how in ["KILL", "TERM", "HUP"] {
        let child = session(&world);
        signal(&child, how);
        finish(child, format!("ssh, killed with {how}"), Instant::now());
        world.nothing_lingers(SOON);
    }
}

#[test]
fn after_ssh_was_killed_during_a_push_or_connect_no_process_is_left() {
    let world = World::new();
    world.latency("SendSSHPublicKey", Duration::from_mins(1));
    if can_have_namespaces() {
        world.add(Instance::new("lost").address("10.0.7.1").network(Network::Blackhole));
    }
    for host in if can_have_namespaces() { vec!["prod-web-1", "lost"] } else { vec!["prod-web-1"] } {
        let child = spawn(&mut world.ssh_command(&[host, "true"]));
        wait_until("no push was begun", || world.survivors().iter().any(|line| line.contains("worker")));
        signal(&child, "KILL");
        finish(child, format!("ssh {host}, killed"), Instant::now());
        world.nothing_lingers(SOON);
    }
}

#[test]
fn a_long_wait_for_the_client_costs_no_processor_time() {
    let world = World::new();
    // A client that stops in the midst of the handshake, as one with a host key prompt open does.
    let mut command = world.sandbox.command("ssh-eic");
    let listed = world.eic(&["list", "--json", "prod-web-1"]);
    let json: serde_json::Value = serde_json::from_str(listed.ok()).unwrap();
    let (address, port) = (json[0]["address"].as_str().unwrap(), json[0]["port"].to_string());
    let place = ["--region", "eu-west-1", "--source", "prod", "--"];
    command.arg("proxy").args(place).args([&world.web1, address, &port, "ec2-user"]);
    let mut child = spawn(command.stdin(Stdio::piped()));
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    // Until it has started and pushed, however long that takes.
    wait_until("nothing was pushed", || !world.pushes().is_empty());
    let mut last = None;
    wait_until("it needs the processor all the time", || {
        std::thread::sleep(Duration::from_secs(1));
        let now = ticks();
        last.replace(now) == Some(now)
    });
    let before = ticks();
    std::thread::sleep(Duration::from_secs(3));
    assert!(ticks() <= before + 5, "{} ticks of processor time in three idle seconds", ticks() - before);
    drop(child.stdin.take());
    finish(child, "ssh-eic proxy".to_owned(), Instant::now()).within(SOON);
}

#[needs_namespaces]
#[test]
fn a_ctrl_c_ends_the_command_and_not_the_shared_master() {
    let world = World::new();
    // A terminal's foreground group: the first ssh becomes the master and leaves its proxy in this group.
    let script = "set -m
        (ssh -o ControlMaster=auto -o ControlPersist=60 prod-web-1 true; ssh prod-web-1 sleep 30) &
        for n in $(seq 1000); do ssh -O check prod-web-1 2>/dev/null && break; sleep 0.1; done
        sleep 1; kill -TSTP -- -$!; sleep 0.3
        ssh prod-web-1 'echo not stopped'
        kill -CONT -- -$!; kill -INT -- -$!; kill -QUIT -- -$!; wait $!
        ssh -O check prod-web-1 && ssh prod-web-1 'echo $SSH_EIC_INSTANCE'; ssh -O exit prod-web-1";
    let output = world.sh(script);
    assert_eq!(output.stdout, format!("not stopped\n{}\n", world.web1), "{output}");
    output.says("Master running");
    world.nothing_lingers(SOON);
}

#[test]
fn a_proxy_ends_with_its_reader_and_soon_after_its_input() {
    let world = World::new();
    let host = "127.0.0.1".to_owned();
    let listed = world.eic(&["list", "--json", "prod-web-1"]);
    let json: serde_json::Value = serde_json::from_str(listed.ok()).unwrap();
    let (address, port) = (json[0]["address"].as_str().unwrap_or(&host).to_owned(), json[0]["port"].to_string());
    let proxy = format!("ssh-eic proxy {} {address} {port} ec2-user --region eu-west-1 --source prod", world.web1);
    let words: Vec<&str> = proxy.split(' ').collect();
    let mut command = world.sandbox.command(words[0]);
    let mut child = spawn(command.args(&words[1..]).stdin(Stdio::piped()));
    let mut banner = [0; 15];
    let mut stdout = child.stdout.take().expect("stdout");
    stdout.read_exact(&mut banner).expect("a banner");
    assert_eq!(&banner, b"SSH-2.0-OpenSSH");
    // Nobody reads any more, while the input stays open.
    drop(stdout);
    let input = child.stdin.take();
    finish(child, proxy.clone(), Instant::now()).within(SOON);
    drop(input);
    world.nothing_lingers(SOON);
    // The input ends at once: gone before a server would speak.
    let output = world.sh(&format!("{proxy} </dev/null"));
    output.within(SOON).ok();
    world.nothing_lingers(SOON);
}
