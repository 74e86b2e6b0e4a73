//! The doctor before the set-up, without a host, and with a fleet that cannot be reached by name.

use std::fs;

use sandbox::{Fail, Switches, needs_namespaces};

use super::{command, doctor, doctor_in, world};
use crate::sources::configure;
use crate::world::{World, run};

#[needs_namespaces]
#[test]
fn before_the_set_up_the_credentials_are_checked_and_init_is_the_fix() {
    let world = World::bare();
    let signed_in = run(command(&world, "AWS_PROFILE=prod", &[]));
    signed_in.fails_with(1);
    let expected = [
        "ok       config      there is no ~/.config/ssh-eic/config.toml: all instances of the default profile and region",
        "problem  index       there is no index of instances yet",
        "                     fix: ssh-eic init",
        "ok       credentials the environment or profile prod signs for account 111122223333, and does not expire",
        "skipped  not checked: home, files, include, generated, program, ssh-config, editor, source",
    ];
    let lines: Vec<&str> = signed_in.stdout.lines().skip(2).collect();
    assert_eq!(lines, expected, "{signed_in}");
    world.write(".aws/credentials", "");
    let signed_out = run(command(&world, "AWS_PROFILE=prod", &["prod-web-1"]));
    signed_out.fails_with(1);
    let problems: Vec<&str> = signed_out.stdout.lines().filter(|line| line.starts_with("problem")).collect();
    assert_eq!(problems.len(), 2, "{signed_out}");
    assert!(problems[1].starts_with("problem  credentials there are no AWS credentials in "), "{signed_out}");
}

#[needs_namespaces]
#[test]
fn a_missing_config_file_given_by_the_environment_is_a_problem() {
    let world = world();
    let found = doctor_in(&world, "SSH_EIC_CONFIG=$HOME/typo.toml", &[]);
    found.problem("config-missing", &["there is no config file ~/typo.toml", "correct the path"]);
    doctor(&world, &["--config", "typo.toml"]).problem("config-missing", &["typo.toml"]);
}

#[needs_namespaces]
#[test]
fn each_source_has_a_line_and_failures_of_the_last_sync_are_problems() {
    let world = world();
    let source = |name: &str, profile: &str, more: &str| {
        format!("[[source]]\nname = \"{name}\"\nprofile = \"{profile}\"\nregions = [\"eu-west-1\"]\n{more}\n")
    };
    configure(&world, &(source("one", "prod", "") + &source("two", "staging", "")));
    world.eic(&["sync"]).ok();
    let found = doctor(&world, &[]);
    found.healthy().note("no-hosts", &["two: no instance matches", "check regions, tags and account"]);
    assert!(found.human.stdout.contains("\nok       source      one: 2 hosts\n"), "{}", found.human);

    let fail = Fail { status: 503, code: "Unavailable".to_owned(), message: "no".to_owned(), times: None };
    let fail = [("DescribeInstances".to_owned(), fail)].into();
    world.sandbox.switches(Switches { fail, ..Switches::default() }).unwrap();
    world.eic(&["sync"]).fails_with(7);
    world.sandbox.reset_switches().unwrap();
    let found = doctor(&world, &[]);
    let failed: Vec<&str> = found.human.stdout.lines().filter(|line| line.starts_with("problem")).collect();
    let expected = [
        "problem  source      one: 2 hosts from an earlier sync; the last sync of it failed",
        "problem  source      two: 0 hosts from an earlier sync; the last sync of it failed",
    ];
    assert_eq!(failed, expected, "{}", found.human);

    configure(&world, &source("one", "prod", ""));
    world
        .sandbox
        .switches(Switches { denied_regions: Some(vec!["eu-west-1".to_owned()]), ..Switches::default() })
        .unwrap();
    world.eic(&["sync"]).fails_with(6);
    world.sandbox.reset_switches().unwrap();
    doctor(&world, &[]).problem("source-failed", &["one: 2 hosts from an earlier sync", "ssh-eic sync"]);
}

#[needs_namespaces]
#[test]
fn no_hosts_and_no_names_are_problems() {
    let world = world();
    let source = "[[source]]\nprofile = \"prod\"\nregions = [\"eu-west-1\"]\n";
    configure(&world, &format!("{source}alias = \"{{Naem}}\"\n"));
    world.eic(&["sync"]).ok();
    doctor(&world, &[]).problem("no-names", &["prod: 2 hosts, none of which has a name", "set alias in config.toml"]);
    configure(&world, &format!("{source}tags = {{ Environment = \"pord\" }}\n"));
    world.eic(&["sync"]).ok();
    doctor(&world, &[]).problem("no-hosts", &["prod: no instance matches", "check regions, tags and account"]);
    fs::remove_file(world.home().join(".config/ssh-eic/config.toml")).unwrap();
}
