//! What `doctor` reports of host keys and unusable console outputs.

use sandbox::{Change, Console};

use super::doctor;
use crate::host_keys::{configured, deny, forget, lines_of, update, world_with};
use crate::world::World;

/// A block of host keys in which the only key is cut off.
const TRUNCATED: &str = "-----BEGIN SSH HOST KEY KEYS-----\r\nssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJN\r\n-----END SSH HOST KEY KEYS-----\r\n";
const EMPTY: &str = "-----BEGIN SSH HOST KEY KEYS-----\r\n-----END SSH HOST KEY KEYS-----\r\n";
const UNCLOSED: &str = "-----BEGIN SSH HOST KEY KEYS-----\r\n";

#[sandbox::needs_namespaces]
#[test]
fn each_case_of_an_unusable_console_output_is_named() {
    let world = world_with("require-console");
    let set = |text: &str| {
        let output = Some(text.as_bytes().to_vec());
        update(&world, &world.web1, Change { console_output: output, ..Change::default() });
        forget(&world, &world.web1);
    };
    let found = || doctor(&world, &["prod-web-1"]);
    set("");
    found().problem("console-no-output", &["has no console output yet"]);
    set("boot\nlogin: ");
    found().problem("console-no-block", &["lists no host keys"]);
    set(EMPTY);
    found().problem("console-empty-block", &["is empty"]);
    set(TRUNCATED);
    found().problem("console-truncated-key", &["are truncated"]);
    set(UNCLOSED);
    found().problem("console-unclosed-block", &["is incomplete"]);
    deny(&world, &["GetConsoleOutput"]);
    forget(&world, &world.web1);
    found().problem("console-denied", &["AWS denies ec2:GetConsoleOutput"]);
}

#[sandbox::needs_namespaces]
#[test]
fn a_host_key_is_verified_trusted_on_first_use_or_unknown() {
    let world = World::new();
    doctor(&world, &["prod-web-1"]).all_ok();
    let world = configured(world, "[ssh]\nhost_keys = \"console\"\n");
    let has = |words: &str| {
        let found = world.eic(&["doctor", "prod-web-1"]);
        assert!(found.stdout.contains(words), "{found}");
    };
    has("verified by console output");
    update(&world, &world.web1, Change { console: Some(Console::Silent), ..Change::default() });
    forget(&world, &world.web1);
    has("unknown until the first connection");
    world.ssh(&["prod-web-1", "true"]).ok();
    assert_eq!(lines_of(&world, "known_hosts", &world.web1).len(), 1);
    has("trusted on first use");
}

#[sandbox::needs_namespaces]
#[test]
fn a_host_key_other_than_the_console_s_is_a_problem() {
    let world = world_with("console");
    doctor(&world, &["prod-web-1"]).all_ok();
    update(&world, &world.web1, Change { new_host_key: true, ..Change::default() });
    let found = doctor(&world, &["prod-web-1"]);
    let shown = format!("{} presents the ED25519 host key SHA256:", world.web1);
    found.problem(
        "host-key-changed",
        &[&shown, "the instance's console output lists SHA256:", "known_hosts in the config"],
    );
}
