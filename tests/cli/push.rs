//! `ssh-eic push`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sandbox::{Instance, needs_namespaces};

use crate::world::{World, can_have_namespaces};

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[needs_namespaces]
#[test]
fn plain_ssh_logs_in_with_the_managed_key_after_a_push() {
    let world = World::new();
    let pushed = json(world.eic(&["push", "prod-web-1", "--json"]).ok());
    assert_eq!(pushed["instance"], world.web1);
    assert_eq!(pushed["user"], "ec2-user");
    let file = pushed["identity_file"].as_str().expect("a file").to_owned();
    let script = format!(
        "ssh -F /dev/null -i {file} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR \
         ec2-user@{} 'echo $SSH_EIC_INSTANCE'",
        pushed["address"].as_str().expect("an address"),
    );
    assert_eq!(world.sh(&script).ok(), format!("{}\n", world.web1));
    let end: jiff::Timestamp = pushed["expires"].as_str().unwrap().parse().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let left = end.as_second() - i64::try_from(now.as_secs()).unwrap();
    assert!((40..=60).contains(&left), "{left} s are left of 60");
    // The same rules as for connections: it is there already.
    world.eic(&["push", &world.web1]).ok();
    world.ssh(&["prod-web-1", "true"]).ok();
    assert_eq!(world.pushes().len(), 1);
}

#[test]
fn a_given_public_key_is_pushed_for_the_given_user() {
    let world = World::new();
    world.sh("ssh-keygen -q -t ed25519 -N '' -C me@home -f $HOME/own").ok();
    let own = world.home().join("own.pub").display().to_string();
    for _ in 0..2 {
        let output = world.eic(&["push", "prod-web-1", "--user", "deploy", "--public-key", &own]);
        let text = output.ok();
        assert!(text.starts_with(&format!("prod-web-1 ({}) accepts SHA256:", world.web1)), "{text}");
        assert!(text.contains(" for deploy until ") && !text.contains("ssh -i"), "{text}");
    }
    assert_eq!(world.pushes().len(), 2, "a key that is not ours is sent at every call");
    let line = world.read("own.pub");
    let keys = world.sandbox.keys(&world.web1, "deploy").unwrap();
    assert!(keys.iter().all(|key| line.starts_with(key.as_str()) && !key.contains("me@home")), "{keys:?}");
    assert!(!world.eic_folder().join("keys").join(&world.web1).exists(), "no key of ours is made for that");
    let log = world.read(".local/state/ssh-eic/pushes.jsonl");
    assert!(log.lines().count() == 2 && log.contains("\"user\":\"deploy\""), "{log}");
    world.sh(&format!("ssh-eic push prod-web-1 --public-key - < {own}")).ok();
}

#[test]
fn what_instance_connect_does_not_accept_is_rejected_before_a_request() {
    let world = World::new();
    world.sh("ssh-keygen -q -t ecdsa -N '' -f $HOME/ecdsa; ssh-keygen -q -t ed25519 -N '' -f $HOME/own").ok();
    let file = |name: &str| world.home().join(name).display().to_string();
    let push = |args: &[&str]| world.eic(&[&["push", "prod-web-1"], args].concat());
    let ecdsa = push(&["--public-key", &file("ecdsa.pub")]);
    let expected = "ssh-eic: error: ~/ecdsa.pub is an ECDSA key; EC2 Instance Connect accepts only Ed25519 and RSA keys\n\
                    ssh-eic: hint: ssh-keygen -t ed25519 makes one that EC2 Instance Connect accepts\n";
    assert_eq!(ecdsa.fails_with(2).stderr, expected);
    let private = push(&["--public-key", &file("own")]);
    let expected = "ssh-eic: error: ~/own is a private key\n\
                    ssh-eic: hint: use the public key, FILE.pub; nothing was sent\n";
    assert_eq!(private.fails_with(2).stderr, expected);
    push(&["--public-key", &file("none.pub")]).fails_with(9).says("none.pub");
    push(&["--user", "no body"])
        .fails_with(2)
        .says("error: EC2 Instance Connect does not accept the user name \"no body\"\n");
    world.eic(&["push", "-oProxyCommand=x"]).fails_with(2);
    world.eic(&["push", "--", "-oProxyCommand=x"]).fails_with(4);
    assert!(world.pushes().is_empty(), "{:#?}", world.pushes());
}

#[test]
fn a_host_is_an_alias_an_id_an_address_or_a_dns_name_and_only_one() {
    let world = World::new();
    let listed = json(world.eic(&["list", "prod-web-1", "--json"]).ok());
    let row = &listed[0];
    for name in ["address", "dns", "id"].map(|field| row[field].as_str().expect("a name").to_owned()) {
        assert!(!name.is_empty());
        let pushed = json(world.eic(&["push", &name, "--json"]).ok());
        assert_eq!(pushed["instance"], world.web1, "{name}");
    }
    world.eic(&["push", "prod-web-9"]).fails_with(4).says("hint: ssh-eic list");
    if can_have_namespaces() {
        world.add(Instance::new("double").address("10.0.3.8"));
        world.eic(&["push", "10.0.3.8"]).fails_with(4).says("several").says("prod-web-2").says("double");
    }
}

#[test]
fn errors_of_aws_are_printed_with_their_message() {
    let world = World::new();
    world.deny("SendSSHPublicKey");
    let output = world.eic(&["push", "prod-web-1"]);
    output.fails_with(6).says("AWS denies ec2-instance-connect:SendSSHPublicKey");
    output.within(Duration::from_secs(10));
}

#[test]
fn a_user_in_front_of_the_host_is_answered_with_the_option() {
    let output = World::new().eic(&["push", "root@prod-web-1"]);
    let expected =
        "ssh-eic: error: push takes the user as an option\nssh-eic: hint: ssh-eic push prod-web-1 --user root\n";
    assert_eq!(output.fails_with(2).stderr, expected);
}
