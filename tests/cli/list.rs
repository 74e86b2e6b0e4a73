//! `ssh-eic list`.

use sandbox::{Change, Instance, State};

use crate::world::World;

#[test]
fn a_table_names_and_json_of_the_same_hosts() {
    let world = World::new();
    let table = world.eic(&["list"]);
    assert!(table.ok().lines().nth(1).is_some_and(|line| line.starts_with("prod-web-1  i-")), "{table}");
    assert_eq!(world.eic(&["list", "--names", "*-2"]).ok(), "prod-web-2\n");
    let json: serde_json::Value = serde_json::from_str(world.eic(&["list", "--json", &world.web1]).ok()).unwrap();
    assert_eq!(json[0]["address"], "10.0.3.7");
    world.eic(&["list", "nothing-like-this"]).fails_with(4).says("no managed host matches");
}

#[test]
fn without_an_index_it_says_what_to_type() {
    World::bare().eic(&["list"]).fails_with(4).says("hint: ssh-eic sync");
}

#[test]
fn live_shows_what_aws_has_now_and_writes_nothing() {
    let world = World::new();
    let before = world.read(".local/state/ssh-eic/index");
    world.sandbox.add(Instance::new("prod-new").address("10.0.4.1")).unwrap();
    assert_eq!(world.eic(&["list", "--live", "--names"]).ok(), "prod-new\nprod-web-1\nprod-web-2\n");
    assert_eq!(world.eic(&["list", "--names"]).ok(), "prod-web-1\nprod-web-2\n");
    assert_eq!(world.read(".local/state/ssh-eic/index"), before);
    world.eic(&["list", "--live", "nothing-like-this"]).fails_with(4);
}

#[test]
fn a_host_is_also_meant_by_its_address_and_its_private_dns_name() {
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
