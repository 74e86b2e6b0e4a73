//! `ssh-eic proxy` by itself: without an index, without a config, and what it carries.

use std::fs;

use sandbox::needs_namespaces;

use crate::world::{World, wait_until};

#[needs_namespaces]
#[test]
fn it_works_with_no_index_and_no_config() {
    let world = World::bare();
    fs::create_dir_all(world.eic_folder().join("keys")).unwrap();
    let proxy = format!("ProxyCommand=ssh-eic proxy {} 10.0.3.7 22 %r --region eu-west-1 --profile prod", world.web1);
    let key = format!("IdentityFile={}/keys/{}", world.eic_folder().display(), world.web1);
    let output = world.ssh(&[
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
    assert_eq!(output.ok(), format!("{}\n", world.web1));
}

#[needs_namespaces]
#[test]
fn a_stream_of_many_megabytes_arrives_whole_in_both_directions() {
    let world = World::new();
    let script = "head -c 60000000 /dev/urandom > blob; ssh prod-web-1 cat < blob | cmp - blob && echo same";
    assert_eq!(world.sh(script).ok(), "same\n");
}

#[needs_namespaces]
#[test]
fn bytes_that_are_not_ssh_are_relayed_only_after_the_push() {
    let world = World::new();
    // A server of another protocol on the instance's address: its bytes come, but not before the key is there.
    let port = 2345;
    let server = format!(
        "python3 -c \"import socket\ns=socket.socket(); s.setsockopt(1,2,1); s.bind(('10.9.9.9',{port})); s.listen(1)\nc,_=s.accept(); c.sendall(b'SSH-1.5-other\\\\nhello\\\\n'); c.close()\""
    );
    let script = format!(
        "{server} & for n in $(seq 1000); do ss -tln | grep -q :{port} && break; sleep 0.1; done
         sleep 3 | ssh-eic proxy {} 10.9.9.9 {port} ec2-user --region eu-west-1 --source prod",
        world.web1
    );
    let output = world.sh(&script);
    assert_eq!(output.ok(), "SSH-1.5-other\nhello\n", "{output}");
    assert_eq!(world.pushes().len(), 1);
}

#[test]
fn usage_errors_have_one_form() {
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
    wait_until("no refresh", || world.eic(&["list", "--names"]).ok().contains("prod-new"));
}

#[test]
fn a_sync_under_a_wrong_clock_does_not_stop_later_syncs_in_the_background() {
    let world = World::new();
    world.sandbox.add(sandbox::Instance::new("prod-new").address("10.0.3.50")).unwrap();
    let index = world.read(".local/state/ssh-eic/index");
    let (header, rest) = index.split_once('\n').unwrap();
    let mut header: serde_json::Value = serde_json::from_str(header).unwrap();
    for time in ["synced", "tried"] {
        header[time] = (header[time].as_u64().unwrap() + 365 * 24 * 3_600_000).into();
    }
    world.write(".local/state/ssh-eic/index", &format!("{header}\n{rest}"));
    world.ssh(&["prod-web-1", "true"]).ok();
    wait_until("no refresh", || world.eic(&["list", "--names"]).ok().contains("prod-new"));
}

#[test]
fn symlinks_of_other_users_in_the_state_folder_are_not_followed() {
    let world = World::new();
    let state = world.home().join(".local/state/ssh-eic");
    world.write("victim", "content\n");
    for name in ["pushes.jsonl", "refresh", "push-rate"] {
        let _ = std::fs::remove_file(state.join(name));
        std::os::unix::fs::symlink(world.home().join("victim"), state.join(name)).unwrap();
    }
    let config = world.read(".config/ssh-eic/config.toml").replace("[sync]", "[sync]\nrefresh = \"1s\"");
    world.write(".config/ssh-eic/config.toml", &config);
    world.eic(&["sync"]).ok();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(world.ssh(&["prod-web-1", "echo $SSH_EIC_INSTANCE"]).ok(), format!("{}\n", world.web1));
    assert_eq!(world.read("victim"), "content\n");
    world.sh("chmod 777 .local/state/ssh-eic").ok();
    world.eic(&["list"]).fails_with(9).says("/.local/state/ssh-eic (mode 777)");
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
