//! Faults that only a login tells: almost all of them read `Permission denied (publickey)`.

use sandbox::{Change, DEBIAN, Instance, UBUNTU, needs_namespaces};

use super::{doctor, world};

#[needs_namespaces]
#[test]
fn the_image_of_an_instance_that_rejects_the_key_decides_the_advice() {
    let world = world();
    world.sandbox.add(Instance::new("wrong").image(UBUNTU).user("nosuch")).unwrap();
    world.sandbox.add(Instance::new("bare").image(DEBIAN).without_instance_connect()).unwrap();
    world.sandbox.add(Instance::new("broken").without_instance_connect()).unwrap();
    world.eic(&["sync"]).ok();
    let wrong = ["takes no key for nosuch", "ubuntu-noble", "has the user ubuntu", "set user = \"ubuntu\""];
    doctor(&world, &["wrong"]).problem("wrong-user", &wrong);
    let bare = ["image debian-12-amd64", "comes without EC2 Instance Connect", "install ec2-instance-connect"];
    doctor(&world, &["bare"]).problem("no-instance-connect", &bare);
    let broken = ["does not take the key that was pushed for ec2-user", "AuthorizedKeysCommand"];
    doctor(&world, &["broken"]).problem("key-refused", &broken);
    world.ssh(&["bare", "true"]).fails_with(255).says("Permission denied (publickey");
}

#[needs_namespaces]
#[test]
fn a_host_key_that_has_changed_is_named_with_what_removes_it() {
    let world = world();
    world.ssh(&["prod-web-1", "true"]).ok();
    world.sandbox.update(&world.web1, Change { new_host_key: true, ..Change::default() }).unwrap();
    let found = doctor(&world, &["prod-web-1"]);
    let known = "~/.ssh/eic/known_hosts";
    let fix = format!("ssh-keygen -R {} -f {known}", world.web1);
    found.problem("host-key-changed", &["another host key than the one in ", &format!("{known}:1"), &fix]);
    // What it says to do is right.
    world.sh(&fix).ok();
    doctor(&world, &["prod-web-1"]).all_ok();
}

#[needs_namespaces]
#[test]
fn user_options_that_only_affect_a_login_are_named() {
    let world = world();
    let good = world.read(".ssh/config");
    world.write(".ssh/config", &format!("StrictHostKeyChecking yes\n{good}"));
    let found = doctor(&world, &["prod-web-1"]);
    found.problem("host-key-unknown", &["StrictHostKeyChecking", "forbids to learn it"]);
    found.note("option-shadowed", &["ssh takes StrictHostKeyChecking", "config line 1"]);
    world.sh("for n in 1 2 3 4 5 6 7; do ssh-keygen -q -t ed25519 -N '' -f .ssh/own$n; done").ok();
    let own: Vec<String> = (1..8).map(|n| format!("IdentityFile ~/.ssh/own{n}\n")).collect();
    world.write(".ssh/config", &(own.concat() + &good));
    doctor(&world, &["prod-web-1"]).problem("too-many-keys", &["too many keys", "remove IdentityFile"]);
    world.write(".ssh/config", &format!("{good}Host *\n  HostKeyAlgorithms rsa-sha2-512\n"));
    let found = doctor(&world, &["prod-web-1"]);
    found.problem("login-failed", &["no matching host key type found", "ssh -v prod-web-1"]);
}

#[needs_namespaces]
#[test]
fn a_user_without_a_shell_is_named() {
    let world = world();
    world.add(Instance::new("shell-less").user("games"));
    doctor(&world, &["shell-less"]).problem("no-shell", &["games logs in", "exit code 1", "shell"]);
}
