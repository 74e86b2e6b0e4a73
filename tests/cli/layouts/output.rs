//! `sync --output`: one file that needs nothing of ours beside it but the program.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use sandbox::{Instance, STAGING_ACCOUNT};

use super::snapshot::Snapshot;
use super::{configure, option};
use crate::sources::sign_in;
use crate::world::{CommandOutput, World};

/// Writes the file, asserts that nothing else was touched, and takes away what it must not need.
fn written(world: &World) -> String {
    let _ = fs::remove_file(world.home().join("only.conf"));
    written_with_cache(world, "only.conf")
}

/// The same, and what is below one more path is not looked at.
fn written_with_cache(world: &World, cache: &str) -> String {
    let before = Snapshot::of(world.home());
    let output = world.eic(&["sync", "--output", "only.conf"]);
    output.ok();
    before.assert_same(&Snapshot::of(world.home()).without("only.conf").without(cache), &output);
    let config = world.home().join(".config");
    if config.exists() {
        fs::remove_dir_all(config).unwrap();
    }
    world.read("only.conf")
}

fn ssh(world: &World, args: &[&str]) -> CommandOutput {
    world.run("ssh", &[&["-F", "only.conf"], args].concat())
}

/// A `Host` line's names, and the options below it.
type Block<'a> = (Vec<&'a str>, Vec<(&'a str, &'a str)>);

/// All of a file; there is nothing else in it but the guard, and what asyncssh needs at its end.
fn blocks(text: &str) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (keyword, value) = line.trim().split_once(' ').unwrap_or_else(|| panic!("{line:?} in\n{text}"));
        match (keyword, blocks.last_mut()) {
            ("Host", _) => blocks.push((value.split(' ').collect(), Vec::new())),
            ("Match", None) => assert!(value.starts_with("user \""), "a Match that is no guard: {value}"),
            ("Match", Some(_)) => assert!(value.contains(" match --make-key ed25519 -- i-"), "{line:?} in\n{text}"),
            ("ProxyCommand", None) => {
                assert!(value.contains(" proxy --refused-user -- ") && !value.contains("%r"), "the guard: {value}");
            }
            (_, Some((_, options))) => options.push((keyword, value)),
            (_, None) => panic!("{line:?} stands outside any Host in\n{text}"),
        }
    }
    blocks
}

/// The tokens in a value.
fn tokens(value: &str) -> BTreeSet<char> {
    value.split('%').skip(1).filter_map(|rest| rest.chars().next()).collect()
}

#[test]
fn every_option_is_a_literal_in_its_own_host() {
    let world = World::bare();
    world.sandbox.add(Instance::new("prod-ubuntu").user("ubuntu").address("10.0.4.1")).unwrap();
    let text = written(&world);
    let blocks = blocks(&text);
    assert_eq!(blocks.len(), 3, "{text}");
    let mut seen = BTreeSet::new();
    for (names, options) in &blocks {
        assert!(names.iter().all(|name| seen.insert(*name) && !name.contains(['*', '?', '!'])), "{names:?}\n{text}");
        for (keyword, value) in options {
            let tokens = tokens(value);
            // Whoever types another user or port must not get the master of the usual one.
            let known: &[char] = match *keyword {
                "ProxyCommand" => &['h', 'p', 'r'],
                "ControlPath" => &['p', 'r'],
                _ => &[],
            };
            assert!(tokens.iter().all(|token| known.contains(token)), "{keyword} {value}");
        }
        for keyword in ["HostName", "HostKeyAlias", "User", "Port", "IdentityFile", "ProxyCommand"] {
            assert_eq!(options.iter().filter(|(other, _)| *other == keyword).count(), 1, "{keyword} in {names:?}");
        }
    }
}

#[test]
fn it_is_private_and_each_host_resolves_by_name_and_by_id() {
    let world = World::bare();
    world.sandbox.add(Instance::new("Prod-Ubuntu").user("ubuntu").port(2222).address("10.0.4.1")).unwrap();
    written(&world);
    assert_eq!(fs::metadata(world.home().join("only.conf")).unwrap().permissions().mode() & 0o7777, 0o600);
    for instance in world.sandbox.instances().unwrap() {
        let name = &instance.tags["Name"];
        let user = instance.tags.get("ssh-eic:user").map_or("ec2-user", String::as_str);
        let port = instance.tags.get("ssh-eic:port").map_or("22", String::as_str);
        for host in [name.as_str(), &name.to_lowercase(), &instance.id] {
            let output = ssh(&world, &["-G", host]);
            let found = ["hostname", "hostkeyalias", "user", "port"].map(|keyword| option(output.ok(), keyword));
            assert_eq!(found, [instance.address.as_str(), &instance.id, user, port], "{host}");
        }
    }
    assert_eq!(option(ssh(&world, &["-G", "github.com"]).ok(), "hostname"), "github.com");
}

#[test]
fn ssh_uses_it_in_a_home_without_other_files_of_ssh_eic() {
    let world = World::bare();
    written(&world);
    assert!(!world.home().join(".ssh").exists());
    for host in ["prod-web-1", &world.web1] {
        assert_eq!(ssh(&world, &[host, "echo $SSH_EIC_INSTANCE"]).ok(), format!("{}\n", world.web1), "{host}");
    }
    assert!(!world.home().join(".ssh/config").exists() && !world.home().join(".ssh/eic/hosts").exists());
}

#[test]
fn a_dash_is_stdout_and_the_same_text() {
    let world = World::bare();
    let before = Snapshot::of(world.home());
    let output = world.eic(&["sync", "--output", "-"]);
    before.assert_same(&Snapshot::of(world.home()), &output);
    assert_eq!(output.ok(), written(&world));
}

#[test]
fn it_touches_nothing_of_a_home_that_is_set_up() {
    let world = World::new();
    world.sandbox.add(Instance::new("prod-db").address("10.0.5.1")).unwrap();
    let text = written(&world);
    assert!(text.contains("\nHost prod-db "), "{text}");
    assert_eq!(option(world.ssh(&["-G", "prod-db"]).ok(), "hostname"), "prod-db", "the index is as it was");
}

#[test]
fn it_does_not_depend_on_whether_the_user_s_own_config_can_be_written() {
    let world = World::bare();
    for config in ["# <<< ssh-eic <<<\n", "Host x\n    NoSuchOption yes\n"] {
        world.write(".ssh/config", config);
        let text = written(&world);
        assert!(text.contains("\nHost prod-web-1 "), "{text}");
        fs::set_permissions(world.home().join(".ssh/config"), fs::Permissions::from_mode(0o400)).unwrap();
        assert_eq!(written(&world), text);
        fs::set_permissions(world.home().join(".ssh/config"), fs::Permissions::from_mode(0o600)).unwrap();
    }
}

#[test]
fn only_a_generated_file_is_replaced_and_others_are_reported() {
    let world = World::bare();
    let path = world.home().join("only.conf");
    world.eic(&["sync", "--output", "only.conf"]).ok();
    let text = fs::read_to_string(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    world.eic(&["sync", "--output", "only.conf"]).ok();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    for (name, content) in [("mine", "Host mine\n"), (".ssh/config", "User me\n")] {
        world.write(name, content);
        world.eic(&["sync", "--output", name]).fails_with(9).says("was not written by ssh-eic");
        assert_eq!(world.read(name), content);
    }
    std::os::unix::fs::symlink("nowhere", world.home().join("link")).unwrap();
    world.eic(&["sync", "--output", "link"]).fails_with(9);
    assert_eq!(world.sh("ssh-eic -q sync --output /dev/stdout | cat").ok(), text);
    world.eic(&["sync", "--output", "/dev/null"]).ok();
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
    world.eic(&["sync", "--output", "no/such/folder.conf"]).fails_with(9).says("/no/such/folder.conf");
}

#[test]
fn masters_work_without_an_existing_folder_for_their_sockets() {
    let world = World::bare();
    configure(&world, "[ssh]\ncontrol_persist = \"30s\"\n");
    written(&world);
    for _ in 0..2 {
        assert_eq!(ssh(&world, &["prod-web-1", "echo $SSH_EIC_INSTANCE"]).ok(), format!("{}\n", world.web1));
    }
    ssh(&world, &["-O", "exit", "prod-web-1"]);
}

#[test]
fn it_writes_nothing_else_with_temporary_credentials() {
    let world = World::bare();
    let role = format!("role_arn = \"arn:aws:iam::{STAGING_ACCOUNT}:role/ssh\"\n");
    world.write(".config/ssh-eic/config.toml", &format!("[[source]]\nprofile = \"prod\"\n{role}"));
    written(&world);
}

#[test]
fn a_role_of_another_account_needs_no_other_file() {
    let world = World::bare();
    let id = world.sandbox.add(Instance::new("stage-web").account(STAGING_ACCOUNT).address("10.1.0.1")).unwrap();
    let role = format!("arn:aws:iam::{STAGING_ACCOUNT}:role/ssh");
    world.switch(sandbox::Switches {
        external_ids: [(role.clone(), "corp 7".to_owned())].into(),
        ..sandbox::Switches::default()
    });
    let source = format!("[[source]]\nprofile = \"prod\"\nrole_arn = \"{role}\"\nexternal_id = \"corp 7\"\n");
    world.write(".config/ssh-eic/config.toml", &source);
    written_with_cache(&world, ".cache");
    fs::remove_dir_all(world.home().join(".cache")).unwrap_or_default();
    assert_eq!(ssh(&world, &["stage-web", "echo $SSH_EIC_INSTANCE"]).ok(), format!("{id}\n"));
    assert_eq!(world.pushes().pop().unwrap().account, STAGING_ACCOUNT);
}

#[test]
fn an_account_of_an_sso_session_needs_no_other_file() {
    let world = World::bare();
    let id = world.sandbox.add(Instance::new("stage-web").account(STAGING_ACCOUNT).address("10.1.0.1")).unwrap();
    sign_in(&world, &[(STAGING_ACCOUNT, "Staging", &["SshUser"])]);
    let source = "[[source]]\nsso_session = \"corp\"\nrole = [\"SshUser\"]\nregions = [\"eu-west-1\"]\n";
    world.write(".config/ssh-eic/config.toml", source);
    written_with_cache(&world, ".cache");
    fs::remove_dir_all(world.home().join(".cache")).unwrap_or_default();
    assert_eq!(ssh(&world, &["stage-web", "echo $SSH_EIC_INSTANCE"]).ok(), format!("{id}\n"));
    assert_eq!(world.pushes().pop().unwrap().account, STAGING_ACCOUNT);
}

#[test]
fn it_uses_address_and_key_type_of_the_source() {
    let world = World::bare();
    let address = "10.0.9.9";
    let public = Instance::new("public").address("10.0.3.9").public_address(address).user("deploy");
    world.sandbox.add(public).unwrap();
    configure(&world, "address = \"public\"\nkey_type = \"rsa\"\n");
    let text = written(&world);
    assert!(text.contains("\nHost public ") && text.contains(&format!("HostName {address}\n")), "{text}");
    assert!(text.contains(" --address public --key-type rsa -- i-"), "{text}");
}
