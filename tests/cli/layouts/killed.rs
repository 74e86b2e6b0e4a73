//! Syncs that meet each other, or are killed at any moment: the old hosts or the new ones, whole.

use std::fs;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sandbox::{Change, Instance};

use super::snapshot::Snapshot;
use super::{INLINE, configure, option, resolved};
use crate::world::{World, finish, spawn};

/// How many times a sync is killed, from its start to the time that it usually takes.
const RUNS: u32 = 40;

fn start(world: &World, args: &[&str]) -> Child {
    spawn(world.sandbox.command("ssh-eic").args(args))
}

fn moved(world: &World, address: &str) {
    world
        .sandbox
        .update(&world.web1, Change { address: Some(address.to_owned()), ..Change::default() })
        .expect("an instance");
}

/// A sandbox that answers slowly enough for a kill before the answer, and how long a sync takes with it.
fn slow(world: &World) -> Duration {
    world.latency("DescribeInstances", Duration::from_millis(40));
    let mut times: Vec<Duration> = (0..3)
        .map(|n| {
            moved(world, &format!("10.0.29.{n}"));
            world.eic(&["sync"]).took
        })
        .collect();
    times.sort();
    times[1]
}

/// Kills it after a while, if it still runs then.
fn killed_after(mut child: Child, time: Duration) {
    std::thread::sleep(time);
    child.kill().expect("a child");
    child.wait().expect("a child");
}

/// Three in four of the runs fall into the last half, where the writing is.
fn moment(run: u32, usual: Duration) -> Duration {
    let quarter = RUNS / 4;
    if run < quarter {
        usual * run / quarter / 2
    } else {
        usual / 2 + usual * (run - quarter) / (RUNS - quarter) * 3 / 5
    }
}

/// Paths of temporaries, anywhere in the home.
fn temporaries(world: &World) -> Vec<String> {
    Snapshot::of(world.home()).paths_with(".ssh-eic-")
}

#[test]
fn a_sync_killed_at_any_moment_leaves_the_old_hosts_or_the_new_ones() {
    for more in ["", INLINE] {
        let world = World::bare();
        world.write(".ssh/config", "Host mine\n    HostName mine.example.com\n");
        configure(&world, more);
        let usual = slow(&world);
        moved(&world, "10.0.30.255");
        world.eic(&["sync"]).ok();
        let mut current = "10.0.30.255".to_owned();
        for run in 0..RUNS {
            let new = format!("10.0.30.{run}");
            moved(&world, &new);
            killed_after(start(&world, &["sync"]), moment(run, usual));
            let web1 = resolved(&world, "prod-web-1");
            let found = option(&web1, "hostname");
            assert!(found == current || found == new, "neither {current} nor {new} in run {run}:\n{web1}");
            found.clone_into(&mut current);
            for (host, address) in [("prod-web-2", "10.0.3.8"), ("mine", "mine.example.com")] {
                assert_eq!(option(&resolved(&world, host), "hostname"), address, "run {run}");
            }
            assert_eq!(world.eic(&["list", "--names"]).ok(), "prod-web-1\nprod-web-2\n", "run {run}");
        }
        world.eic(&["sync"]).ok();
        assert_eq!(option(&resolved(&world, "prod-web-1"), "hostname"), format!("10.0.30.{}", RUNS - 1));
        assert_eq!(world.eic(&["sync", "--diff"]).ok(), "");
        world.sh("find . -name '.ssh-eic-*' -exec touch -h -d '2 hours ago' {} +").ok();
        world.eic(&["sync"]).ok();
        assert_eq!(temporaries(&world), Vec::<String>::new());
    }
}

#[test]
fn the_next_sync_and_remove_repair_a_killed_first_sync() {
    let world = World::bare();
    configure(&world, "");
    world.eic(&["sync"]).ok();
    let usual = slow(&world);
    for run in 0..RUNS {
        world.sh("rm -rf .ssh .local .cache").ok();
        killed_after(start(&world, &["sync"]), moment(run, usual));
        world.eic(&["sync"]).ok();
        assert_eq!(option(&resolved(&world, "prod-web-1"), "hostkeyalias"), world.web1, "run {run}");
        world.eic(&["remove"]).ok();
        let left = Snapshot::of(&world.home().join(".ssh"));
        assert!(left.is_empty(), "after run {run}: {:?}", left.paths_with(""));
    }
}

/// In a folder that is ours alone, or a file.
fn is_ours(path: &str) -> bool {
    let folder = [".ssh/eic/", ".local/", ".cache/"].iter().any(|folder| path.starts_with(folder));
    folder || path.ends_with(".ssh-eic-oldold")
}

#[test]
fn old_temporary_files_of_killed_syncs_are_removed() {
    let world = World::bare();
    fs::create_dir_all(world.home().join(".ssh")).unwrap();
    world.write("dotfiles/ssh.conf", "Host mine\n");
    std::os::unix::fs::symlink("../dotfiles/ssh.conf", world.home().join(".ssh/config")).unwrap();
    configure(&world, "");
    world.eic(&["sync"]).ok();
    world.ssh(&["prod-web-1", "true"]).ok();
    let folders = [".ssh", ".ssh/eic", ".ssh/eic/keys", "dotfiles", ".local/state/ssh-eic", ".cache/ssh-eic"];
    for folder in folders {
        world.write(&format!("{folder}/.ssh-eic-oldold"), "x");
        world.write(&format!("{folder}/.ssh-eic-trial-oldold/all/hosts"), "x");
        world.write(&format!("{folder}/.ssh-eic-backup.d/hosts"), "x");
        world.write(&format!("{folder}/.ssh-eic-youngy"), "x");
        world.write(&format!("{folder}/ssh-eic-of-mine"), "x");
    }
    world
        .sh("find . -name '*-oldold' -exec touch -d '2 hours ago' {} + && touch -d '2 hours ago' */ssh-eic-of-mine")
        .ok();
    world.eic(&["sync"]).ok();
    let of = |name: &str| -> Vec<String> { folders.iter().map(|folder| format!("{folder}/{name}")).collect() };
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    // In folders of the user's no folder is taken away, and nowhere what has a name of another make.
    let kept = |name: &str| name.contains("backup") || name.contains("young") || !is_ours(name);
    assert!(temporaries(&world).iter().all(|name| kept(name)), "{:?}", temporaries(&world));
    assert_eq!(sorted(Snapshot::of(world.home()).paths_with(".ssh-eic-youngy")), sorted(of(".ssh-eic-youngy")));
    assert_eq!(Snapshot::of(world.home()).paths_with(".ssh-eic-backup.d/hosts").len(), folders.len());
    assert_eq!(sorted(Snapshot::of(world.home()).paths_with("ssh-eic-of-mine")), sorted(of("ssh-eic-of-mine")));
}

#[test]
fn concurrent_syncs_in_an_empty_home_leave_one_complete_block() {
    for (count, more) in [(2, ""), (8, ""), (2, INLINE), (8, INLINE)] {
        let world = World::bare();
        configure(&world, more);
        let began = Instant::now();
        let children: Vec<Child> = (0..count).map(|_| start(&world, &["sync"])).collect();
        for child in children {
            finish(child, "ssh-eic sync".to_owned(), began).ok();
        }
        assert_eq!(world.read(".ssh/config").matches("ssh-eic sync").count(), usize::from(more == INLINE) * 4);
        assert_eq!(option(&resolved(&world, "prod-web-2"), "hostname"), "10.0.3.8");
        assert_eq!(world.eic(&["list", "--names"]).ok(), "prod-web-1\nprod-web-2\n");
        assert_eq!(world.eic(&["sync", "--diff"]).ok(), "");
        assert_eq!(temporaries(&world), Vec::<String>::new());
        world.eic(&["remove"]).ok();
        assert!(!world.home().join(".ssh").exists());
    }
}

#[test]
fn ssh_reads_a_whole_config_while_eight_syncs_write_it() {
    let world = World::new();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = 0;
            while !done.load(Ordering::Relaxed) || seen < 20 {
                assert_eq!(option(&resolved(&world, "prod-web-2"), "hostkeyalias"), world.web2);
                assert_eq!(option(&resolved(&world, "github.com"), "hostname"), "github.com");
                seen += 1;
            }
        });
        let began = Instant::now();
        for round in 0..3 {
            configure(&world, if round == 1 { INLINE } else { "" });
            let children: Vec<Child> = (0..8)
                .map(|n| {
                    let name = format!("more-{round}-{n}");
                    world.sandbox.add(Instance::new(&name).address(format!("10.0.2{round}.{n}"))).unwrap();
                    start(&world, &["sync"])
                })
                .collect();
            for child in children {
                finish(child, "ssh-eic sync".to_owned(), began).ok();
            }
        }
        done.store(true, Ordering::Relaxed);
        reader.join().expect("a reader");
    });
    assert_eq!(world.eic(&["list", "--names"]).ok().lines().count(), 26, "the last to finish has seen all");
}

#[test]
fn a_concurrent_sync_and_remove_end_as_if_run_in_sequence() {
    let world = World::bare();
    configure(&world, "");
    for _ in 0..8 {
        world.eic(&["sync"]).ok();
        let began = Instant::now();
        let children = [start(&world, &["sync"]), start(&world, &["remove"]), start(&world, &["sync"])];
        for child in children {
            finish(child, "sync, remove, sync".to_owned(), began).ok();
        }
        let there = world.home().join(".ssh/config").exists();
        assert_eq!(world.eic_folder().join("hosts").exists(), there);
        assert_eq!(world.home().join(".local/state/ssh-eic/index").exists(), there);
        world.eic(&["remove"]).ok();
        let left = Snapshot::of(&world.home().join(".ssh"));
        assert!(left.is_empty(), "left: {:?}", left.paths_with(""));
    }
}

#[test]
fn an_old_temporary_file_of_a_killed_init_is_removed() {
    let world = World::new();
    world.write(".config/ssh-eic/.ssh-eic-oldold", "[[source]]\n");
    world.age(".config/ssh-eic/.ssh-eic-oldold", 7200);
    world.eic(&["sync"]).ok();
    assert_eq!(temporaries(&world), Vec::<String>::new());
}
