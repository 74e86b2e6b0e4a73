//! Ansible at work over connections that ssh-eic makes: with the example as it is shipped, by names and by ids.

use std::collections::BTreeSet;
use std::fs;

use sandbox::Instance;

use super::{ansible, example, has, stopped, world_for_ansible};
use crate::world::World;

/// The instances that a key was pushed for.
fn pushed(world: &World) -> Vec<String> {
    world.pushes().iter().map(|push| push.params["InstanceId"].as_str().expect("an id").to_owned()).collect()
}

#[sandbox::needs_namespaces]
#[test]
fn every_host_is_reached_under_its_name() {
    let Some(world) = world_for_ansible() else { return };
    let ubuntu = world.add(Instance::new("prod-db").user("ubuntu").port(2222).address("10.0.5.1"));
    world.add(stopped("off"));
    let ping = ansible(&world, "ansible", &["all", "-m", "ping"]);
    assert_eq!(ping.ok().matches("\"ping\": \"pong\"").count(), 3, "{ping}");
    let command = "echo $SSH_EIC_INSTANCE $(id -un) is {{ ssh_eic_id }} {{ ssh_eic_user }}";
    let told = ansible(&world, "ansible", &["all", "-m", "shell", "-a", command]);
    for (id, user) in [(&world.web1, "ec2-user"), (&world.web2, "ec2-user"), (&ubuntu, "ubuntu")] {
        assert!(told.ok().contains(&format!("{id} {user} is {id} {user}")), "{told}");
    }
    assert_eq!(world.pushes().len(), 3, "{:#?}", world.pushes());
}

#[sandbox::needs_namespaces]
#[test]
fn the_example_copies_a_file_and_becomes_root() {
    let Some(world) = world_for_ansible() else { return };
    let playbook = example().join("site.yml");
    let play = || ansible(&world, "ansible-playbook", &[playbook.to_str().unwrap(), "--limit", "prod-web-1"]);
    let first = play();
    assert!(first.ok().contains("changed=1"), "{first}");
    let copied = fs::read(world.sandbox.dir().join("users/ec2-user/hello.txt")).expect("the file");
    assert_eq!(copied, fs::read(example().join("files/hello.txt")).unwrap());
    let second = play();
    assert!(second.ok().contains("changed=0"), "{second}");
    assert_eq!(pushed(&world), [world.web1.as_str()], "one push for all tasks of both");
}

#[sandbox::needs_namespaces]
#[test]
fn the_example_synchronizes_a_folder() {
    let Some(world) = world_for_ansible() else { return };
    if !has_synchronize(&world) {
        return;
    }
    let playbook = example().join("synchronize.yml");
    ansible(&world, "ansible-playbook", &[playbook.to_str().unwrap(), "--limit", "prod-web-1"]).ok();
    let copied = fs::read(world.sandbox.dir().join("users/ec2-user/from-rsync/hello.txt")).expect("the file");
    assert_eq!(copied, fs::read(example().join("files/hello.txt")).unwrap());
    assert_eq!(pushed(&world), [world.web1.as_str()]);
}

/// Whether the collection is there which has the module.
pub(super) fn has_synchronize(world: &World) -> bool {
    let found = ansible(world, "ansible-doc", &["-t", "module", "-s", "ansible.posix.synchronize"]);
    let found = found.code == Some(0) && has(world, &["rsync"]);
    assert!(found || std::env::var_os("CI").is_none(), "ansible.posix is missing: tests/run fetches it");
    found
}

#[sandbox::needs_namespaces]
#[test]
#[serial_test::file_serial(many_processes)]
fn a_hundred_hosts_at_25_forks_cost_a_hundred_pushes() {
    let Some(world) = world_for_ansible() else { return };
    let more = (0..98).map(|n| Instance::new(&format!("many-{n:02}")).address(format!("10.0.8.{n}"))).collect();
    world.sandbox.add_many(more).unwrap();
    world.eic(&["-q", "sync"]).ok();
    world.sandbox.warm().unwrap();
    world.sandbox.clear_calls().unwrap();
    let python = "ansible_python_interpreter=/usr/bin/python3";
    let ping = ansible(&world, "ansible", &["all", "--forks", "25", "-e", python, "-m", "ping"]);
    assert_eq!(ping.ok().matches("\"ping\": \"pong\"").count(), 100, "{ping}");
    let pushes = world.pushes();
    assert!(pushes.iter().all(|push| push.status == 200), "{pushes:#?}");
    let pushed = pushed(&world);
    assert_eq!((pushed.len(), pushed.iter().collect::<BTreeSet<_>>().len()), (100, 100));
}

/// As `amazon.aws.aws_ec2` with `hostnames: [instance-id]` lists them, and no `ansible_host`.
#[sandbox::needs_namespaces]
#[test]
fn ids_of_another_inventory_are_reached_too() {
    let Some(world) = world_for_ansible() else { return };
    let ubuntu = world.add(Instance::new("prod-db").user("ubuntu").address("10.0.5.1"));
    let unknown = world.sandbox.add(Instance::new("since-the-last-sync").address("10.0.5.2")).unwrap();
    let ids = [&world.web1, &world.web2, &ubuntu, &unknown];
    world.write("by-id", &ids.map(|id| format!("{id}\n")).concat());
    let told =
        ansible(&world, "ansible", &["all", "-i", "by-id", "-m", "shell", "-a", "echo $SSH_EIC_INSTANCE $(id -un)"]);
    for id in ids {
        let user = if *id == ubuntu { "ubuntu" } else { "ec2-user" };
        assert!(told.ok().contains(&format!("{id} | CHANGED | rc=0 >>\n{id} {user}\n")), "{told}");
    }
    let mut pushed = pushed(&world);
    let mut expected = ids.map(String::clone);
    pushed.sort();
    expected.sort();
    assert_eq!(pushed, expected);
}
