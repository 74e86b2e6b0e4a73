//! What a connection costs and leaves behind, as the kernel sees it: system calls by strace, open files and memory by
//! /proc. Counts and not times, so that a busy machine changes nothing.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use sandbox::{Instance, needs_namespaces};

use super::trace::{self, Program};
use super::{can_run, port_of, trust, with};
use crate::world::{World, finish, run, spawn, wait_until};

/// Where Debian, and everybody who follows it, has the system's authorities in one file.
const SYSTEM: &str = "/etc/ssl/certs/ca-certificates.crt";

#[needs_namespaces]
#[test]
fn a_cold_push_opens_one_connection_and_reads_the_authorities_once() {
    let world = World::over_tls();
    if !trace::possible(&world) {
        return;
    }
    world.add(Instance::new("prod-web-3").address("10.0.3.9"));
    trust::install_for_the_system(&world, &trust::authority(&world));
    let own = trust::authority(&world);
    let to_aws = format!("sin_port=htons({})", port_of(world.sandbox.endpoint()));
    for (host, environment, authorities) in [
        ("prod-web-1", vec![], own.as_str()),
        ("prod-web-2", vec![("-AWS_CA_BUNDLE", ""), ("SSL_CERT_FILE", own.as_str())], &own),
        ("prod-web-3", vec![("-AWS_CA_BUNDLE", "")], SYSTEM),
    ] {
        world.sandbox.clear_calls().unwrap();
        let traced = trace::ssh(&world, &environment, "execve,openat,open,connect,getdents64", &[host, "true"]);
        assert_eq!(trace::verbs(&traced), ["match", "proxy", "worker"]);
        let lines: Vec<&str> = traced.iter().flat_map(Program::calls).collect();
        let count = |what: &dyn Fn(&str) -> bool| lines.iter().filter(|line| what(line)).count();
        assert_eq!(count(&|line| line.starts_with("connect(") && line.contains(&to_aws)), 1, "{lines:#?}");
        let opened =
            |line: &str, path: &str| line.starts_with("open") && line.contains(path) && !line.contains(" = -1");
        assert_eq!(count(&|line| opened(line, &format!("\"{authorities}\""))), 1, "{lines:#?}");
        let others = usize::from(authorities == SYSTEM);
        assert_eq!(count(&|line| opened(line, "/etc/ssl/certs")), others, "{lines:#?}");
        let calls: Vec<String> = world.sandbox.calls().unwrap().into_iter().map(|call| call.action).collect();
        assert_eq!(calls, ["SendSSHPublicKey"]);
    }
}

/// What the warm hook does, with so many hosts indexed.
fn warm_hook(hosts: usize) -> Option<Program> {
    let world = World::new();
    if !trace::possible(&world) {
        return None;
    }
    let more = (2..hosts).map(|n| Instance::new(&format!("prod-more-{n}"))).collect();
    world.sandbox.add_many(more).unwrap();
    world.eic(&["sync"]).ok();
    world.ssh(&["prod-web-1", "true"]).ok();
    let traced = trace::ssh(&world, &[], "all", &["prod-web-1", "true"]);
    assert_eq!(trace::verbs(&traced), ["match", "proxy"], "it is not warm");
    let unmanaged = trace::ssh(&world, &[], "execve,clone,clone3,fork,vfork", &["-G", "github.com"]);
    assert_eq!(unmanaged.len(), 1, "ssh alone: {unmanaged:#?}");
    traced.into_iter().find(|program| program.verb() == Some("match"))
}

#[needs_namespaces]
#[test]
fn a_warm_hook_does_little_and_no_more_in_a_large_fleet() {
    let (Some(few), Some(many)) = (warm_hook(10), warm_hook(5000)) else { return };
    for hook in [&few, &many] {
        for what in ["clone(", "clone3(", "fork(", "vfork(", "execve(", "getdents", "socket(AF_INET"] {
            let found: Vec<&str> = hook.calls().filter(|call| call.starts_with(what)).collect();
            assert!(found.is_empty(), "{found:#?}");
        }
    }
    // One library for each of them would be nine system calls more.
    let loaded = |call: &&str| call.starts_with("openat(") && call.contains(".so.") && !call.contains("ld.so.cache");
    for hook in [&few, &many] {
        let libraries: Vec<&str> = hook.calls().filter(loaded).collect();
        assert!(libraries.iter().all(|call| call.contains("/libc.so") || call.contains("/libm.so")), "{libraries:#?}");
    }
    // The index is searched by halves, with two reads for each: nine more halves, and some for the luck of the names.
    let count =
        |hook: &Program, search: bool| hook.calls().filter(|call| call.starts_with("pread64(") == search).count();
    let (searched, others) =
        ([&few, &many].map(|hook| count(hook, true)), [&few, &many].map(|hook| count(hook, false)));
    assert!(searched[1] <= searched[0] + 24, "{searched:?}");
    assert!(others[1].abs_diff(others[0]) <= 5, "{few:#?}{many:#?}");
    assert!(others[0] < 110, "{few:#?}");
}

/// A session in which the instance goes on talking, as soon as it talks; and the folder of its proxy below /proc.
fn session(world: &World, environment: &[(&str, &str)]) -> (Child, PathBuf) {
    let mut command = with(world.ssh_command(&["prod-web-1", "while echo in; do sleep 0.2; done"]), environment);
    let mut child = spawn(command.stdin(Stdio::piped()));
    let mut first = [0; 3];
    child.stdout.as_mut().expect("stdout").read_exact(&mut first).expect("a word from the instance");
    let proxies = world.processes().into_iter().filter(|(_, line)| line.contains(" proxy "));
    let folders: Vec<PathBuf> = proxies.map(|(folder, _)| folder).collect();
    assert_eq!(folders.len(), 1, "{folders:?}");
    (child, folders.into_iter().next().expect("a proxy"))
}

fn end(world: &World, mut child: Child) {
    let _ = child.kill();
    finish(child, "ssh prod-web-1".to_owned(), Instant::now());
    world.nothing_lingers(Duration::from_secs(5));
}

/// What the open files of a process are, each once.
fn open_files(process: &Path) -> BTreeSet<String> {
    let files = fs::read_dir(process.join("fd")).expect("its open files").flatten();
    files.map(|file| fs::read_link(file.path()).unwrap_or_default().display().to_string()).collect()
}

/// A number of kB in one of the kernel's files about a process.
fn kilobytes(process: &Path, file: &str, key: &str) -> u64 {
    let text = fs::read_to_string(process.join(file)).expect("a file of the kernel");
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_suffix("kB")?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {key} in\n{text}"))
}

#[needs_namespaces]
#[test]
fn after_a_cold_push_the_idle_proxy_is_small_and_has_nothing_but_its_connection() {
    let world = World::over_tls();
    let (child, proxy) = session(&world, &[]);
    let pid = proxy.file_name().unwrap().to_str().unwrap().to_owned();
    let parents = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        Some((stat.rsplit(") ").next()?.split(' ').nth(1)?.to_owned(), stat))
    });
    let children: Vec<_> = parents.filter(|(parent, _)| *parent == pid).collect();
    assert!(children.is_empty(), "{children:?}");
    assert_eq!(fs::read_dir(proxy.join("task")).unwrap().count(), 1, "threads");

    let open = open_files(&proxy);
    let (sockets, others): (Vec<&str>, Vec<&str>) =
        open.iter().map(String::as_str).partition(|file| file.starts_with("socket:"));
    assert!(others.iter().all(|file| file.starts_with("pipe:") || *file == "/dev/null"), "{open:?}");
    let [socket] = sockets.as_slice() else { panic!("{open:?}") };
    let inode = socket.trim_start_matches("socket:[").trim_end_matches(']');
    let connections = fs::read_to_string(proxy.join("net/tcp")).unwrap();
    // 10.0.3.7 port 22, established: in the kernel's own spelling.
    let ours = connections.lines().find(|line| line.split_whitespace().nth(9) == Some(inode)).expect("TCP");
    assert_eq!(ours.split_whitespace().skip(2).take(2).collect::<Vec<_>>(), ["0703000A:0016", "01"], "{ours}");

    let anonymous = kilobytes(&proxy, "smaps_rollup", "Anonymous:");
    assert!(anonymous < 4096, "{anonymous} kB of anonymous memory");
    end(&world, child);
}

/// Turns the clocks of whoever loads it three minutes on, as soon as the file `$LATER` is there.
const LATER: &str = r#"
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    const char *later = getenv("LATER");
    if (!failed && later && access(later, F_OK) == 0) now->tv_sec += 181;
    return failed;
}
"#;

#[needs_namespaces]
#[test]
fn a_running_proxy_removes_an_unused_key() {
    let world = World::new();
    if !can_run(&world, &["cc", "--version"]) {
        return;
    }
    world.write("later.c", LATER);
    world.sh("cc -shared -fPIC -o later.so later.c").ok();
    let path = |name: &str| world.home().join(name).display().to_string();
    let environment = [("LD_PRELOAD", path("later.so")), ("LATER", path("later"))];
    let environment = environment.each_ref().map(|(name, value)| (*name, value.as_str()));
    let (mut child, proxy) = session(&world, &environment);
    let key = world.eic_folder().join("keys").join(&world.web1);
    std::thread::sleep(Duration::from_secs(1));
    assert!(key.exists(), "removed while in use");
    world.write("later", "");
    wait_until("the key outlives its use", || !key.exists());
    // The session is none the worse, and whoever comes next gets a key of their own.
    assert!(child.try_wait().unwrap().is_none() && proxy.exists());
    let mut more = [0; 3];
    child.stdout.as_mut().unwrap().read_exact(&mut more).unwrap();
    assert_eq!(&more, b"in\n");
    run(world.ssh_command(&["prod-web-1", "true"])).ok();
    assert_eq!(world.pushes().len(), 2);
    end(&world, child);
}
