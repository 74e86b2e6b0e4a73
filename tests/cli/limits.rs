//! What has to end or idle whatever the other sides do: full pipes, peers that never read, servers of another protocol.

use std::io::Write;
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use sandbox::{Instance, Network, needs_namespaces};

use crate::world::{World, can_have_namespaces, spawn};

/// A generous limit for what has to end after three seconds at most.
const SOON: Duration = Duration::from_secs(20);

/// The proxy to an instance as ssh would start it.
fn proxy(world: &World, name: &str) -> Command {
    let listed = world.eic(&["list", "--json", name]);
    let json: serde_json::Value = serde_json::from_str(listed.ok()).unwrap();
    let text = |key: &str| json[0][key].as_str().unwrap_or_default().to_owned();
    let mut command = world.sandbox.command("ssh-eic");
    command.args(["proxy", "--region", "eu-west-1", "--source", "prod", "--"]);
    command.args([&text("id"), &text("address"), &json[0]["port"].to_string(), "ec2-user"]);
    command.stdin(Stdio::piped());
    command
}

/// The processor time of a process in clock ticks, a hundred a second.
fn ticks(child: &Child) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Asserts that a process uses next to no processor time in three seconds, in which it is still running.
fn assert_idle(child: &mut Child, what: &str) {
    std::thread::sleep(Duration::from_secs(2));
    let before = ticks(child);
    std::thread::sleep(Duration::from_secs(3));
    assert!(child.try_wait().unwrap().is_none(), "{what}: it has ended");
    let used = ticks(child) - before;
    assert!(used <= 15, "{what}: {used} ticks of processor time in three idle seconds");
}

/// Waits for the end without reading any output.
fn assert_ends(child: &mut Child, what: &str) {
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > SOON {
            child.kill().unwrap();
            panic!("{what}: still running after {SOON:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn wait_for_push(world: &World) {
    let start = Instant::now();
    while world.pushes().is_empty() {
        assert!(start.elapsed() < SOON, "no push");
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_secs(1));
}

fn slow_push(world: &World) {
    world.latency("SendSSHPublicKey", Duration::from_mins(1));
}

#[test]
fn a_server_of_another_protocol_that_closes_costs_no_processor_time() {
    let world = World::new();
    let garbage = "x".repeat(64 * 1024 + 1);
    for (name, greeting) in
        [("old", "SSH-1.5-old\r\n"), ("huge", "SSH-2.0-x\r\n\u{7f}\u{7f}\u{7f}\u{7f}"), ("garbage", &garbage)]
    {
        world.add(Instance::new(name).greeting(greeting));
    }
    slow_push(&world);
    for name in ["old", "huge", "garbage"] {
        let mut child = spawn(&mut proxy(&world, name));
        assert_idle(&mut child, name);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn a_client_of_another_protocol_that_closes_costs_no_processor_time() {
    let world = World::new();
    slow_push(&world);
    let mut child = spawn(&mut proxy(&world, "prod-web-1"));
    child.stdin.take().unwrap().write_all(b"SSH-1.5-old\r\n").unwrap();
    assert_idle(&mut child, "a client that closes");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_proxy_ends_after_its_input_although_its_output_is_not_read() {
    let world = World::new();
    let flood = format!("SSH-1.5-flood\r\n{}", "x".repeat(4_000_000));
    world.add(Instance::new("flood").greeting(flood));
    let mut child = spawn(&mut proxy(&world, "flood"));
    wait_for_push(&world);
    assert!(child.try_wait().unwrap().is_none());
    drop(child.stdin.take());
    assert_ends(&mut child, "output that is not read");
}

#[test]
fn a_proxy_ends_after_its_input_although_the_remote_does_not_read() {
    let world = World::new();
    world.add(Instance::new("deaf").network(Network::Deaf).greeting("SSH-1.5-deaf\r\n"));
    let mut child = spawn(&mut proxy(&world, "deaf"));
    wait_for_push(&world);
    let mut stdin = child.stdin.take().unwrap();
    let flags = rustix::fs::fcntl_getfl(&stdin).unwrap();
    rustix::fs::fcntl_setfl(&stdin, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
    let writable = |stdin: &std::process::ChildStdin| {
        let limit = rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 };
        poll(&mut [PollFd::new(stdin, PollFlags::OUT)], Some(&limit)).unwrap() > 0
    };
    // Until the socket, the proxy and the pipe are all full.
    while writable(&stdin) {
        let _ = stdin.write(&[0; 16 * 1024]);
    }
    assert!(child.try_wait().unwrap().is_none());
    let before = ticks(&child);
    drop(stdin);
    assert_ends(&mut child, "a remote that does not read");
    assert!(before < 500);
}

/// A socket with a listener that accepts nothing and has its queue full.
fn full_listener(path: &std::path::Path) -> (UnixListener, std::os::unix::net::UnixStream) {
    let listener = UnixListener::bind(path).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let filler = std::os::unix::net::UnixStream::connect(path).unwrap();
    (listener, filler)
}

#[test]
fn a_control_socket_with_a_full_queue_holds_up_neither_hook_nor_remove() {
    let world = World::new();
    let path = world.eic_folder().join("cm").join(format!("{}-full", world.web1));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let _full = full_listener(&path);
    // The hook, called by what looks like an ssh with that ControlPath.
    let ssh = format!(
        "exec -a ssh bash -c \"ssh-eic match prod-web-1 ec2-user; echo \\$?\" -S {} prod-web-1",
        path.display()
    );
    let output = world.sh(&format!("timeout 20 bash -c '{ssh}'"));
    assert_eq!(output.ok(), "0\n", "{output}");
    assert!(world.pushes().is_empty(), "there is a master");
    let output = world.sh("timeout 20 ssh-eic remove");
    output.ok();
    output.says("a shared connection is still open");
    assert!(path.exists());
}

#[test]
fn ssh_in_the_background_gives_up_the_caller_s_stderr() {
    let world = World::new();
    let ssh = if can_have_namespaces() { "ssh" } else { "ssh -F ~/.ssh/config" };
    let master = "-o ControlMaster=yes -o ControlPath=~/background";
    let script = format!("timeout 30 bash -c 'x=$({ssh} -f -N {master} prod-web-1 2>&1); echo \"done $x\"'");
    let output = world.sh(&script);
    let exit = world.sh(&format!("{ssh} -O exit -o ControlPath=~/background prod-web-1"));
    assert!(output.ok().starts_with("done "), "{output}");
    exit.ok();
}

#[needs_namespaces]
#[test]
#[cfg(not(feature = "fips"))]
fn a_proxy_with_a_session_keeps_no_private_key_in_memory() {
    use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};

    let world = World::new();
    world.ssh(&["prod-web-1", "true"]).ok();
    let mut child = spawn(world.ssh_command(&["prod-web-1", "echo in; sleep 60"]).stdin(Stdio::piped()));
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "in\n");
    let pem = world.read(&format!(".ssh/eic/keys/{}", world.web1));
    let key = ssh_key::PrivateKey::from_openssh(&pem).unwrap();
    let seed = key.key_data().ed25519().unwrap().private.to_bytes();
    // The last lines hold the private half, the first ones the public half.
    let text = pem.lines().nth(4).unwrap().as_bytes().to_vec();
    let (process, _) = world.processes().into_iter().find(|(_, line)| line.contains(" proxy ")).expect("a proxy");
    let mut memory = std::fs::File::open(process.join("mem")).unwrap();
    let mut searched = 0;
    for map in std::fs::read_to_string(process.join("maps")).unwrap().lines() {
        let mut words = map.split(' ');
        let (range, mode) = (words.next().unwrap(), words.next().unwrap());
        if !mode.starts_with("rw") {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let (from, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        memory.seek(SeekFrom::Start(from)).unwrap();
        if memory.read_exact(&mut bytes).is_err() {
            continue;
        }
        searched += bytes.len();
        for (what, secret) in [("the text", &text[..]), ("the seed", &seed[..])] {
            let found = bytes.windows(secret.len()).position(|window| window == secret);
            assert!(found.is_none(), "{what} of the private key is in memory: {map}");
        }
    }
    assert!(searched > 100_000, "only {searched} bytes were read");
    drop(child.stdin.take());
    child.kill().unwrap();
    child.wait().unwrap();
}
