//! libssh, a client library with a reader of its own for `ssh_config`, which knows Include and Match, but neither `%k` nor
//! `HostKeyAlias`: managed hosts need the one file of `sync --output`.

use std::process::Command;
use std::time::Duration;

use super::is_skipped;
use super::python::python;
use crate::world::{World, can_have_namespaces};

const SCRIPT: &str = include_str!("with_libssh.py");
const PYTHON: &str = "/usr/bin/python3";

/// Whether the test can run: with namespaces, libssh, and a Python that calls it.
fn can_run() -> bool {
    let load = Command::new(PYTHON).args(["-c", "import ctypes; ctypes.CDLL('libssh.so.4')"]).output();
    can_have_namespaces() && !is_skipped(load.is_ok_and(|output| output.status.success()), "libssh-4")
}

#[test]
fn libssh_logs_in_with_the_one_file() {
    if !can_run() {
        return;
    }
    let world = World::new();
    world.eic(&["sync", "--output", "only.conf"]).ok();
    world.eic(&["remove", "--all"]).ok();
    for host in ["prod-web-1", &world.web1] {
        assert_eq!(python(&world, PYTHON, SCRIPT, &[host, "only.conf"]).ok(), format!("{}\n", world.web1), "{host}");
    }
    assert_eq!(world.pushes().len(), 1);
    world.sandbox.expire_keys().unwrap();
    world.eic(&["remove", "--all"]).ok();
    world.deny("SendSSHPublicKey");
    python(&world, PYTHON, SCRIPT, &["prod-web-1", "only.conf"]).fails_with(1).says("AWS denies");
}

#[test]
fn libssh_reaches_the_user_s_own_hosts_behind_our_include() {
    if !can_run() {
        return;
    }
    let world = World::new();
    world.sh("ssh-keygen -q -t ed25519 -N '' -f own").ok();
    world.sandbox.accept_key(&world.web2, "ubuntu", &world.read("own.pub"), Duration::from_mins(5)).unwrap();
    let own = "Host mine\n    HostName 10.0.3.8\n    User ubuntu\n    IdentityFile";
    let config = world.read(".ssh/config");
    world.write(".ssh/config", &format!("{config}{own} {}/own\n", world.home().display()));
    assert_eq!(python(&world, PYTHON, SCRIPT, &["mine"]).ok(), format!("{}\n", world.web2));
    assert_eq!(world.pushes().len(), 0);
}
