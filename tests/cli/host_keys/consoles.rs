//! What a console output says, and when it is read.

use std::time::Duration;

use sandbox::{Change, Console, Instance, Switches};

use super::{forget, lines_of, reads, replace_host_key, unseen, update, world_with};

#[sandbox::needs_namespaces]
#[test]
fn the_first_login_needs_no_trust_on_first_use() {
    for mode in ["console", "require-console"] {
        for console in [Console::Keys, Console::Prefixed, Console::Fingerprints] {
            let world = world_with(mode);
            let id = &world.web1;
            update(&world, id, Change { console: Some(console), ..Change::default() });
            forget(&world, id);
            let output = world.ssh(&["prod-web-1", "echo $SSH_EIC_INSTANCE"]);
            assert_eq!(output.ok(), format!("{id}\n"), "{mode} {console:?}");
            assert!(!output.stderr.contains("Permanently added"), "{output}");
            assert_eq!(lines_of(&world, "known_hosts.console", id).len(), 1, "{output}");
            assert_eq!(lines_of(&world, "known_hosts", id), Vec::<String>::new());
            let first = reads(&world);
            assert!(first >= 1, "{output}");
            world.ssh(&["prod-web-1", "true"]).ok();
            assert_eq!(reads(&world), first, "read on first contact only");
        }
    }
}

#[sandbox::needs_namespaces]
#[test]
fn the_connection_waits_for_a_slow_console_output_and_reports_it() {
    let world = world_with("require-console");
    forget(&world, &world.web1);
    let latency_ms = [("GetConsoleOutput".to_owned(), 2_500)].into();
    world.sandbox.switches(Switches { latency_ms, ..Switches::default() }).unwrap();
    let output = world.ssh(&["prod-web-1", "echo $SSH_EIC_INSTANCE"]);
    assert_eq!(output.ok(), format!("{}\n", world.web1));
    output.says(&format!("ssh-eic: warning: waiting for the console output of prod-web-1 ({})", world.web1));
}

#[sandbox::needs_namespaces]
#[test]
fn the_wait_for_the_console_output_ends_before_the_connect_timeout_of_ssh() {
    let world = world_with("console");
    forget(&world, &world.web1);
    world.hold("GetConsoleOutput");
    let output = world.ssh(&["-o", "ConnectTimeout=4", "prod-web-1", "true"]);
    world.release_held();
    output
        .fails_with(255)
        .says("AWS did not return the console output of prod-web-1 (")
        .says(") within 3 s (ConnectTimeout)")
        .within(Duration::from_secs(10));
    assert!(!output.stderr.contains("Connection timed out"), "{output}");
}

#[sandbox::needs_namespaces]
#[test]
fn a_host_without_console_keys_is_trusted_on_first_use_and_reported_once() {
    let world = world_with("console");
    let id = &world.web1;
    update(&world, id, Change { console_output: Some(b"boot\nlogin: ".to_vec()), ..Change::default() });
    forget(&world, id);
    let output = world.ssh(&["prod-web-1", "true"]);
    output.ok();
    output.says("is trusted on first use").says("Permanently added");
    let output = world.ssh(&["prod-web-1", "true"]);
    output.ok();
    assert!(!output.stderr.contains("trusted on first use"), "{output}");
    replace_host_key(&world, id);
    world.ssh(&["prod-web-1", "true"]).fails_with(255).says("REMOTE HOST IDENTIFICATION HAS CHANGED");
}

#[sandbox::needs_namespaces]
#[test]
fn without_nitro_only_the_console_snapshot_is_read() {
    let world = world_with("require-console");
    let id = unseen(&world, Instance::new("xen").address("10.0.3.61").without_nitro());
    world.eic(&["sync"]).ok();
    forget(&world, &id);
    assert_eq!(world.ssh(&["xen", "echo $SSH_EIC_INSTANCE"]).ok(), format!("{id}\n"));
    assert_eq!(reads(&world), 2, "the latest, then the snapshot");
}

#[sandbox::needs_namespaces]
#[test]
fn keys_that_were_read_once_stay_valid_after_a_reboot_without_them() {
    let world = world_with("require-console");
    let id = &world.web1;
    update(&world, id, Change { reboot: true, ..Change::default() });
    world.eic(&["sync"]).ok();
    world.ssh(&["prod-web-1", "true"]).ok();
    replace_host_key(&world, id);
    let output = world.ssh(&["-o", "StrictHostKeyChecking=no", "prod-web-1", "true"]);
    output.fails_with(255).says("host identification has changed");
}

#[sandbox::needs_namespaces]
#[test]
fn a_reused_address_is_not_reported_as_a_changed_host_key() {
    let world = world_with("require-console");
    world.ssh(&["prod-web-1", "true"]).ok();
    world.sandbox.remove(&world.web1).unwrap();
    let id = unseen(&world, Instance::new("prod-web-9").address("10.0.3.7"));
    world.eic(&["sync"]).ok();
    let output = world.ssh(&["prod-web-9", "echo $SSH_EIC_INSTANCE"]);
    assert_eq!(output.ok(), format!("{id}\n"));
    assert!(!output.stderr.contains("Permanently added"), "{output}");
    assert_eq!(lines_of(&world, "known_hosts.console", &world.web1), Vec::<String>::new(), "terminated");
    assert!(!world.eic_folder().join("host-keys").join(&world.web1).exists());
}

#[sandbox::needs_namespaces]
#[test]
fn switching_to_console_removes_the_keys_of_first_use() {
    let world = crate::world::World::new();
    world.ssh(&["prod-web-1", "true"]).ok();
    assert_eq!(lines_of(&world, "known_hosts", &world.web1).len(), 1);
    let world = super::configured(world, "[ssh]\nhost_keys = \"console\"\n");
    assert_eq!(lines_of(&world, "known_hosts", &world.web1), Vec::<String>::new());
    world.ssh(&["prod-web-1", "true"]).ok();
    assert_eq!(lines_of(&world, "known_hosts", &world.web1), Vec::<String>::new());
}
