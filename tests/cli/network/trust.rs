//! Which authorities are trusted, and what is said where none vouches for the one that answers.

use std::time::Duration;

use sandbox::needs_namespaces;

use super::{eic, with};
use crate::world::{CommandOutput, World, run};

/// None of this is worth waiting for: trying again would find the same.
const SOON: Duration = Duration::from_secs(6);

fn login(world: &World, host: &str, environment: &[(&str, &str)]) -> CommandOutput {
    run(with(world.ssh_command(&[host, "true"]), environment))
}

/// The sandbox's own.
pub(super) fn authority(world: &World) -> String {
    world.sandbox.ca().expect("an authority").to_str().expect("a path").to_owned()
}

#[test]
fn a_company_s_own_authority_is_trusted_by_either_variable() {
    let world = World::over_tls();
    login(&world, "prod-web-1", &[("AWS_CA_BUNDLE", &authority(&world))]).ok();
    login(&world, "prod-web-2", &[("-AWS_CA_BUNDLE", ""), ("SSL_CERT_FILE", &authority(&world))]).ok();
    assert_eq!(world.pushes().len(), 2);
}

#[test]
fn the_ca_bundle_of_the_profile_is_trusted_and_the_variable_has_precedence() {
    let world = World::over_tls();
    let config = world.read(".aws/config");
    let with_bundle = |path: &str| {
        let section = "[profile prod]\n";
        assert!(config.contains(section), "{config}");
        world.write(".aws/config", &config.replace(section, &format!("{section}ca_bundle = {path}\n")));
    };
    with_bundle(&authority(&world));
    login(&world, "prod-web-1", &[("-AWS_CA_BUNDLE", "")]).ok();
    run(with(eic(&world, &["sync"]), &[("-AWS_CA_BUNDLE", "")])).ok();
    with_bundle("/nosuch.pem");
    let output = login(&world, "prod-web-2", &[("-AWS_CA_BUNDLE", "")]);
    output.fails_with(255).says("/nosuch.pem").says("ca_bundle in ~/.aws/config");
    login(&world, "prod-web-2", &[]).ok();
}

#[test]
fn aws_ca_bundle_has_precedence_if_both_are_set() {
    let world = World::over_tls();
    login(&world, "prod-web-1", &[("SSL_CERT_FILE", "/etc/passwd")]).ok();
}

#[test]
fn an_untrusted_authority_is_reported_with_the_way_to_trust_it() {
    let world = World::over_tls();
    let output = login(&world, "prod-web-1", &[("-AWS_CA_BUNDLE", "")]);
    output.fails_with(255).says("certificate").says("not trusted").says("AWS_CA_BUNDLE").within(SOON);
    assert_eq!(world.pushes(), []);
}

/// What is said at a connection and at a sync where the bundle is of no use.
fn bundle_is_told(variable: &str, content: Option<&str>, words: &str) {
    let world = World::over_tls();
    if let Some(content) = content {
        world.write("corp.pem", content);
    }
    let path = world.home().join("corp.pem").display().to_string();
    let environment = [("-AWS_CA_BUNDLE", ""), (variable, &path)];
    let output = login(&world, "prod-web-1", &environment);
    output.fails_with(255).says(&path).says(words).says(variable).within(SOON);
    let output = run(with(eic(&world, &["sync"]), &environment));
    output.fails_with(9).says("~/corp.pem").says(words).says(variable).within(SOON);
    assert_eq!(world.sandbox.calls().unwrap(), []);
}

/// What looks like a certificate and is none.
const DAMAGED: &str = "-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n";

#[test]
fn a_missing_bundle_is_named() {
    bundle_is_told("AWS_CA_BUNDLE", None, "no such file or directory");
}

#[test]
fn a_bundle_without_a_certificate_is_named() {
    bundle_is_told("AWS_CA_BUNDLE", Some("corp CA, see the wiki\n"), "corp.pem contains no readable certificate\n");
}

#[test]
fn a_bundle_with_nothing_but_a_damaged_certificate_is_named() {
    bundle_is_told("AWS_CA_BUNDLE", Some(DAMAGED), "corp.pem contains no readable certificate\n");
}

#[test]
fn a_missing_ssl_cert_file_is_named() {
    bundle_is_told("SSL_CERT_FILE", None, "no such file or directory");
}

#[test]
fn an_ssl_cert_file_without_a_certificate_is_named() {
    bundle_is_told("SSL_CERT_FILE", Some(""), "corp.pem contains no readable certificate\n");
}

/// The authority behind a certificate that cannot be read.
fn mixed(world: &World) -> String {
    let authority = std::fs::read_to_string(authority(world)).unwrap();
    world.write("mixed.pem", &format!("{DAMAGED}{authority}"));
    world.home().join("mixed.pem").display().to_string()
}

#[test]
fn a_damaged_certificate_does_not_affect_others() {
    let world = World::over_tls();
    let mixed = mixed(&world);
    login(&world, "prod-web-1", &[("-AWS_CA_BUNDLE", ""), ("SSL_CERT_FILE", &mixed)]).ok();
    login(&world, "prod-web-2", &[("AWS_CA_BUNDLE", &mixed)]).ok();
}

/// Makes a file the system's bundle, in the sandbox's own /etc.
pub(super) fn install_for_the_system(world: &World, bundle: &str) {
    world.own_etc();
    world.sh(&format!("mkdir -p /etc/ssl/certs && cp {bundle} /etc/ssl/certs/ca-certificates.crt")).ok();
}

#[needs_namespaces]
#[test]
fn the_system_s_bundle_is_trusted_whatever_else_is_in_it() {
    let world = World::over_tls();
    install_for_the_system(&world, &authority(&world));
    login(&world, "prod-web-1", &[("-AWS_CA_BUNDLE", "")]).ok();
    install_for_the_system(&world, &mixed(&world));
    login(&world, "prod-web-2", &[("-AWS_CA_BUNDLE", "")]).ok();
}
