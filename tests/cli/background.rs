//! What a sync in the background changed is reported once, by the next command whose messages a user reads.

use sandbox::{Change, Instance, State};

use crate::world::World;

fn sync_in_background(world: &World) {
    let output = world.eic(&["--quiet", "sync", "--detached"]);
    output.ok();
    assert_eq!(output.stderr, "", "{output}");
}

fn terminate(world: &World, id: &str) {
    world.sandbox.update(id, Change { state: Some(State::Terminated), ..Change::default() }).unwrap();
}

#[test]
fn hosts_that_are_gone_are_reported_once_by_each_command_of_a_user_and_by_no_other() {
    for reporting in [&["list"][..], &["doctor"], &["sync"], &["push", "prod-web-1"], &["logout"], &["policy"]] {
        let world = World::new();
        terminate(&world, &world.web2);
        sync_in_background(&world);
        world.ssh(&["prod-web-1", "true"]).ok();
        for silent in [
            &["list", "--names"][..],
            &["list", "--json"],
            &["push", "prod-web-1", "--json"],
            &["inventory", "--list"],
            &["--quiet", "list"],
            &["generate", "completions", "bash"],
        ] {
            let output = world.eic(silent);
            output.ok();
            assert!(!output.stderr.contains("background"), "{output}");
        }
        let output = world.eic(reporting);
        let line = output.stderr.lines().find(|line| line.contains("background")).unwrap_or_else(|| panic!("{output}"));
        let (before, rest) = line.split_once("since ").expect("a time");
        assert_eq!(before, "ssh-eic: 1 host is gone ", "{output}");
        assert_eq!(&rest[2..3], ":", "{output}");
        assert_eq!(&rest[5..], " (background sync): prod-web-2", "{output}");
        assert!(!output.stdout.contains("background"), "{output}");
        let again = world.eic(reporting);
        assert!(!again.stderr.contains("background"), "{again}");
    }
}

#[test]
fn several_background_syncs_add_up_and_a_sync_of_a_user_starts_anew() {
    let world = World::new();
    let other = world.sandbox.add(Instance::new("db").address("10.0.4.2")).unwrap();
    sync_in_background(&world);
    terminate(&world, &other);
    sync_in_background(&world);
    assert!(!world.eic(&["list"]).stderr.contains("background"), "it came and went");
    let tags = [("Name".to_owned(), Some("web-renamed".to_owned()))].into();
    world.sandbox.update(&world.web1, Change { tags, ..Change::default() }).unwrap();
    sync_in_background(&world);
    terminate(&world, &world.web2);
    sync_in_background(&world);
    let output = world.eic(&["list"]);
    output.says("ssh-eic: 1 host was renamed by a background sync: prod-web-1 -> web-renamed\n");
    output.says(" (background sync): prod-web-2\n").ok();
    terminate(&world, &world.web1);
    world.eic(&["sync"]).says("removed web-renamed").ok();
    assert!(!world.eic(&["list"]).stderr.contains("background"));
}

#[test]
fn a_moved_name_is_no_host_that_is_gone() {
    let world = World::new();
    terminate(&world, &world.web2);
    let new = world.sandbox.add(Instance::new("prod-web-2").address("10.0.4.1")).unwrap();
    sync_in_background(&world);
    let output = world.eic(&["list"]);
    output.says(&format!("ssh-eic: prod-web-2 now means {new} (was {}, changed by a background sync)\n", world.web2));
    assert!(!output.stderr.contains("gone"), "{output}");
    world.eic(&["sync"]).ok();
    assert!(!world.eic(&["sync"]).stderr.contains("now means"));
}
