//! Where the only way out is the company's proxy: calls to AWS take it, ssh's own stream never does.

use std::time::Duration;

use super::{ConnectProxy, eic, port_of, with};
use crate::world::{CommandOutput, World, run};

/// Password of the proxy's user, and what is sent of both (RFC 7617).
const PASSWORD: &str = "s3cr@t/w0rd";
const IN_A_URL: &str = "alice:s3cr%40t%2Fw0rd@";
const BASIC: &str = "YWxpY2U6czNjckB0L3cwcmQ=";

fn login(world: &World, host: &str, environment: &[(&str, &str)]) -> CommandOutput {
    run(with(world.ssh_command(&[host, "echo $SSH_EIC_INSTANCE"]), environment))
}

/// What the proxy is asked for when AWS is.
fn aws(world: &World) -> String {
    format!("CONNECT 127.0.0.1:{}", port_of(world.sandbox.endpoint()))
}

#[test]
fn aws_is_reached_through_the_proxy_and_the_instance_is_not() {
    let world = World::over_tls();
    let proxy = ConnectProxy::start(&world);
    for (name, host, id) in [("HTTPS_PROXY", "prod-web-1", &world.web1), ("https_proxy", "prod-web-2", &world.web2)] {
        assert_eq!(login(&world, host, &[(name, &proxy.url())]).ok(), format!("{id}\n"), "{name}");
        assert_eq!(proxy.requests(), [(aws(&world), String::new())], "{name}: one call to AWS and nothing else");
        login(&world, host, &[(name, &proxy.url())]).ok();
        assert_eq!(proxy.requests(), [], "{name}: pushed already, so that only ssh's own stream is left");
    }
    run(with(eic(&world, &["sync"]), &[("HTTPS_PROXY", &proxy.url())])).ok();
    assert_eq!(proxy.targets(), [aws(&world)]);
}

#[test]
fn a_proxy_without_a_scheme_uses_http() {
    let world = World::over_tls();
    let proxy = ConnectProxy::start(&world);
    login(&world, "prod-web-1", &[("HTTPS_PROXY", &proxy.address.to_string())]).ok();
    assert_eq!(proxy.targets(), [aws(&world)]);
}

#[test]
fn no_proxy_bypasses_the_proxy() {
    let world = World::over_tls();
    let proxy = ConnectProxy::start(&world);
    let table = [("prod-web-1", "NO_PROXY", "127.0.0.1"), ("prod-web-2", "no_proxy", "example.com, 127.0.0.0/8")];
    for (host, name, value) in table {
        login(&world, host, &[("HTTPS_PROXY", &proxy.url()), (name, value)]).ok();
        assert_eq!(proxy.requests(), [], "{name}={value}");
    }
    assert_eq!(world.pushes().len(), 2);
}

#[test]
fn an_unreachable_proxy_is_reported() {
    let world = World::over_tls();
    let output = login(&world, "prod-web-1", &[("HTTPS_PROXY", "http://127.0.0.1:9")]);
    output.fails_with(255).says("AWS could not be reached in eu-west-1").says("HTTPS_PROXY");
    output.within(Duration::from_secs(20));
    assert_eq!(world.pushes(), []);
}

#[test]
fn a_proxy_that_requires_a_password_is_reported() {
    let world = World::over_tls();
    let proxy = ConnectProxy::refusing(&world, 407);
    let output = login(&world, "prod-web-1", &[("HTTPS_PROXY", &proxy.url())]);
    output.fails_with(255).says("HTTPS_PROXY").says("password");
}

/// Neither in what is said nor in any file that was written.
fn keeps_the_secret(world: &World, output: &CommandOutput) {
    let files = world.sh(&format!("grep -rlF -e '{PASSWORD}' -e '{IN_A_URL}' -e '{BASIC}' . || :"));
    assert_eq!(files.ok(), "", "written down");
    for secret in [PASSWORD, "s3cr", "w0rd", BASIC] {
        assert!(!output.stderr.contains(secret) && !output.stdout.contains(secret), "it tells {secret}\n{output}");
    }
}

#[test]
fn the_password_of_a_proxy_is_sent_to_the_proxy_only() {
    let world = World::over_tls();
    let proxy = ConnectProxy::start(&world);
    let refusing = ConnectProxy::refusing(&world, 407);
    let url = |port: u16| format!("http://{IN_A_URL}127.0.0.1:{port}");
    let talkative = [("SSH_EIC_LOG", "debug"), ("HTTPS_PROXY", &url(proxy.address.port()))];
    let output = login(&world, "prod-web-1", &talkative);
    output.ok();
    output.says("ssh-eic: debug: ");
    assert_eq!(proxy.requests(), [(aws(&world), format!("Basic {BASIC}"))]);
    keeps_the_secret(&world, &output);
    let output = run(with(eic(&world, &["-vv", "sync"]), &talkative));
    output.says("ssh-eic: trace: ").ok();
    keeps_the_secret(&world, &output);
    // Where it goes wrong: a proxy that refuses, and one that is down.
    for port in [refusing.address.port(), 9] {
        let environment = [("SSH_EIC_LOG", "debug"), ("HTTPS_PROXY", &url(port))];
        let output = login(&world, "prod-web-2", &environment);
        output.fails_with(255).says("HTTPS_PROXY").says("ssh-eic: debug: ");
        keeps_the_secret(&world, &output);
    }
    assert_eq!(refusing.requests()[0].1, format!("Basic {BASIC}"));
}
