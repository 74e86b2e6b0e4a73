//! `ssh-eic list`.

use sandbox::{Change, Instance, State};

use crate::world::World;

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Prod hosts with tags, out of order.
fn tagged() -> World {
    let world = World::new();
    for (name, address, team) in [("web-10", "10.0.4.10", "Payments"), ("web-2", "10.0.4.2", "search")] {
        world.sandbox.add(Instance::new(name).address(address).tag("Team", team)).unwrap();
    }
    world.eic(&["sync"]).ok();
    world
}

#[test]
fn table_names_and_json_have_the_same_hosts_and_the_count_is_on_stderr() {
    let world = World::new();
    let table = world.eic(&["list"]);
    assert!(table.ok().lines().nth(1).is_some_and(|line| line.starts_with("prod-web-1  i-")), "{table}");
    table.says("ssh-eic: 2 hosts, synced ").says(" ago");
    world.eic(&["list", "*-2"]).says("ssh-eic: 1 of 2 hosts, synced ");
    let names = world.eic(&["list", "--names", "*-2"]);
    assert_eq!((names.ok(), names.stderr.as_str()), ("prod-web-2\n", ""), "{names}");
    let json = json(world.eic(&["list", "--json", &world.web1]).ok());
    assert_eq!(json[0]["address"], "10.0.3.7");
    assert_eq!(json[0]["tags"]["Name"], "prod-web-1");
    assert!(json[0].get("live").is_none(), "{json}");
    let none = world.eic(&["list", "nothing-like-this"]);
    none.fails_with(4);
    let expected = "ssh-eic: error: no managed host matches \"nothing-like-this\"\n\
                    ssh-eic: hint: if the instance is new, run ssh-eic sync\n";
    assert_eq!(none.stderr, expected);
}

#[test]
fn without_an_index_the_hint_is_sync() {
    let output = World::bare().eic(&["list"]);
    output.fails_with(4);
    assert_eq!(output.stderr, "ssh-eic: error: there is no index of instances yet\nssh-eic: hint: ssh-eic sync\n");
}

#[test]
fn text_without_wildcards_matches_parts_of_names_and_tag_values() {
    let world = tagged();
    for (pattern, names) in [
        ("WEB", "prod-web-1\nprod-web-2\nweb-2\nweb-10\n"),
        ("payments", "web-10\n"),
        ("10.0.4", "web-2\nweb-10\n"),
        ("web-*", "web-2\nweb-10\n"),
        ("web-2", "web-2\n"),
    ] {
        assert_eq!(world.eic(&["list", "--names", pattern]).ok(), names, "{pattern}");
    }
}

#[test]
fn states_tags_and_sources_filter_the_hosts() {
    let world = tagged();
    world.sandbox.update(&world.web2, Change { state: Some(State::Stopped), ..Change::default() }).unwrap();
    world.eic(&["sync"]).ok();
    for (args, names) in [
        (&["--state", "stopped"][..], "prod-web-2\n"),
        (&["--tag", "Team=Pay*"], "web-10\n"),
        (&["--tag", "Team=Payments", "--tag", "Team=search"], "web-2\nweb-10\n"),
        (&["--tag", "Team=*", "--tag", "Name=web-2"], "web-2\n"),
        (&["--source", "prod", "--state", "running", "prod"], "prod-web-1\n"),
    ] {
        assert_eq!(world.eic(&[&["list", "--names"], args].concat()).ok(), names, "{args:?}");
    }
    let output = world.eic(&["list", "--tag", "Team=a b", "--state", "pending", "x"]);
    output.fails_with(4).says("error: no managed host matches \"x\" --state pending --tag 'Team=a b'\n");
    let output = world.eic(&["list", "--source", "prdo"]);
    output
        .fails_with(4)
        .says("error: there is no host from a source \"prdo\"\nssh-eic: hint: sources with hosts: prod\n");
}

#[test]
fn columns_can_be_chosen_and_hold_tags() {
    let world = tagged();
    let table = world.eic(&["list", "web-*", "--columns", "host,state,tag:Team"]);
    assert_eq!(table.ok(), "HOST    STATE    TAG:TEAM\nweb-2   running  search\nweb-10  running  Payments\n");
    world.eic(&["list", "--columns", "host", "--json"]).fails_with(2);
}

#[test]
fn an_exact_name_shows_one_host_in_full() {
    let world = World::new();
    world.add(Instance::new("prod-web-10").address("10.0.3.9").tag("Team", "a\u{202e}b"));
    let before = world.eic(&["list", "prod-web-1"]);
    let id = &world.web1;
    assert!(before.ok().starts_with(&format!("host:         prod-web-1\ninstance:     {id}\nstate:        running\n")));
    for line in [
        "host key:     none stored; the first connection stores it\n",
        "last push:    none\n",
        "account:      111122223333\n",
    ] {
        assert!(before.stdout.contains(line), "{line:?} {before}");
    }
    world.ssh(&["prod-web-1", "true"]).ok();
    let after = world.eic(&["list", "10.0.3.7"]);
    assert!(after.ok().contains(" (trusted on first use)\n"), "{after}");
    assert!(after.ok().contains("\nhost key:     SHA256:") && after.stdout.contains(" for ec2-user, "), "{after}");
    let other = world.eic(&["list", "prod-web-10"]);
    assert!(other.ok().contains("\ntag:          Team = a b\n"), "no control characters: {other}");
}

#[test]
fn live_shows_the_hosts_in_aws_and_writes_nothing() {
    let world = World::new();
    let before = world.read(".local/state/ssh-eic/index");
    world.sandbox.add(Instance::new("prod-new").address("10.0.4.1")).unwrap();
    assert_eq!(world.eic(&["list", "--live", "--names"]).ok(), "prod-new\nprod-web-1\nprod-web-2\n");
    assert_eq!(world.eic(&["list", "--names"]).ok(), "prod-web-1\nprod-web-2\n");
    assert_eq!(world.read(".local/state/ssh-eic/index"), before);
    world.eic(&["list", "--live", "nothing-like-this"]).fails_with(4);
    assert_eq!(json(world.eic(&["list", "--live", "--json", "prod-new"]).ok())[0]["live"], true);
}

#[test]
fn hosts_of_a_source_that_fails_are_marked_and_the_source_is_named() {
    let world = World::new();
    world.deny("DescribeInstances");
    let live = world.eic(&["list", "--live"]);
    live.fails_with(6).says("source \"prod\"");
    assert_eq!(live.stdout.matches("running (not live)").count(), 2, "{live}");
    let rows = world.eic(&["list", "--live", "--json"]);
    assert_eq!(json(&rows.fails_with(6).stdout)[0]["live"], false);

    world.eic(&["sync"]).fails_with(6);
    let listed = world.eic(&["list", "--names"]);
    assert_eq!(listed.ok(), "prod-web-1\nprod-web-2\n");
    let expected = "ssh-eic: warning: the last sync could not query prod; the hosts from there may be out of date\n\
                    ssh-eic: hint: ssh-eic sync\n";
    assert_eq!(listed.stderr, expected);
    world.switch(sandbox::Switches { deny: Some(Vec::new()), ..Default::default() });
    world.eic(&["sync"]).ok();
    assert_eq!(world.eic(&["list", "--names"]).stderr, "");
}

#[test]
fn a_host_can_be_given_by_its_address_or_private_dns_name() {
    let world = World::new();
    for wanted in ["10.0.3.7", "ip-10-0-3-7.eu-west-1.compute.internal", "ip-10-0-3-7.*", &world.web1] {
        assert_eq!(world.eic(&["list", "--names", wanted]).ok(), "prod-web-1\n", "{wanted}");
    }
}

#[test]
fn a_terminal_gets_colours_and_no_line_that_is_too_long() {
    let world = World::new();
    world.add(Instance::new(&"long-name-".repeat(6)).address("10.0.4.1"));
    world.sandbox.update(&world.web2, Change { state: Some(State::Stopped), ..Change::default() }).unwrap();
    world.eic(&["sync"]).ok();
    let on_terminal = |columns: u16, variables: &str| {
        let script = format!("script -qec 'stty cols {columns}; {variables} ssh-eic list' /dev/null");
        world.sh(&script).ok().replace('\r', "")
    };
    let wide = on_terminal(200, "");
    assert!(
        wide.contains("\x1b[32mrunning") && wide.contains("\x1b[31mstopped") && wide.contains("eu-west-1"),
        "{wide}"
    );
    for columns in [60, 90] {
        let plain = on_terminal(columns, "NO_COLOR=1");
        assert!(!plain.contains('\x1b'), "{plain:?}");
        assert!(plain.lines().all(|line| line.chars().count() <= usize::from(columns)), "{plain}");
        assert!(plain.contains("prod-web-2") && plain.contains("stopped"), "{plain}");
    }
    let piped = world.eic(&["list"]);
    assert!(!piped.ok().contains('\x1b') && piped.stdout.contains(&"long-name-".repeat(6)[..59]), "{piped}");
}
