//! Clients that read `known_hosts` before they start a proxy.

use super::{forget, lines_of, replace_host_key, world_with};
use crate::clients::python::{ASYNCSSH, PARAMIKO, python, python_with};

#[sandbox::needs_namespaces]
#[test]
fn asyncssh_verifies_the_host_key_at_the_first_login() {
    let Some(python3) = python_with("asyncssh") else { return };
    let world = world_with("require-console");
    world.eic(&["sync", "--output", "only.conf"]).ok();
    forget(&world, &world.web1);
    let strict = || python(&world, python3, ASYNCSSH, &["only.conf", "prod-web-1", "strict"]);
    assert_eq!(strict().ok(), format!("{}\nthere and back\n", world.web1));
    assert_eq!(lines_of(&world, "known_hosts.console", &world.web1).len(), 1);
    replace_host_key(&world, &world.web1);
    strict().fails_with(1).says("host identification has changed");
}

#[sandbox::needs_namespaces]
#[test]
fn without_an_index_asyncssh_has_the_console_s_key_after_one_login_with_ssh() {
    let Some(python3) = python_with("asyncssh") else { return };
    let world = world_with("require-console");
    world.eic(&["sync", "--output", "only.conf"]).ok();
    world.eic(&["remove", "--all"]).ok();
    let strict = || python(&world, python3, ASYNCSSH, &["only.conf", "prod-web-1", "strict"]);
    strict().fails_with(1).says("Host key is not trusted");
    let login = world.run("ssh", &["-F", "only.conf", "prod-web-1", "true"]);
    login.ok();
    assert!(!login.stderr.contains("Permanently added"), "{login}");
    assert_eq!(strict().ok(), format!("{}\nthere and back\n", world.web1));
    replace_host_key(&world, &world.web1);
    strict().fails_with(1).says("host identification has changed");
}

#[sandbox::needs_namespaces]
#[test]
fn paramiko_only_accepts_the_host_key_of_the_console() {
    let Some(python3) = python_with("paramiko") else { return };
    let world = world_with("console");
    world.eic(&["sync", "--output", "only.conf"]).ok();
    forget(&world, &world.web1);
    let output = python(&world, python3, PARAMIKO, &["only.conf", "prod-web-1"]);
    assert_eq!(output.ok(), format!("{}\nthere and back\n", world.web1));
    replace_host_key(&world, &world.web1);
    python(&world, python3, PARAMIKO, &["only.conf", "prod-web-1"])
        .fails_with(1)
        .says("host identification has changed");
}
