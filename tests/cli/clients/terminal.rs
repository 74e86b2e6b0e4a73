//! Clients that people use by hand: mosh on a terminal, sshfs in a folder.

use std::fs;

use super::has;
use crate::world::World;

#[sandbox::needs_namespaces]
#[test]
fn mosh_opens_its_session_after_one_push_by_the_hook() {
    let world = World::new();
    if !(has(&world, "mosh") && has(&world, "script")) {
        return;
    }
    // mosh puts its own ProxyCommand in the place of ours, and wants a terminal of some size and a UTF-8 locale.
    let session = "stty rows 24 cols 80; mosh prod-web-1 -- sh -c 'echo this is $SSH_EIC_INSTANCE; sleep 1'";
    let script =
        format!("export TERM=xterm LC_ALL=C.UTF-8; script -qec \"{}\" typescript", session.replace('$', "\\$"));
    let output = world.sh(&script);
    assert!(output.ok().contains(&format!("this is {}", world.web1)), "{output}");
    assert_eq!(world.pushes().len(), 1);
    let log = world.sandbox.sshd_log(&world.web1);
    assert_eq!(log.matches("Accepted publickey for ec2-user").count(), 1, "{log}");
}

#[sandbox::needs_namespaces]
#[test]
fn sshfs_mounts_a_home_and_writes_into_it() {
    let world = World::new();
    if !has(&world, "sshfs") || is_without_fuse(&world) {
        return;
    }
    // The folder that the harness starts in is the one outside the sandbox's mounts.
    let script = "set -e; cd $HOME; mkdir mnt; sshfs prod-web-1: mnt; trap 'fusermount3 -u mnt' EXIT
        ssh prod-web-1 'mkdir d && echo from there > d/a'
        cat mnt/d/a; echo from here > mnt/d/b; ssh prod-web-1 cat d/b";
    assert_eq!(world.sh(script).ok(), "from there\nfrom here\n");
    assert_eq!(world.pushes().len(), 1);
}

/// What no package brings: the kernel's part of FUSE.
fn is_without_fuse(world: &World) -> bool {
    let usable = fs::File::options().read(true).write(true).open("/dev/fuse").is_ok();
    if !usable {
        eprintln!("skipped: this machine has no /dev/fuse for {}", world.home().display());
    }
    !usable
}
