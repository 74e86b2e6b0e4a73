//! `ssh-eic logout`.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use crate::world::{World, run};

#[test]
fn keys_and_credentials_are_gone_and_an_open_session_goes_on() {
    let world = World::new();
    let config = "[profile assumed]\nrole_arn = arn:aws:iam::111122223333:role/ssh\nsource_profile = prod\n\
                  region = eu-west-1\n";
    let aws = world.read(".aws/config") + config;
    world.write(".aws/config", &aws);
    world.write(".config/ssh-eic/config.toml", "[[source]]\nprofile = \"assumed\"\nregions = [\"eu-west-1\"]\n");
    world.eic(&["sync"]).ok();
    let mut session = world.ssh_command(&["prod-web-1", "echo in; read line; echo got $line"]);
    let mut session = session.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(session.stdout.take().unwrap()).lines();
    assert_eq!(said.next().unwrap().unwrap(), "in");
    let key = world.eic_folder().join("keys").join(&world.web1);
    assert!(key.exists());
    let kept = || {
        std::fs::read_dir(world.home().join(".cache/ssh-eic/credentials"))
            .unwrap()
            .flatten()
            .filter(|e| e.path().extension().is_some_and(|extension| extension == "json"))
            .count()
    };
    assert_eq!(kept(), 1);
    let output = world.eic(&["logout"]);
    output.ok();
    let removed = "ssh-eic: removed 1 set of temporary credentials and 1 key; open sessions continue\n";
    assert_eq!(
        output.stderr,
        format!("{removed}ssh-eic: hint: aws sso logout also ends the session of IAM Identity Center\n")
    );
    assert!(!key.exists());
    assert_eq!(kept(), 0);
    session.stdin.take().unwrap().write_all(b"on\n").unwrap();
    assert_eq!(said.next().unwrap().unwrap(), "got on");
    session.wait().unwrap();
    world.sandbox.clear_calls().unwrap();
    world.ssh(&["prod-web-1", "true"]).ok();
    let calls: Vec<String> = world.sandbox.calls().unwrap().into_iter().map(|call| call.action).collect();
    assert_eq!(calls, ["AssumeRole", "SendSSHPublicKey"], "everything is fetched and pushed anew");
}

#[test]
fn with_nothing_to_remove_it_reports_that() {
    let world = World::new();
    world.eic(&["logout"]).says("ssh-eic: nothing to remove: no temporary credentials and no keys\n").ok();
    World::bare().eic(&["logout"]).ok();
}

#[test]
fn credentials_in_a_cache_folder_that_only_one_environment_names_are_removed() {
    let world = World::new();
    let aws = world.read(".aws/config")
        + "[profile assumed]\nrole_arn = arn:aws:iam::111122223333:role/ssh\nsource_profile = prod\n\
           region = eu-west-1\n";
    world.write(".aws/config", &aws);
    world.write(".config/ssh-eic/config.toml", "[[source]]\nprofile = \"assumed\"\nregions = [\"eu-west-1\"]\n");
    let other = world.home().join("other cache");
    let sync = |cache: Option<&std::path::Path>| {
        let mut command = world.sandbox.command("ssh-eic");
        command.arg("sync");
        if let Some(cache) = cache {
            command.env("XDG_CACHE_HOME", cache);
        }
        run(command).ok();
    };
    let kept = |cache: &std::path::Path| {
        let files = std::fs::read_dir(cache.join("ssh-eic/credentials")).into_iter().flatten().flatten();
        files.filter(|file| file.path().extension().is_some_and(|extension| extension == "json")).count()
    };
    // Written with the variable, removed without it.
    sync(Some(&other));
    assert_eq!(kept(&other), 1);
    world.eic(&["logout"]).ok();
    assert_eq!(kept(&other), 0);
    // Written without it, removed with it.
    sync(None);
    let usual = world.home().join(".cache");
    assert_eq!(kept(&usual), 1);
    let mut logout = world.sandbox.command("ssh-eic");
    logout.arg("logout").env("XDG_CACHE_HOME", &other);
    run(logout).ok();
    assert_eq!(kept(&usual), 0);
}
