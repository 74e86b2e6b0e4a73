//! Routes and host key modes in what `sync`, `inventory`, `list` and `push` write.

use sandbox::Instance;
use serde_json::Value;

use crate::sources::configure;
use crate::world::World;

const CONFIG: &str = "[[source]]
name = \"prod\"
profile = \"prod\"
route = \"endpoint\"
max_tunnel_duration = \"30m\"

[[host]]
match = \"prod-web-2\"
route = \"jump:ops@bastion\"
host_keys = \"console\"
";
const TUNNEL: &str = "--route endpoint --max-tunnel-duration 30m";
const JUMP: &str = "--route jump:ops@bastion --max-tunnel-duration 30m --host-keys console";

/// A world with [`CONFIG`].
fn world() -> World {
    let world = World::new();
    use_routes(&world);
    world
}

fn use_routes(world: &World) {
    configure(world, CONFIG);
    world.eic(&["sync"]).ok();
}

/// The ProxyCommand that ssh uses for a host.
fn proxy_command(world: &World, host: &str) -> String {
    let output = world.ssh(&["-G", host]);
    let line = output.ok().lines().find_map(|line| line.strip_prefix("proxycommand "));
    line.unwrap_or_else(|| panic!("no ProxyCommand for {host}")).to_owned()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn ssh_runs_the_proxy_with_the_route_of_the_source_or_of_a_host() {
    let world = World::new();
    let place = "--region eu-west-1 --source prod --default-user ec2-user";
    let plain = proxy_command(&world, "prod-web-1");
    assert!(plain.contains(&format!(" proxy {place} -- ")), "{plain}");
    configure(&world, CONFIG);
    let diff = world.eic(&["sync", "--diff=text"]);
    diff.fails_with(1);
    let is_changed = |sign: char, flags: &str| {
        let command = format!(" proxy {place}{flags} -- ");
        diff.stdout.lines().any(|line| line.starts_with(sign) && line.contains(&command))
    };
    assert!(is_changed('+', &format!(" {TUNNEL}")) && is_changed('+', &format!(" {JUMP}")), "{diff}");
    assert_eq!(proxy_command(&world, "prod-web-1"), plain, "a diff writes nothing");
    world.eic(&["sync"]).ok();
    assert_eq!(proxy_command(&world, "prod-web-1"), plain.replace(place, &format!("{place} {TUNNEL}")));
    assert_eq!(proxy_command(&world, "prod-web-2"), plain.replace(place, &format!("{place} {JUMP}")));
    let id = proxy_command(&world, &world.web1);
    assert!(!id.contains("--route") && !id.contains("--source"), "an id's route is not in the config: {id}");
    world.eic(&["sync", "--diff"]).ok();
    configure(&world, "[[source]]\nname = \"prod\"\nprofile = \"prod\"\n");
    world.eic(&["sync"]).ok();
    assert_eq!(proxy_command(&world, "prod-web-1"), plain);
}

#[test]
fn self_contained_configs_and_inventories_have_the_flags_too() {
    let world = world();
    world.eic(&["sync", "--output", "only.conf"]).ok();
    let inventory: Value =
        serde_json::from_str(world.eic(&["inventory", "--list", "--self-contained"]).ok()).expect("JSON");
    for (host, flags) in [("prod-web-1", TUNNEL), ("prod-web-2", JUMP)] {
        let output = world.run("ssh", &["-F", "only.conf", "-G", host]);
        let command = output.ok().lines().find(|line| line.starts_with("proxycommand ")).expect("a ProxyCommand");
        assert!(command.contains(&format!(" {flags} -- i-")), "{command}");
        let vars = inventory["_meta"]["hostvars"][host].to_string();
        assert!(vars.contains(&format!(" {flags} -- i-")), "{vars}");
    }
}

#[test]
fn list_shows_routes_where_not_all_hosts_are_direct() {
    let world = World::new();
    assert!(!world.eic(&["list"]).ok().contains("ROUTE"));
    use_routes(&world);
    let table = world.eic(&["list"]);
    let routes: Vec<_> = table.ok().lines().map(|line| line.split_whitespace().nth(5).unwrap()).collect();
    assert_eq!(routes, ["ROUTE", "endpoint", "jump:ops@bastion"], "{table}");
    let json: Value = serde_json::from_str(world.eic(&["list", "--json"]).ok()).expect("JSON");
    let of = |row: &Value| [row["route"].clone(), row["host_keys"].clone(), row["subnet"].clone()];
    let subnet = "subnet-0aaaabbbbccccdddd";
    assert_eq!(of(&json[0]), ["endpoint", "accept-new", subnet]);
    assert_eq!(of(&json[1]), ["jump:ops@bastion", "console", subnet]);
}

#[test]
fn push_needs_no_network_path_and_logs_the_route() {
    let world = world();
    world.eic(&["push", "prod-web-1"]).ok();
    world.eic(&["push", "prod-web-2"]).ok();
    let unindexed = world.sandbox.add(Instance::new("new").address("10.0.4.1")).unwrap();
    world.eic(&["push", &unindexed]).ok();
    let log = lines(&world.read(".local/state/ssh-eic/pushes.jsonl"));
    let routes: Vec<_> = log.iter().map(|line| line["route"].as_str().unwrap()).collect();
    assert_eq!(routes, ["endpoint", "jump:ops@bastion", "endpoint"], "{log:#?}");
}

#[test]
fn flags_of_the_proxy_are_checked() {
    let world = World::bare();
    for (flag, value, words) in [
        ("--route", "vpn", "\"vpn\" is not a route; one of direct, endpoint, ssm, auto, jump:HOST"),
        ("--route", "jump:-oProxyCommand=id", "is not a host name"),
        ("--max-tunnel-duration", "2h", "write a time from 1s to 1h, such as 30m"),
        ("--host-keys", "ask", "write"),
    ] {
        let args = ["proxy", &format!("{flag}={value}"), "--", "i-0abc12de", "10.0.3.7", "22", "u"];
        world.eic(&args).fails_with(2).says(words);
    }
}
