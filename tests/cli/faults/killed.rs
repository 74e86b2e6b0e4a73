//! kill -9 of any process of a connection at random moments.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::world::{World, finish, spawn};

/// How often a process is killed.
const RUNS: u32 = 200;
/// After how many of them the next connection has to work.
const CHECKED: u32 = 10;

#[test]
#[serial_test::file_serial(many_processes)]
fn the_next_connection_works_whatever_was_killed_before() {
    let world = World::new();
    world.without_hurry();
    let usual = world.ssh(&["prod-web-1", "true"]).took;
    let mut random = fastrand::Rng::with_seed(16);
    let mut killed = 0;
    for run in 0..RUNS {
        // Without a key in every other run, so that it is killed while keys are made and pushed.
        if run % 2 == 0 {
            let _ = fs::remove_dir_all(world.eic_folder().join("keys"));
        }
        let start = Instant::now();
        let child = spawn(&mut world.ssh_command(&["prod-web-1", "true"]));
        std::thread::sleep(usual.mul_f64(random.f64()));
        let processes = world.processes();
        if let Some((process, _)) = random.choice(&processes) {
            let pid = process.file_name().and_then(|name| name.to_str()?.parse().ok()).and_then(Pid::from_raw);
            killed += u32::from(pid.is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok()));
        }
        // However it ends: it does not hang.
        finish(child, format!("ssh in run {run}"), start);
        if run % CHECKED == CHECKED - 1 {
            let output = world.ssh(&["prod-web-1", "echo $SSH_EIC_INSTANCE"]);
            assert_eq!(output.ok(), format!("{}\n", world.web1), "after run {run}");
        }
    }
    assert!(killed > RUNS / 4, "only {killed} processes were killed");
    world.nothing_lingers(Duration::from_secs(10));
    // Only what belongs there is left, once temporaries are old.
    world.sh("find .ssh/eic .local/state .cache -name '.ssh-eic-*' -exec touch -h -d '2 hours ago' {} +").ok();
    world.eic(&["sync"]).ok();
    assert_eq!(world.sh("find .ssh .local .cache -name '.ssh-eic-*'").ok(), "");
    assert_eq!(world.eic(&["sync", "--diff"]).ok(), "");
}
