//! A suspended machine in each phase of a connection, on every route: ssh, the hook, the proxy and its workers are stopped
//! by SIGSTOP for longer than any of their timeouts, while the other side continues.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sandbox::{Endpoint, Instance, Network};

use crate::world::{World, can_have_namespaces, finish, spawn, wait_until};

/// Longer than each of the timeouts that may be running: the connection's (10 s below), and an attempt's at AWS (10 s).
const STOP: Duration = Duration::from_secs(12);
const HOSTS: [&str; 4] = ["prod-web-1", "prod-web-2", "app", "inside"];
const CONFIG: &str = "[[source]]
name = \"prod\"
profile = \"prod\"

[[host]]
match = \"prod-web-2\"
route = \"endpoint\"

[[host]]
match = \"app\"
route = \"ssm\"

[[host]]
match = \"inside\"
route = \"jump:prod-web-1\"

[limits]
connect_timeout = \"10s\"
";

/// A host for each route; none where there are no namespaces.
fn world() -> Option<World> {
    if !can_have_namespaces() {
        return None;
    }
    let world = World::over_tls();
    world.sandbox.add_endpoint(Endpoint::default()).unwrap();
    world.write(".config/ssh-eic/config.toml", CONFIG);
    world.sandbox.add(Instance::new("app").address("10.0.9.9").network(Network::Away)).unwrap();
    world.add(Instance::new("inside").address("10.0.9.10"));
    Some(world)
}

/// Starts ssh to every host with a command that repeats the lines of its input.
fn connect(world: &World) -> Vec<Child> {
    let start = |host: &&str| {
        let mut command = world.ssh_command(&[host, "echo in; exec cat"]);
        // Shorter than the stop, so that a push before it does not count after it.
        spawn(command.env("SSH_EIC_PUSH_WINDOW", "6000").stdin(Stdio::piped()))
    };
    HOSTS.iter().map(start).collect()
}

/// ssh and the program itself, with this home, and the arguments of each.
fn processes(home: &Path) -> Vec<(String, Vec<String>)> {
    let home = format!("HOME={}", home.display());
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
        let words = |bytes: Vec<u8>| -> Vec<String> {
            bytes.split(|&byte| byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
        };
        let argv = words(read("cmdline"));
        let program = argv[0].rsplit('/').next().unwrap_or_default();
        if matches!(program, "ssh" | "ssh-eic") && words(read("environ")).contains(&home) {
            found.push((entry.file_name().to_string_lossy().into_owned(), argv));
        }
    }
    found
}

fn signal(name: &str, pids: &[String]) {
    // One that has ended meanwhile is no failure.
    let _ = Command::new("kill").arg(format!("-{name}")).args(pids).stderr(Stdio::null()).status().unwrap();
}

/// Stops everything, runs `meanwhile`, waits for [`STOP`], and continues everything.
fn suspend(world: &World, meanwhile: impl FnOnce()) {
    let pids: Vec<String> = processes(world.home()).into_iter().map(|(pid, _)| pid).collect();
    assert!(pids.len() >= 2 * HOSTS.len(), "an ssh and a proxy for each host: {pids:?}");
    signal("STOP", &pids);
    let stopped = Instant::now();
    meanwhile();
    std::thread::sleep(STOP.saturating_sub(stopped.elapsed()));
    signal("CONT", &pids);
}

/// Every connection comes about and carries what is sent.
fn all_work(children: Vec<Child>) {
    for (mut child, host) in children.into_iter().zip(HOSTS) {
        // One that has failed reads nothing, and says why.
        let _ = child.stdin.take().unwrap().write_all(b"out\n");
        assert_eq!(finish(child, format!("ssh {host}"), Instant::now()).ok(), "in\nout\n", "{host}");
    }
}

fn successful_pushes(world: &World) -> usize {
    world.pushes().iter().filter(|push| push.status == 200).count()
}

#[test]
fn while_the_programs_start() {
    let Some(world) = world() else { return };
    let children = connect(&world);
    let are_started = || {
        let proxies = processes(world.home()).into_iter().filter(|(_, argv)| argv.iter().any(|word| word == "proxy"));
        proxies.count() >= HOSTS.len()
    };
    wait_until("not every proxy was started", are_started);
    suspend(&world, || {});
    all_work(children);
}

#[test]
fn while_aws_answers_the_pushes() {
    let Some(world) = world() else { return };
    world.hold("SendSSHPublicKey");
    let children = connect(&world);
    wait_until("not all keys were pushed", || world.sandbox.arrivals("SendSSHPublicKey") == HOSTS.len());
    // The responses are in the sockets when the programs continue: they count although the time is over by the clock.
    suspend(&world, || world.release_held());
    all_work(children);
    // Each key once more, since the first push is older than the window by then; a response that was not read would
    // have led to a third request.
    assert!(successful_pushes(&world) <= 2 * HOSTS.len(), "{:#?}", world.pushes());
    assert_eq!(world.sandbox.arrivals("SendSSHPublicKey"), world.pushes().len());
}

#[test]
fn while_aws_prepares_the_routes() {
    let Some(world) = world() else { return };
    world.switch(sandbox::Switches {
        hold: Some(vec!["DescribeInstanceConnectEndpoints".to_owned(), "StartSession".to_owned()]),
        ..sandbox::Switches::default()
    });
    let children = connect(&world);
    let have_arrived = || {
        world.sandbox.has_arrived("DescribeInstanceConnectEndpoints")
            && world.sandbox.has_arrived("StartSession")
            && successful_pushes(&world) >= HOSTS.len()
    };
    wait_until("the routes were not requested", have_arrived);
    // The keys expire while the machine sleeps, so that they have to be pushed again.
    suspend(&world, || {
        world.sandbox.expire_keys().unwrap();
        world.release_held();
    });
    all_work(children);
}

#[test]
fn while_the_sessions_are_open() {
    let Some(world) = world() else { return };
    let mut children = connect(&world);
    let mut outputs = Vec::new();
    for child in &mut children {
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "in\n");
        outputs.push(output);
    }
    suspend(&world, || {});
    for (mut child, (mut output, host)) in children.into_iter().zip(outputs.into_iter().zip(HOSTS)) {
        child.stdin.take().unwrap().write_all(b"out\n").unwrap();
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "out\n", "{host}");
        finish(child, format!("ssh {host}"), Instant::now()).ok();
    }
}
