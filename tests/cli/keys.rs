//! The life of a key: made, kept while in use, removed, never shared across instances or users.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use sandbox::{Switches, needs_namespaces};

use crate::world::{World, can_have_namespaces, finish, spawn, wait_until};

fn pushed_key(world: &World) -> String {
    world.pushes().pop().expect("a push").params["SSHPublicKey"].as_str().expect("a key").to_owned()
}

#[test]
fn a_connection_after_the_key_s_use_has_ended_has_a_new_key() {
    let world = World::new();
    world.ssh(&["prod-web-1", "true"]).ok();
    let first = pushed_key(&world);
    let key = format!(".ssh/eic/keys/{}", world.web1);
    world.age(&key, 170);
    world.ssh(&["prod-web-1", "true"]).ok();
    assert_eq!(pushed_key(&world), first, "still in use");
    world.age(&key, 181);
    world.ssh(&["prod-web-1", "true"]).ok();
    assert_ne!(pushed_key(&world), first);
    assert_eq!(world.pushes().len(), 2);
}

#[test]
fn the_key_folder_contains_private_keys_only_readable_by_their_owner() {
    use std::os::unix::fs::MetadataExt;
    let world = World::new();
    // A person who has every key go to the agent keeps ours out of it all the same.
    world.write(".ssh/config", &format!("{}Host *\n    AddKeysToAgent yes\n", world.read(".ssh/config")));
    world.ssh(&["prod-web-1", "true"]).ok();
    let folder = world.eic_folder().join("keys");
    assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(folder.join(&world.web1)).unwrap().mode() & 0o777, 0o600);
    let names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.iter().all(|name| std::path::Path::new(name).extension().is_none_or(|e| e != "pub")), "{names:?}");
    let agent = "eval $(ssh-agent) >/dev/null; ssh prod-web-1 true; ssh-add -l; kill $SSH_AGENT_PID";
    if can_have_namespaces() {
        assert!(world.sh(agent).stdout.contains("no identities"));
    }
}

#[test]
fn a_key_pushed_for_another_instance_is_rejected() {
    let world = World::new();
    world.ssh(&["prod-web-1", "true"]).ok();
    let keys = world.eic_folder().join("keys");
    fs::copy(keys.join(&world.web1), keys.join(&world.web2)).unwrap();
    fs::copy(keys.join(format!("{}.ec2-user.push", world.web1)), keys.join(format!("{}.ec2-user.push", world.web2)))
        .unwrap();
    world.ssh(&["prod-web-2", "true"]).fails_with(255).says("Permission denied (publickey)");
    assert_eq!(world.pushes().len(), 1, "the forged record was believed, so that the judge is the instance");
}

#[needs_namespaces]
#[test]
fn a_key_pushed_for_another_user_is_rejected() {
    let world = World::new();
    world.ssh(&["prod-web-1", "true"]).ok();
    let record = |user: &str| format!(".ssh/eic/keys/{}.{user}.push", world.web1);
    let forged = world.read(&record("ec2-user")).replace("ec2-user", "deploy");
    world.write(&record("deploy"), &forged);
    world.ssh(&["deploy@prod-web-1", "true"]).fails_with(255).says("Permission denied (publickey)");
    fs::remove_file(world.home().join(record("deploy"))).unwrap();
    assert_eq!(world.ssh(&["deploy@prod-web-1", "id -un"]).ok(), "deploy\n");
}

#[test]
fn a_push_record_from_the_future_or_truncated_causes_a_push() {
    let world = World::new();
    world.ssh(&["prod-web-1", "true"]).ok();
    let record = format!(".ssh/eic/keys/{}.{}.push", world.web1, user(&world));
    let text = world.read(&record);
    let sent =
        text.split("\"sent\":").nth(1).and_then(|rest| rest.split('}').next()).expect("when it was sent").to_owned();
    world.write(&record, &text.replace(&sent, &format!("{sent}0")));
    world.ssh(&["prod-web-1", "true"]).ok();
    assert_eq!(world.pushes().len(), 2, "from the future");
    world.write(&record, &text[..text.len() / 2]);
    world.ssh(&["prod-web-1", "true"]).ok();
    assert_eq!(world.pushes().len(), 3, "torn");
}

fn user(world: &World) -> String {
    let listed = world.eic(&["list", "--json", "prod-web-1"]);
    let json: serde_json::Value = serde_json::from_str(listed.ok()).unwrap();
    json[0]["user"].as_str().unwrap().to_owned()
}

#[test]
fn a_key_is_pushed_again_when_the_host_key_prompt_takes_longer_than_its_validity() {
    let world = World::new();
    let go = world.home().join("go");
    world.write("answer", &format!("#!/bin/sh\nuntil [ -e {} ]; do sleep 0.1; done\necho yes\n", go.display()));
    world.sh("chmod +x answer").ok();
    let mut command = world.ssh_command(&["-o", "StrictHostKeyChecking=ask", "prod-web-1", "echo $SSH_EIC_INSTANCE"]);
    command
        .env("SSH_ASKPASS", world.home().join("answer"))
        .env("SSH_ASKPASS_REQUIRE", "force")
        .env("DISPLAY", ":0")
        .env("SSH_EIC_PUSH_WINDOW", "2000");
    let start = Instant::now();
    let child = spawn(command.stdin(Stdio::null()));
    wait_until("nothing was pushed", || !world.pushes().is_empty());
    std::thread::sleep(Duration::from_millis(2100));
    world.sandbox.expire_keys().unwrap();
    world.write("go", "");
    let output = finish(child, "ssh prod-web-1".to_owned(), start);
    assert_eq!(output.ok(), format!("{}\n", world.web1), "{output}");
    // On a machine that needs two seconds for the rest the window ends once more.
    assert!(world.pushes().len() >= 2, "once in parallel, once at the release");
}

#[test]
fn a_push_that_fails_during_the_prompt_is_reported_after_it() {
    let world = World::new();
    world.switch(Switches {
        deny: Some(vec!["SendSSHPublicKey".to_owned()]),
        latency_ms: [("SendSSHPublicKey".to_owned(), 1000)].into(),
        ..Switches::default()
    });
    world.write("answer", "#!/bin/sh\nsleep 4\necho yes\n");
    world.sh("chmod +x answer").ok();
    let mut command = world.ssh_command(&[
        "-o",
        "StrictHostKeyChecking=ask",
        "-o",
        "ControlMaster=auto",
        "-o",
        "ControlPersist=5",
        "prod-web-1",
        "true",
    ]);
    command.env("SSH_ASKPASS", world.home().join("answer")).env("SSH_ASKPASS_REQUIRE", "force").env("DISPLAY", ":0");
    crate::world::run(command).fails_with(255).says("AWS denies ec2-instance-connect:SendSSHPublicKey");
}

#[test]
fn a_push_record_that_cannot_be_written_costs_a_push_and_the_login_succeeds() {
    let world = World::new();
    let user = user(&world);
    // In the place of the record: nothing can be renamed over a folder that is not empty.
    let record = format!(".ssh/eic/keys/{}.{user}.push/full", world.web1);
    world.write(&record, "");
    assert_eq!(world.ssh(&["prod-web-1", "echo $SSH_EIC_INSTANCE"]).ok(), format!("{}\n", world.web1));
    assert_eq!(world.pushes().len(), 1);
}

#[test]
fn a_running_proxy_removes_an_unused_key_and_sync_removes_the_rest() {
    let world = World::new();
    world.ssh(&["prod-web-1", "true"]).ok();
    world.ssh(&["prod-web-2", "true"]).ok();
    let key = |id: &str| format!(".ssh/eic/keys/{id}");
    world.age(&key(&world.web1), 181);
    world.eic(&["sync"]).ok();
    assert!(!world.home().join(key(&world.web1)).exists(), "out of use and kept by sync");
    assert!(world.home().join(key(&world.web2)).exists(), "in use and removed by sync");
}

/// Runs a shell script in which flock(2) fails as on a file system without locks.
fn without_locks(world: &World, script: &str) -> crate::world::CommandOutput {
    let mut command = world.sandbox.command("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=flock", "-e", "inject=flock:error=ENOSYS"]);
    command.args(["bash", "-c", script]);
    crate::world::run(command)
}

#[needs_namespaces]
#[test]
fn on_a_file_system_without_locks_a_key_in_use_is_not_replaced() {
    let world = World::new();
    if world.run("strace", &["-o", "/dev/null", "true"]).code != Some(0) {
        assert!(std::env::var_os("CI").is_none(), "CI has to run as root on Linux with strace(1)");
        return;
    }
    let config =
        world.read(".config/ssh-eic/config.toml").replace("\n[[source]]\n", "\n[[source]]\nkey_type = \"rsa\"\n");
    world.write(".config/ssh-eic/config.toml", &config);
    world.eic(&["sync"]).ok();
    // Both make a key because neither finds one. The first one ends when the other one has started as well, the second
    // one when the key of the first one is on the instance.
    world.write(
        "bin/ssh-keygen",
        "#!/bin/bash\n/usr/bin/ssh-keygen \"$@\" || exit\ntouch ~/made.$$\n\
         until [ \"$(ls ~ | grep -c ^made)\" -ge 2 ]; do sleep 0.1; done\n\
         mkdir ~/first 2>/dev/null && exit\n\
         until ls ~/.ssh/eic/keys/*.push 2>/dev/null; do sleep 0.1; done\n",
    );
    world.sh("chmod +x bin/ssh-keygen").ok();
    let script = "export PATH=~/bin:$PATH; ssh prod-web-1 echo in & ssh prod-web-1 echo in & wait";
    let output = without_locks(&world, script);
    assert_eq!(output.ok(), "in\nin\n", "{output}");
    let made = fs::read_dir(world.home()).unwrap().flatten();
    assert_eq!(made.filter(|entry| entry.file_name().to_string_lossy().starts_with("made.")).count(), 2);
    let mut keys: Vec<String> = world.pushes().iter().map(|push| push.params["SSHPublicKey"].to_string()).collect();
    keys.dedup();
    assert_eq!(keys.len(), 1, "{:#?}", world.pushes());
}

#[test]
fn a_key_that_is_used_every_three_minutes_is_replaced_after_a_day() {
    let world = World::new();
    world.ssh(&["prod-web-1", "true"]).ok();
    let first = pushed_key(&world);
    let key = format!(".ssh/eic/keys/{}", world.web1);
    // The lock's time says when the key was made.
    world.age(&format!("{key}.lock"), 24 * 3600 - 600);
    world.age(&key, 170);
    world.ssh(&["prod-web-1", "true"]).ok();
    assert_eq!(pushed_key(&world), first, "younger than a day");
    world.age(&format!("{key}.lock"), 24 * 3600);
    world.age(&key, 170);
    world.ssh(&["prod-web-1", "true"]).ok();
    assert_ne!(pushed_key(&world), first, "as old as a day");
}
