//! An editor's list of hosts, read by the parser that Visual Studio Code's Remote-SSH reads `ssh_config` with.
//!
//! Not here: what the editor does once a host is chosen (`streams`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use sandbox::Instance;
use serde::Deserialize;

use super::{has, is_skipped, starts};
use crate::layouts::{INLINE, configure, option};
use crate::match_hook::watched;
use crate::world::{World, binary};

/// What the editor makes of one host.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Listed {
    host_name: String,
    user: String,
    port: String,
    proxy_command: String,
}

/// Where tests/run has installed the parser.
fn modules() -> PathBuf {
    binary().ancestors().nth(2).expect("the target folder").join("editor/node_modules")
}

/// The hosts of a config, or none where the parser is not there.
fn listed(world: &World, config: &str) -> Option<BTreeMap<String, Listed>> {
    if !has(world, "node") || is_skipped(modules().join("ssh-config").exists(), "the npm package ssh-config") {
        return None;
    }
    world.write("hosts.cjs", include_str!("../editor/hosts.cjs"));
    let output = world.sh(&format!("NODE_PATH='{}' node hosts.cjs {config}", modules().display()));
    Some(serde_json::from_str(output.ok()).unwrap_or_else(|error| panic!("{error}\n{output}")))
}

/// A fleet with all that makes lines differ, and hosts of the user's own.
fn fleet() -> World {
    let world = watched();
    for instance in [
        Instance::new("prod-ubuntu").user("ubuntu").port(2222).address("10.0.6.1"),
        Instance::new("Billing DB (eu)").address("10.0.6.2"),
        Instance::new("twin").address("10.0.6.3"),
        Instance::new("twin").address("10.0.6.4"),
    ] {
        world.sandbox.add(instance).unwrap();
    }
    world
}

/// Every name is there and leads where ssh would go; no process of ours has been started for it.
fn assert_complete(world: &World, config: &str, when: &str) {
    let names = world.eic(&["list", "--names"]).ok().to_owned();
    world.write("starts", "");
    let Some(listed) = listed(world, config) else { return };
    assert_eq!(starts(world), Vec::<String>::new(), "no process of ours {when}");
    let (names, there): (BTreeSet<&str>, BTreeSet<&str>) =
        (names.lines().collect(), listed.keys().map(String::as_str).collect());
    let lost: Vec<_> = names.difference(&there).collect();
    assert!(names.len() > 5 && lost.is_empty(), "{lost:?} are lost {when}: {there:?}");
    for name in names {
        let output = world.run("ssh", &["-F", config, "-G", name]);
        let ssh = |keyword| option(output.ok(), keyword);
        let found = &listed[name];
        assert_eq!(
            [&found.host_name, &found.user, &found.port],
            [ssh("hostname"), ssh("user"), ssh("port")],
            "{name} {when}"
        );
        assert!(found.proxy_command.contains("ssh-eic' proxy"), "{name} {when}: {found:?}");
    }
}

#[test]
fn an_editor_lists_every_host_in_each_layout_and_runs_nothing() {
    let world = fleet();
    let mine = "Host mine\n    HostName mine.example.com\n    User me\n    Port 22\n    ProxyCommand none\nHost *\n    ServerAliveInterval 30\n";
    world.write(".ssh/config", mine);
    for (more, when) in [("", "in the include layout"), (INLINE, "in the inline layout")] {
        configure(&world, more);
        world.eic(&["sync"]).ok();
        assert_complete(&world, ".ssh/config", when);
        if let Some(listed) = listed(&world, ".ssh/config") {
            assert_eq!(listed["mine"].host_name, "mine.example.com", "{when}");
        }
    }
    world.eic(&["sync", "--output", "only.conf"]).ok();
    assert_complete(&world, "only.conf", "in a file of its own");
}
