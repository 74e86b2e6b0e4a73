//! `host_keys = "console"` and `"require-console"` with the real ssh: which host keys are accepted, and what is written.

mod clients;
mod company;
mod consoles;
mod refused;
mod syncs;

use std::fs;

use sandbox::{Change, Instance, Switches};

use crate::world::World;

/// A world whose source has this mode, with the config lines behind it.
pub(crate) fn world_with(mode: &str) -> World {
    configured(World::new(), &format!("[ssh]\nhost_keys = \"{mode}\"\n"))
}

/// Adds lines to the config, and syncs.
pub(crate) fn configured(world: World, lines: &str) -> World {
    let path = ".config/ssh-eic/config.toml";
    let config = world.read(path).replacen("[ssh]\n", lines, 1);
    let config = if config.contains(lines) { config } else { config + "\n" + lines };
    world.write(path, &config);
    world.eic(&["sync"]).ok();
    world.sandbox.clear_calls().unwrap();
    world
}

/// Adds an instance without a sync.
fn unseen(world: &World, instance: Instance) -> String {
    world.sandbox.add(instance).unwrap()
}

pub(crate) fn update(world: &World, id: &str, change: Change) {
    world.sandbox.update(id, change).unwrap();
}

/// Gives the instance another host key than the one in its console output.
fn replace_host_key(world: &World, id: &str) {
    update(world, id, Change { new_host_key: true, ..Change::default() });
}

pub(crate) fn deny(world: &World, actions: &[&str]) {
    let deny = Some(actions.iter().map(ToString::to_string).collect());
    world.sandbox.switches(Switches { deny, ..Switches::default() }).unwrap();
}

fn reads(world: &World) -> usize {
    world.sandbox.calls_of("GetConsoleOutput").unwrap().len()
}

/// The lines of a file in the folder of ssh-eic that begin with the instance's id.
pub(crate) fn lines_of(world: &World, file: &str, id: &str) -> Vec<String> {
    let text = fs::read_to_string(world.eic_folder().join(file)).unwrap_or_default();
    text.lines().filter(|line| line.starts_with(id)).map(str::to_owned).collect()
}

/// Removes what a sync has read of an instance, so that the next connection is the first contact.
pub(crate) fn forget(world: &World, id: &str) {
    for file in [format!("host-keys/{id}"), format!("host-keys/{id}.accepted"), "known_hosts.console".to_owned()] {
        let _ = fs::remove_file(world.eic_folder().join(file));
    }
    world.sandbox.clear_calls().unwrap();
}
