//! `sync` reads the consoles of new instances; `list` shows what is known.

use sandbox::{Change, Console, Instance};

use super::{lines_of, reads, unseen, update, world_with};
use crate::world::World;

#[test]
fn a_sync_reads_each_new_console_once_and_reports_how_many_hosts_it_verified() {
    let world = world_with("console");
    update(&world, &world.web2, Change { console: Some(Console::Silent), ..Change::default() });
    for id in [&world.web1, &world.web2] {
        assert_eq!(lines_of(&world, "known_hosts.console", id).len(), 1, "read by the first sync");
    }
    let silent = unseen(&world, Instance::new("silent").address("10.0.3.63").console(Console::Silent));
    let new = unseen(&world, Instance::new("new").address("10.0.3.64"));
    let output = world.eic(&["sync"]);
    output.ok();
    output.says("host keys verified by console output: 1 of 2 new hosts");
    assert_eq!(reads(&world), 3, "the latest of both, and the snapshot of the silent one");
    assert_eq!(lines_of(&world, "known_hosts.console", &new).len(), 1);
    assert_eq!(lines_of(&world, "known_hosts.console", &silent).len(), 0);
    let json = world.eic(&["list", "--json"]);
    let hosts: serde_json::Value = serde_json::from_str(json.ok()).unwrap();
    let of = |name: &str| {
        let host = hosts.as_array().unwrap().iter().find(|host| host["alias"] == name).unwrap();
        host["host_key"].as_str().unwrap().to_owned()
    };
    assert_eq!((of("new").as_str(), of("silent").as_str()), ("verified", "unknown"));
    assert!(world.eic(&["list"]).ok().contains("HOST-KEY"));
}

#[test]
fn a_denied_console_does_not_fail_a_sync() {
    let world = world_with("console");
    unseen(&world, Instance::new("new").address("10.0.3.64"));
    super::deny(&world, &["GetConsoleOutput"]);
    let output = world.eic(&["sync"]);
    output.ok();
    output.says("AWS denies ec2:GetConsoleOutput");
}

#[test]
fn consoles_with_keys_suggest_the_stricter_mode_once() {
    let world = World::new();
    unseen(&world, Instance::new("new").address("10.0.3.64"));
    let output = world.eic(&["sync"]);
    output.ok();
    output.says("host_keys = \"console\"");
    let before = reads(&world);
    let output = world.eic(&["sync"]);
    assert!(!output.stderr.contains("host_keys"), "{output}");
    assert_eq!(reads(&world), before);
}
