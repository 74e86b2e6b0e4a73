//! `ssh-eic proxy` by itself: without an index, without a config, and what it carries.

use std::fs;

use crate::world::{World, can_have_namespaces};

#[test]
fn it_works_with_no_index_and_no_config() {
    if !can_have_namespaces() {
        return;
    }
    let world = World::bare();
    fs::create_dir_all(world.eic_folder().join("keys")).unwrap();
    let proxy = format!("ProxyCommand=ssh-eic proxy {} 10.0.3.7 22 %r --region eu-west-1 --profile prod", world.web1);
    let key = format!("IdentityFile={}/keys/{}", world.eic_folder().display(), world.web1);
    let story = world.ssh(&[
        "-o",
        &proxy,
        "-o",
        &key,
        "-o",
        "IdentitiesOnly=yes",
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
        "ec2-user@anything",
        "echo $SSH_EIC_INSTANCE",
    ]);
    assert_eq!(story.ok(), format!("{}\n", world.web1));
}

#[test]
fn a_stream_of_many_megabytes_arrives_whole_in_both_directions() {
    if !can_have_namespaces() {
        return;
    }
    let world = World::new();
    let script = "head -c 60000000 /dev/urandom > blob; ssh prod-web-1 cat < blob | cmp - blob && echo same";
    assert_eq!(world.sh(script).ok(), "same\n");
}

#[test]
fn what_does_not_speak_ssh_passes_only_after_the_push() {
    if !can_have_namespaces() {
        return;
    }
    let world = World::new();
    // A server of another protocol on the instance's address: its bytes come, but not before the key is there.
    let port = 2345;
    let server = format!(
        "python3 -c \"import socket\ns=socket.socket(); s.setsockopt(1,2,1); s.bind(('10.9.9.9',{port})); s.listen(1)\nc,_=s.accept(); c.sendall(b'SSH-1.5-other\\\\nhello\\\\n'); c.close()\""
    );
    let script = format!(
        "{server} & for n in $(seq 50); do ss -tln | grep -q :{port} && break; sleep 0.1; done
         sleep 3 | ssh-eic proxy {} 10.9.9.9 {port} ec2-user --region eu-west-1 --source prod",
        world.web1
    );
    let story = world.sh(&script);
    assert_eq!(story.ok(), "SSH-1.5-other\nhello\n", "{story}");
    assert_eq!(world.pushes().len(), 1);
}

#[test]
fn wrong_usage_is_told_in_one_form() {
    let world = World::bare();
    world.eic(&["proxy", "i-0abc12de"]).fails_with(2).says("ssh-eic: error: ").says("ssh-eic: hint: ");
    world.eic(&["nonsense"]).fails_with(2).says("ssh-eic: error: there is no command \"nonsense\"");
    assert!(world.eic(&["--help"]).ok().contains("Usage: ssh-eic"));
    assert!(world.eic(&["--version"]).ok().starts_with("ssh-eic 0."));
}

#[test]
fn an_old_index_is_refreshed_in_the_background_after_a_connection() {
    let world = World::new();
    let config = world.read(".config/ssh-eic/config.toml").replace("[sync]", "[sync]\nrefresh = \"1s\"");
    world.write(".config/ssh-eic/config.toml", &config);
    world.eic(&["sync"]).ok();
    world.sandbox.add(sandbox::Instance::new("prod-new").address("10.0.3.50")).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    world.ssh(&["prod-web-1", "true"]).ok();
    let start = std::time::Instant::now();
    while !world.eic(&["list", "--names"]).ok().contains("prod-new") {
        assert!(start.elapsed() < std::time::Duration::from_secs(20), "no refresh");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

#[test]
fn the_push_log_has_a_line_for_each_push() {
    let world = World::new();
    world.ssh(&["prod-web-1", "true"]).ok();
    let log = world.read(".local/state/ssh-eic/pushes.jsonl");
    let line: serde_json::Value = serde_json::from_str(log.lines().next().expect("a line")).unwrap();
    assert_eq!(line["instance"], world.web1);
    assert_eq!(line["outcome"], "pushed");
    assert_eq!(line["request_id"], world.pushes()[0].request_id);
    assert_eq!(log.lines().count(), 1);
}
