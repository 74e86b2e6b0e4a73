//! `ssh-eic remove`: everything of ours is gone, and everything of the user's is as it was.

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use sandbox::Instance;

use crate::layouts::snapshot::Snapshot;
use crate::layouts::{INLINE, configure, option, resolved};
use crate::world::{World, finish, spawn};

/// What a folder of ours is called, wherever it is; those of the system's own (`~/.cache`) may stay behind.
const OURS: [&str; 3] = [".ssh/eic", ".cache/ssh-eic", ".local/state/ssh-eic"];

/// What is left of ours.
fn left(world: &World) -> Vec<String> {
    let home = Snapshot::of(world.home());
    let mut left: Vec<String> = OURS.iter().flat_map(|place| home.paths_with(place)).collect();
    left.extend(home.paths_with(".config/ssh-eic"));
    left.sort();
    left
}

/// After `remove` without flags.
const KEPT: [&str; 4] =
    [".config/ssh-eic", ".config/ssh-eic/config.toml", ".local/state/ssh-eic", ".local/state/ssh-eic/pushes.jsonl"];

#[test]
fn everything_is_removed_except_the_config_and_the_push_log() {
    let world = World::new();
    world.ssh(&["prod-web-1", "true"]).ok();
    world.nothing_lingers(Duration::from_secs(5));
    let (config, log) = (world.read(KEPT[1]), world.read(KEPT[3]));
    let output = world.eic(&["remove"]);
    output.says("removed the lines of ssh-eic from").says("kept: ").says("remove --all").ok();
    assert_eq!(output.stdout, "");
    assert_eq!(left(&world), KEPT);
    assert!(!world.home().join(".ssh").exists(), "it was not there before");
    assert_eq!((world.read(KEPT[1]), world.read(KEPT[3])), (config, log));
    assert_eq!(option(&resolved(&world, "prod-web-1"), "hostname"), "prod-web-1");
    // Back again as if nothing had been.
    world.eic(&["sync"]).ok();
    world.ssh(&["prod-web-1", "true"]).ok();
}

#[test]
fn all_also_removes_the_config_and_the_push_log() {
    let world = World::new();
    world.ssh(&["prod-web-1", "true"]).ok();
    world.nothing_lingers(Duration::from_secs(5));
    let output = world.eic(&["remove", "--all"]);
    output.ok();
    assert!(!output.stderr.contains("kept"), "{output}");
    assert_eq!(left(&world), Vec::<String>::new());
    assert!(!world.home().join(".ssh").exists());
}

#[test]
fn the_user_s_config_is_restored_byte_for_byte() {
    let mine = "# mine\nHost mine\n\tUser me\n";
    for more in ["", INLINE] {
        for config in [mine, &mine.replace('\n', "\r\n"), mine.trim_end(), "\n", "\r\n", " ", ""] {
            let world = World::bare();
            world.write(".ssh/config", config);
            configure(&world, more);
            let before = Snapshot::of(&world.home().join(".ssh"));
            world.eic(&["sync"]).ok();
            let output = world.eic(&["remove"]);
            output.ok();
            before.assert_same_content(&Snapshot::of(&world.home().join(".ssh")), &output);
        }
    }
}

#[test]
fn an_ssh_folder_without_a_config_is_restored() {
    for (more, files) in [("", &["id_ed25519", "known_hosts", "conf.d/work"][..]), (INLINE, &["id_rsa"]), ("", &[])] {
        let world = World::bare();
        fs::create_dir(world.home().join(".ssh")).unwrap();
        for file in files {
            world.write(&format!(".ssh/{file}"), "# mine\n");
        }
        configure(&world, more);
        let before = Snapshot::of(&world.home().join(".ssh"));
        world.eic(&["sync"]).ok();
        world.ssh(&["prod-web-1", "true"]).ok();
        world.nothing_lingers(Duration::from_secs(5));
        let output = world.eic(&["remove"]);
        output.ok();
        before.assert_same_content(&Snapshot::of(&world.home().join(".ssh")), &output);
    }
}

#[test]
fn lines_that_the_user_added_later_stay() {
    let world = World::new();
    let config = world.read(".ssh/config");
    world.write(".ssh/config", &format!("# above\n{config}Host mine\n"));
    for file in [".ssh/known_hosts", ".ssh/eic/notes", ".local/state/ssh-eic/notes", ".ssh/eic.conf"] {
        world.write(file, "mine\n");
    }
    world.eic(&["remove", "--all"]).ok();
    assert_eq!(world.read(".ssh/config"), "# above\nHost mine\n");
    let expected =
        [".local/state/ssh-eic", ".local/state/ssh-eic/notes", ".ssh/eic", ".ssh/eic.conf", ".ssh/eic/notes"];
    assert_eq!(left(&world), expected);
    assert_eq!(world.read(".ssh/known_hosts"), "mine\n");
}

#[test]
fn a_config_that_existed_before_is_kept_even_if_it_is_empty_now() {
    let world = World::bare();
    world.write(".ssh/config", "Host mine\n");
    configure(&world, "");
    world.eic(&["sync"]).ok();
    let emptied = world.read(".ssh/config").replace("Host mine\n", "");
    world.write(".ssh/config", &emptied);
    world.eic(&["remove"]).ok();
    assert_eq!(world.read(".ssh/config"), "");
}

#[test]
fn a_second_remove_has_nothing_to_do() {
    let world = World::new();
    world.eic(&["remove"]).ok();
    let before = Snapshot::of(world.home());
    for _ in 0..2 {
        let output = world.eic(&["remove"]);
        output.says("ssh-eic: nothing to remove: ssh-eic has written nothing here\n").ok();
        assert!(!output.stderr.contains("removed the lines"), "{output}");
        before.assert_same(&Snapshot::of(world.home()), &output);
    }
    world.eic(&["remove", "--all"]).ok();
    world.eic(&["remove", "--all"]).ok();
    assert_eq!(left(&world), Vec::<String>::new());
}

#[test]
fn remove_creates_nothing_in_an_empty_home() {
    let world = World::bare();
    world.write(".ssh/config", "Host mine\n");
    let before = Snapshot::of(&world.home().join(".ssh"));
    for args in [&["remove"][..], &["remove", "--all"]] {
        let output = world.eic(args);
        output.ok();
        assert_eq!(output.stderr, "ssh-eic: nothing to remove: ssh-eic has written nothing here\n", "{output}");
        before.assert_same(&Snapshot::of(&world.home().join(".ssh")), &output);
        assert_eq!(left(&world), Vec::<String>::new(), "{output}");
    }
}

#[test]
fn remove_also_empties_a_separate_folder() {
    let world = World::bare();
    let own = world.home().join("own");
    let eic = |args: &[&str]| {
        let mut command = world.sandbox.command("ssh-eic");
        command.args(args).env("SSH_EIC_HOME", &own);
        crate::world::run(command)
    };
    eic(&["init", "--profile", "prod"]).ok();
    let config = own.join("ssh_config");
    world.run("ssh", &["-F", config.to_str().unwrap(), "prod-web-1", "true"]).ok();
    world.nothing_lingers(Duration::from_secs(5));
    eic(&["remove"]).ok();
    assert_eq!(Snapshot::of(&own).paths_with(""), ["", "config.toml", "state", "state/pushes.jsonl"]);
    eic(&["remove", "--all"]).ok();
    assert!(!own.exists(), "{:?}", Snapshot::of(&own).paths_with(""));
}

/// A session that answers each line with the instance's id, already once.
fn session(world: &World, options: &[&str]) -> Child {
    let script = "while read -r line; do echo $SSH_EIC_INSTANCE; done";
    let mut child = spawn(world.ssh_command(&[options, &["prod-web-1", script]].concat()).stdin(Stdio::piped()));
    answers(&mut child, &world.web1);
    child
}

fn answers(child: &mut Child, id: &str) {
    child.stdin.as_mut().expect("stdin").write_all(b"\n").expect("a session that listens");
    let mut answer = vec![0; id.len() + 1];
    child.stdout.as_mut().expect("stdout").read_exact(&mut answer).expect("a session that answers");
    assert_eq!(answer, format!("{id}\n").into_bytes());
}

fn ends_well(mut child: Child) {
    drop(child.stdin.take());
    finish(child, "a session that outlives remove".to_owned(), Instant::now()).ok();
}

#[test]
fn an_open_session_continues_after_remove_and_writes_nothing() {
    let world = World::new();
    let mut child = session(&world, &[]);
    world.eic(&["remove"]).ok();
    answers(&mut child, &world.web1);
    ends_well(child);
    world.nothing_lingers(Duration::from_secs(5));
    assert_eq!(left(&world), KEPT);
    assert!(!world.home().join(".ssh").exists());
}

#[test]
fn sessions_of_a_master_continue_after_remove_and_a_second_remove_deletes_the_rest() {
    let world = World::bare();
    configure(&world, "[ssh]\ncontrol_persist = \"60s\"\n");
    world.eic(&["sync"]).ok();
    world.ssh(&["prod-web-1", "true"]).ok();
    let sockets = Snapshot::of(&world.eic_folder().join("cm")).paths_with(&world.web1);
    assert_eq!(sockets.len(), 1, "{sockets:?}");
    let mut child = session(&world, &[]);
    world.eic(&["remove"]).says("a shared connection is still open").ok();
    assert_eq!(option(&resolved(&world, "prod-web-1"), "hostname"), "prod-web-1");
    answers(&mut child, &world.web1);
    ends_well(child);
    let socket = world.eic_folder().join("cm").join(&sockets[0]);
    let stop = ["-S", socket.to_str().unwrap(), "-O", "exit", "prod-web-1"];
    world.ssh(&stop).ok();
    world.nothing_lingers(Duration::from_secs(5));
    world.eic(&["remove"]).ok();
    assert_eq!(left(&world), KEPT);
    assert!(!world.home().join(".ssh").exists(), "{:?}", Snapshot::of(&world.home().join(".ssh")).paths_with(""));
}

#[test]
fn a_background_sync_does_not_recreate_removed_files() {
    let world = World::bare();
    configure(&world, "[sync]\nrefresh = \"1s\"\n");
    world.eic(&["sync"]).ok();
    std::thread::sleep(Duration::from_millis(1100));
    // This login starts a sync that gives the connection two seconds before it begins.
    world.ssh(&["prod-web-1", "true"]).ok();
    assert!(!world.survivors().is_empty(), "no sync was started");
    world.eic(&["remove"]).ok();
    world.nothing_lingers(Duration::from_secs(20));
    assert_eq!(left(&world), KEPT);
    assert!(!world.home().join(".ssh").exists(), "{:?}", Snapshot::of(&world.home().join(".ssh")).paths_with(""));
}

#[test]
fn remove_works_without_aws_and_with_a_config_that_cannot_be_read() {
    let world = World::new();
    world.sandbox.add(Instance::new("prod-db")).unwrap();
    fs::remove_dir_all(world.home().join(".aws")).unwrap();
    world.write(KEPT[1], "[[source]\nnonsense");
    world.sandbox.clear_calls().unwrap();
    world.eic(&["remove"]).ok();
    assert!(world.sandbox.calls().unwrap().is_empty());
    assert!(!world.home().join(".ssh").exists());
}

#[test]
fn remove_also_deletes_the_files_of_a_killed_sync() {
    let world = World::new();
    world.write(".ssh/eic/.ssh-eic-trial-killed/all/hosts", "x");
    for folder in [".ssh", ".ssh/eic", ".local/state/ssh-eic", ".cache/ssh-eic"] {
        world.write(&format!("{folder}/.ssh-eic-killed"), "x");
    }
    world.eic(&["remove", "--all"]).ok();
    assert_eq!(left(&world), Vec::<String>::new());
    assert!(!world.home().join(".ssh").exists(), "{:?}", Snapshot::of(&world.home().join(".ssh")).paths_with(""));
}
