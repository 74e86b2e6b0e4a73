//! Many sessions over one endpoint, which allows 20 tunnels at a time.

use std::time::Instant;

use sandbox::Instance;

use super::{tunnels, world};
use crate::inventory::has;
use crate::world::{World, finish, spawn};

fn most_at_once(world: &World) -> usize {
    tunnels(world).iter().map(|tunnel| tunnel.concurrent).max().unwrap_or_default()
}

#[sandbox::needs_namespaces]
#[test]
#[serial_test::file_serial(many_processes)]
fn thirty_sessions_at_once_never_open_more_than_twenty_tunnels() {
    let world = world("endpoint");
    let start = Instant::now();
    let children: Vec<_> =
        (0..30).map(|_| spawn(&mut world.ssh_command(&["prod-web-1", "sleep 3; echo in"]))).collect();
    let mut waited = 0;
    for child in children {
        let output = finish(child, "ssh prod-web-1".to_owned(), start);
        assert_eq!(output.ok(), "in\n");
        waited += usize::from(output.stderr.contains("all 20 tunnels of eice-0aaaabbbbccccdddd are in use"));
    }
    assert!(tunnels(&world).len() >= 30);
    assert!(most_at_once(&world) <= 20, "{}", most_at_once(&world));
    assert!(waited > 0, "no session reported that it waited");
}

#[sandbox::needs_namespaces]
#[test]
#[serial_test::file_serial(many_processes)]
fn ansible_with_25_forks_reaches_every_host_over_one_endpoint() {
    let world = world("endpoint");
    if !has(&world, &["ansible"]) {
        return;
    }
    let hosts: Vec<Instance> =
        (0..25).map(|n| Instance::new(&format!("node-{n:02}")).address(format!("10.0.4.{}", n + 10))).collect();
    world.sandbox.add_many(hosts).unwrap();
    world.eic(&["sync"]).ok();
    let names: Vec<String> = (0..25).map(|n| format!("node-{n:02}")).collect();
    let script = format!(
        "cd $HOME; export ANSIBLE_HOST_KEY_CHECKING=False ANSIBLE_SSH_ARGS='-o ControlMaster=auto -o ControlPersist=1s'
         ansible all -i '{},' -f 25 -m raw -a 'echo $SSH_EIC_INSTANCE' -o",
        names.join(",")
    );
    let output = world.sh(&script);
    assert_eq!(output.ok().matches("rc=0").count() + output.stdout.matches("CHANGED").count(), 50, "{output}");
    assert!(most_at_once(&world) <= 20, "{}", most_at_once(&world));
}
