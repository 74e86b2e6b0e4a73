//! Routes other than a direct connection, with the real ssh: through an EC2 Instance Connect Endpoint, through a jump
//! host, and `auto`.

mod auto;
mod endpoint;
mod endpoint_errors;
mod jump;
mod load;
mod session_load;
mod session_manager;

use sandbox::{Endpoint, Switches, Tunnel, TunnelSwitches};

use crate::world::World;

/// A world with TLS and an endpoint whose hosts all have this route. Only for tests with namespaces: the names of endpoints
/// resolve only there.
fn world(route: &str) -> World {
    let world = World::over_tls();
    world.sandbox.add_endpoint(Endpoint::default()).unwrap();
    set_route(&world, route, "");
    world
}

/// Sets the route of all hosts, with further lines for `[defaults]`.
fn set_route(world: &World, route: &str, more: &str) {
    let path = ".config/ssh-eic/config.toml";
    let config = world.read(path);
    let config = config.split("\n[defaults]").next().unwrap();
    world.write(
        path,
        &format!("{config}\n[defaults]\nroute = \"{route}\"\n{more}\n[limits]\nconnect_timeout = \"1m\"\n"),
    );
    world.eic(&["sync"]).ok();
    world.sandbox.clear_calls().unwrap();
}

fn switch(world: &World, tunnels: TunnelSwitches) {
    world.sandbox.switches(Switches { tunnels: Some(tunnels), ..Switches::default() }).unwrap();
}

fn tunnels(world: &World) -> Vec<Tunnel> {
    world.sandbox.tunnels().unwrap()
}

/// Actions that AWS was asked for, sorted.
fn actions(world: &World) -> Vec<String> {
    let mut actions: Vec<String> = world.sandbox.calls().unwrap().into_iter().map(|call| call.action).collect();
    actions.sort();
    actions
}
