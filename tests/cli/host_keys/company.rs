//! `known_hosts` files of a company: keys, `@cert-authority` and `@revoked`.

use sandbox::{Change, Console, HostCertificate, Instance};

use super::{configured, deny, forget, unseen, update};
use crate::world::{World, can_have_namespaces};

/// A world with a company's file, under `require-console`.
fn world_with_file() -> World {
    let world = World::new();
    world.write("company", "");
    let file = world.home().join("company");
    let lines = format!("[ssh]\nhost_keys = \"require-console\"\nknown_hosts = [{:?}]\n", file.display().to_string());
    configured(world, &lines)
}

#[test]
fn a_key_in_the_company_s_file_needs_no_console() {
    if !can_have_namespaces() {
        return;
    }
    let world = world_with_file();
    let id = &world.web1;
    world.sandbox.warm().unwrap();
    let key = world.sandbox.host_keys(id);
    update(&world, id, Change { console: Some(Console::Silent), ..Change::default() });
    forget(&world, id);
    world.ssh(&["prod-web-1", "true"]).fails_with(255).says("cannot verify the ED25519 host key");
    world.write("company", &format!("{id} {key}"));
    world.ssh(&["prod-web-1", "true"]).ok();
    deny(&world, &["GetConsoleOutput"]);
    forget(&world, id);
    world.ssh(&["prod-web-1", "true"]).ok();
    world.write("company", &format!("{id} {key}@revoked * {key}"));
    let output =
        world.ssh(&["-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no", "prod-web-1", "true"]);
    output.fails_with(255).says("company:2 revokes");
}

#[test]
fn a_certificate_is_valid_for_the_instance_that_it_names() {
    if !can_have_namespaces() {
        return;
    }
    let world = world_with_file();
    let name = "certified";
    let id = unseen(&world, Instance::new(name).address("10.0.3.62").console(Console::Silent));
    world.write("company", &format!("@cert-authority * {}\n", world.sandbox.host_ca().unwrap().trim_end()));
    let set = |principals: &[&str]| {
        let certificate = Some(HostCertificate::new(principals));
        update(&world, &id, Change { host_certificate: certificate, ..Change::default() });
        forget(&world, &id);
    };
    set(&[&id]);
    world.eic(&["sync"]).ok();
    let output = world.ssh(&[name, "echo $SSH_EIC_INSTANCE"]);
    assert_eq!(output.ok(), format!("{id}\n"));
    assert!(!output.stderr.contains("Permanently added"), "{output}");
    set(&[&world.web2, "certified"]);
    let output = world.ssh(&["-o", "StrictHostKeyChecking=no", name, "true"]);
    output.fails_with(255).says("host certificate that is not valid for it").says("its certificate is for ");
}
