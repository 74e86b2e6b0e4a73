//! A full disk: what could not be written is told with what to do, and the old files are whole.

use sandbox::{Change, needs_namespaces};

use super::{INLINE, configure, option, resolved};
use crate::world::{CommandOutput, World};

/// Pages of the small disk; a page is the least that a file takes.
const PAGES: usize = 600;

/// A world of which one folder lies on a disk of its own. That is mounted inside the sandbox: the test itself sees what
/// is in it through commands only, and those by absolute paths, since their working folder is opened outside.
fn with_small_disk(folder: &str, more: &str) -> World {
    let world = World::bare();
    configure(&world, more);
    world.write(".ssh/config", "Host mine\n    HostName mine.example.com\n");
    world.eic(&["sync"]).ok();
    let script = format!(
        "set -e; cd ~; cp -a {folder} kept; mount -t tmpfs -o size={}k,mode=700 tmpfs {folder}; cp -a kept/. {folder}/",
        PAGES * 4
    );
    world.sh(&script).ok();
    world
}

/// Fills the disk and leaves so many pages.
fn fill(world: &World, folder: &str, pages: usize) {
    let script = format!(
        "cd ~/{folder}; rm -f fill; head -c 8M /dev/zero >fill 2>/dev/null
        size=$(stat -c %s fill); truncate -s $((size - {pages} * 4096)) fill; stat -f -c %f ."
    );
    assert_eq!(world.sh(&script).ok().trim(), pages.to_string(), "free pages");
}

fn contents(world: &World, folder: &str) -> String {
    world
        .sh(&format!("cd ~; find {folder} -type f ! -name fill ! -name '*.lock' -exec sha256sum {{}} + | sort"))
        .ok()
        .to_owned()
}

/// What a sync has to say of a disk without room.
fn told_and_whole(world: &World, output: &CommandOutput, folder: &str) {
    output.fails_with(9).says("no space left on device").says("hint: make room").says(&format!("{folder}/"));
    for (host, address) in [("prod-web-2", "10.0.3.8"), ("mine", "mine.example.com")] {
        assert_eq!(option(&resolved(world, host), "hostname"), address, "{output}");
    }
    assert_eq!(world.eic(&["list", "--names"]).ok(), "prod-web-1\nprod-web-2\n", "{output}");
    assert_eq!(world.sh(&format!("cd ~; find {folder} -name '.ssh-eic-*'")).ok(), "", "{output}");
}

fn moved(world: &World, address: &str) {
    world.sandbox.update(&world.web1, Change { address: Some(address.to_owned()), ..Change::default() }).unwrap();
}

/// With less and less room, down to none; then with room again.
fn survives(folder: &str, more: &str) {
    let world = with_small_disk(folder, more);
    let mut failures = 0;
    for pages in (0..12).rev() {
        let (old, new) = (option(&resolved(&world, "prod-web-1"), "hostname").to_owned(), format!("10.0.30.{pages}"));
        moved(&world, &new);
        fill(&world, folder, pages);
        let before = contents(&world, folder);
        let output = world.eic(&["sync"]);
        let now = option(&resolved(&world, "prod-web-1"), "hostname").to_owned();
        if output.code == Some(0) {
            assert_eq!(now, new, "{output}");
            continue;
        }
        failures += 1;
        told_and_whole(&world, &output, folder);
        assert!(now == old || now == new, "{now} is neither\n{output}");
        if pages == 0 {
            assert_eq!(contents(&world, folder), before, "{output}");
        }
    }
    assert!(failures > 0, "the disk was never full");
    world.sh(&format!("rm ~/{folder}/fill")).ok();
    world.eic(&["sync"]).ok();
    assert_eq!(option(&resolved(&world, "prod-web-1"), "hostname"), "10.0.30.0");
    world.ssh(&["prod-web-2", "true"]).ok();
}

#[needs_namespaces]
#[test]
fn a_full_disk_under_the_ssh_folder_is_reported_and_nothing_is_lost() {
    survives(".ssh", "");
}

#[needs_namespaces]
#[test]
fn a_full_disk_under_the_ssh_folder_is_reported_in_the_inline_layout() {
    survives(".ssh", INLINE);
}

#[needs_namespaces]
#[test]
fn a_full_disk_under_the_state_folder_is_reported_and_nothing_is_lost() {
    survives(".local/state/ssh-eic", "");
}

#[needs_namespaces]
#[test]
fn remove_needs_disk_space_for_the_user_s_config_only() {
    let world = with_small_disk(".ssh", "");
    fill(&world, ".ssh", 0);
    let before = contents(&world, ".ssh");
    let output = world.eic(&["remove"]);
    if output.code != Some(0) {
        output.fails_with(9).says("hint: make room").says(".ssh/config");
        assert_eq!(contents(&world, ".ssh"), before, "{output}");
        assert_eq!(option(&resolved(&world, "prod-web-1"), "hostkeyalias"), world.web1);
        world.sh("rm ~/.ssh/fill").ok();
        world.eic(&["remove"]).ok();
    }
    assert_eq!(world.sh("cat ~/.ssh/config").ok(), "Host mine\n    HostName mine.example.com\n");
}

#[needs_namespaces]
#[test]
fn a_read_only_file_system_is_reported_and_nothing_is_lost() {
    for folder in [".ssh", ".local/state/ssh-eic"] {
        let world = with_small_disk(folder, "");
        moved(&world, "10.0.30.1");
        world.sh(&format!("mount -o remount,ro ~/{folder}")).ok();
        for args in [&["sync"][..], &["remove"]] {
            let output = world.eic(args);
            output.fails_with(9).says("read-only file system").says(&format!("{folder}/"));
            assert_eq!(option(&resolved(&world, "prod-web-1"), "hostname"), "10.0.3.7", "{output}");
        }
        world.sh(&format!("mount -o remount,rw ~/{folder}")).ok();
        world.eic(&["sync"]).ok();
        assert_eq!(option(&resolved(&world, "prod-web-1"), "hostname"), "10.0.30.1");
    }
}
