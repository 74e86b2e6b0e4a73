//! Everything that runs ssh works unchanged, and what reads `ssh_config` by itself finds our hosts.

mod completion;
mod editor;
mod git;
mod libssh;
pub(crate) mod python;
mod streams;
mod terminal;

use std::fs;

use sandbox::needs_namespaces;

use crate::world::World;

/// Whether a test has to do without something that tests/run installs: possible on a laptop, never under CI.
fn is_skipped(there: bool, what: &str) -> bool {
    assert!(there || std::env::var_os("CI").is_none(), "tests/run should have installed {what}");
    !there
}

/// Whether a program is there.
fn has(world: &World, program: &str) -> bool {
    !is_skipped(world.run("which", &[program]).code == Some(0), program)
}

/// The subcommands that a watched world has started, in their order.
fn starts(world: &World) -> Vec<String> {
    world.read("starts").lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[needs_namespaces]
#[test]
fn scp_sftp_and_rsync_copy_files_both_ways() {
    let world = World::new();
    let blob: Vec<u8> = (0..3_000_000_u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()).collect();
    fs::write(world.home().join("blob"), &blob).unwrap();
    world.sh("scp -q blob prod-web-1:one && scp -q prod-web-1:one back1 && cmp blob back1").ok();
    world.sh("scp -O -q blob prod-web-1:old && scp -O -q prod-web-1:old back2 && cmp blob back2").ok();
    world.sh("echo 'put blob two' | sftp -q -b - prod-web-1 && echo 'get two back3' | sftp -q -b - prod-web-1 && cmp blob back3").ok();
    world.sh("mkdir d && cp blob d/ && rsync -a d/ prod-web-1:three/ && rsync -a prod-web-1:three/ back4/ && cmp blob back4/blob").ok();
    assert_eq!(world.pushes().len(), 1);
}

#[needs_namespaces]
#[test]
fn a_jump_through_one_instance_reaches_another() {
    let world = World::new();
    let output = world.ssh(&["-J", "prod-web-1", "prod-web-2", "echo $SSH_EIC_INSTANCE"]);
    assert_eq!(output.ok(), format!("{}\n", world.web2));
    let mut pushed: Vec<String> =
        world.pushes().iter().map(|p| p.params["InstanceId"].as_str().unwrap().to_owned()).collect();
    pushed.sort();
    let mut both = vec![world.web1.clone(), world.web2.clone()];
    both.sort();
    assert_eq!(pushed, both, "the hook for the one, the proxy for the other");
}

#[test]
fn forwarding_and_a_reused_master_need_no_further_push() {
    let world = World::new();
    let socket = world.eic_folder().join("cm");
    let master = world.ssh(&["-o", "ControlMaster=auto", "-o", "ControlPersist=30", "prod-web-1", "true"]);
    master.ok();
    assert_eq!(fs::read_dir(&socket).unwrap().count(), 1, "a master at our control path");
    let key = world.eic_folder().join("keys").join(&world.web1);
    let touched = || fs::metadata(&key).unwrap().modified().unwrap();
    let before = touched();
    world.sandbox.clear_calls().unwrap();
    assert_eq!(world.ssh(&["prod-web-1", "echo $SSH_EIC_INSTANCE"]).ok(), format!("{}\n", world.web1));
    assert!(world.sandbox.calls().unwrap().is_empty());
    assert_eq!(touched(), before, "no key work for a reused master");
    world.ssh(&["-O", "exit", "prod-web-1"]).ok();
    world.nothing_lingers(std::time::Duration::from_secs(5));
}

#[needs_namespaces]
#[test]
fn two_instances_with_one_private_address_never_share_a_master() {
    let world = World::new();
    world.write(
        ".ssh/config",
        &format!(
            "{}Host *\n    ControlMaster auto\n    ControlPersist 30\n    ControlPath ~/.ssh/cm-%h\n",
            world.read(".ssh/config")
        ),
    );
    // Another VPC with the same addresses: the network leads to the first one only.
    let twin = world.add(sandbox::Instance::new("other-web-1").address("10.0.3.7").network(sandbox::Network::Away));
    assert_eq!(world.ssh(&["prod-web-1", "echo $SSH_EIC_INSTANCE"]).ok(), format!("{}\n", world.web1));
    let wrong = world.ssh(&["other-web-1", "echo $SSH_EIC_INSTANCE"]);
    wrong.fails_with(255).says("Permission denied (publickey)");
    assert_eq!(wrong.stdout, "", "no command may run on the wrong host; {twin} was meant");
    world.ssh(&["-O", "exit", "prod-web-1"]).ok();
}
