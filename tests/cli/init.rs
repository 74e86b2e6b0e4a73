//! `ssh-eic init`.

use sandbox::needs_namespaces;

use crate::world::World;

#[test]
fn init_writes_a_config_adds_the_include_and_syncs() {
    let world = World::bare();
    world.write(".ssh/config", "Host mine\n    User me\n");
    let output = world.eic(&["init", "--profile", "prod", "--region", "eu-west-1", "--tag", "Name=prod-web-*"]);
    output.ok();
    output.says("2 hosts from prod");
    let config = world.read(".config/ssh-eic/config.toml");
    assert!(config.contains("profile = \"prod\"") && config.contains("\"Name\" = [\"prod-web-*\"]"), "{config}");
    let ssh_config = world.read(".ssh/config");
    let folder = world.eic_folder();
    let folder = folder.display();
    assert_eq!(ssh_config, format!("Include {folder}/main\nHost mine\n    User me\n"));
    assert!(world.ssh(&["-G", "prod-web-1"]).ok().contains("hostname 10.0.3.7\n"));
    assert!(world.ssh(&["-G", "mine"]).ok().contains("user me\n"));
}

#[test]
fn an_existing_config_is_not_changed() {
    let world = World::new();
    let before = world.read(".config/ssh-eic/config.toml");
    world.eic(&["init"]).ok();
    world.eic(&["init", "--profile", "other"]).fails_with(2).says("hint: edit that file, then run ssh-eic sync");
    assert_eq!(world.read(".config/ssh-eic/config.toml"), before);
}

#[test]
fn a_value_that_ssh_config_cannot_hold_is_rejected_before_anything_is_written() {
    let world = World::bare();
    world.eic(&["init", "--profile", "pr'od"]).fails_with(3).says("cannot be written into ssh_config");
    assert!(!world.home().join(".config/ssh-eic/config.toml").exists());
    assert!(!world.home().join(".ssh/config").exists());
    world.eic(&["init", "--tag", "oops"]).fails_with(2).says("KEY=VALUE");
}

#[test]
fn without_options_the_default_profile_is_used() {
    let world = World::bare();
    world.eic(&["init"]).says("2 hosts from default").ok();
}

#[needs_namespaces]
#[test]
fn the_home_of_another_user_is_rejected_before_anything_is_written() {
    let world = World::bare();
    let output = world
        .sh("mkdir -p other/.ssh && chown -R deploy other && HOME=$PWD/other ssh-eic init --profile prod; echo $?");
    assert_eq!(output.stdout.trim(), "9", "{output}");
    output.says("not to you (0)").says("without sudo");
    assert_eq!(world.sh("find other -type f | wc -l").ok().trim(), "0");
}

#[test]
fn all_files_can_be_in_one_folder() {
    let world = World::bare();
    let mut command = world.sandbox.command("ssh-eic");
    let own = world.home().join("own");
    command.args(["init", "--profile", "prod"]).env("SSH_EIC_HOME", &own);
    crate::world::run(command).says("hint: ssh -F").ok();
    assert!(!world.home().join(".ssh").exists() && !world.home().join(".config").exists());
    // The hook and the proxy need no SSH_EIC_HOME.
    let config = own.join("ssh_config");
    let output = world.run("ssh", &["-F", config.to_str().unwrap(), "prod-web-1", "echo $SSH_EIC_INSTANCE"]);
    assert_eq!(output.ok(), format!("{}\n", world.web1));
    assert!(own.join("keys").join(&world.web1).exists());
}
