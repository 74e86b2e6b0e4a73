//! Keys that are refused, whatever the options on the command line.

use sandbox::{Change, Console, Instance};

use super::{deny, forget, lines_of, reads, replace_host_key, unseen, update, world_with};

const CHANGED: &str = "host identification has changed";

#[sandbox::needs_namespaces]
#[test]
fn a_key_that_is_not_in_the_console_is_refused_under_every_option_and_nothing_is_written() {
    let world = world_with("console");
    let id = &world.web1;
    replace_host_key(&world, id);
    let ways: [&[&str]; 5] = [
        &[],
        &["-o", "StrictHostKeyChecking=no"],
        &["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"],
        &["-o", "StrictHostKeyChecking=no", "-o", "ControlMaster=auto", "-o", "ControlPersist=5"],
        &["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=written"],
    ];
    for first_contact in [true, false] {
        for options in ways {
            if first_contact {
                forget(&world, id);
            }
            let output = world.ssh(&[options, &["prod-web-1", "true"]].concat());
            output.fails_with(255).says(CHANGED).says("the instance's console output lists SHA256:");
            assert!(!output.stderr.contains("Permanently added"), "{output}");
            assert_eq!(lines_of(&world, "known_hosts", id), Vec::<String>::new());
            assert_eq!(lines_of(&world, "known_hosts.console", id).len(), 1, "{output}");
            assert!(!world.home().join("written").exists());
        }
    }
}

#[sandbox::needs_namespaces]
#[test]
fn another_key_is_refused_behind_a_jump_host() {
    let world = world_with("console");
    assert_eq!(
        world.ssh(&["-J", "prod-web-2", "prod-web-1", "echo $SSH_EIC_INSTANCE"]).ok(),
        format!("{}\n", world.web1)
    );
    replace_host_key(&world, &world.web1);
    for first_contact in [true, false] {
        if first_contact {
            forget(&world, &world.web1);
        }
        let output = world.ssh(&["-J", "prod-web-2", "prod-web-1", "true"]);
        output.fails_with(255).says("REMOTE HOST IDENTIFICATION HAS CHANGED");
        assert_eq!(lines_of(&world, "known_hosts", &world.web1), Vec::<String>::new());
    }
    // The jump host itself is checked by our proxy.
    replace_host_key(&world, &world.web2);
    world
        .ssh(&["-J", "prod-web-2", "-o", "StrictHostKeyChecking=no", "prod-web-1", "true"])
        .fails_with(255)
        .says(CHANGED);
}

#[sandbox::needs_namespaces]
#[test]
fn a_key_type_that_the_console_does_not_list_is_refused() {
    let world = world_with("console");
    let id = unseen(&world, Instance::new("types").address("10.0.3.60").host_key_types(&["ed25519", "rsa"]));
    world.sandbox.warm().unwrap();
    let keys = world.sandbox.host_keys(&id);
    let rsa = keys.lines().find(|line| line.starts_with("ssh-rsa ")).expect("an RSA key");
    let output = format!("-----BEGIN SSH HOST KEY KEYS-----\r\n{rsa}\r\n-----END SSH HOST KEY KEYS-----\r\n");
    update(&world, &id, Change { console_output: Some(output.into()), ..Change::default() });
    world.eic(&["sync"]).ok();
    let output = world.ssh(&["-o", "HostKeyAlgorithms=ssh-ed25519", "-o", "StrictHostKeyChecking=no", "types", "true"]);
    output.fails_with(255).says(CHANGED).says("lists only RSA SHA256:");
    // ssh prefers the type that is listed.
    world.ssh(&["types", "true"]).ok();
}

#[sandbox::needs_namespaces]
#[test]
fn a_denied_console_is_not_treated_as_one_without_keys() {
    for mode in ["console", "require-console"] {
        let world = world_with(mode);
        forget(&world, &world.web1);
        deny(&world, &["GetConsoleOutput"]);
        let output = world.ssh(&["-o", "StrictHostKeyChecking=no", "prod-web-1", "true"]);
        output.fails_with(255).says("AWS denies ec2:GetConsoleOutput").says("ssh-eic policy");
        assert_eq!(lines_of(&world, "known_hosts", &world.web1), Vec::<String>::new());
        // Denied is no record: the next connection asks again.
        deny(&world, &[]);
        world.ssh(&["prod-web-1", "true"]).ok();
        assert!(reads(&world) >= 2);
    }
}

#[sandbox::needs_namespaces]
#[test]
fn require_console_refuses_a_host_whose_console_has_no_keys() {
    let world = world_with("require-console");
    let id = &world.web1;
    for (console, words) in [(Console::Silent, "lists no host keys"), (Console::Empty, "has no console output yet")] {
        update(&world, id, Change { console: Some(console), ..Change::default() });
        forget(&world, id);
        world.ssh(&["-o", "StrictHostKeyChecking=no", "prod-web-1", "true"]).fails_with(255).says(words);
    }
    update(&world, id, Change { console: Some(Console::Keys), ..Change::default() });
    let output = world.ssh(&["prod-web-1", "echo $SSH_EIC_INSTANCE"]);
    assert_eq!(output.ok(), format!("{id}\n"));
}
