//! moto's server as a second AWS: an implementation that is independent of the sandbox, so that a mistake in the sandbox's
//! reading of AWS does not hide the same mistake in the program's. Filters, pages, errors, a push.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use crate::sources::configure;
use crate::world::{CommandOutput, World, binary, run, wait_until};

/// Id and private address.
type Listed = BTreeSet<(String, String)>;

/// Where tests/run has installed moto; none, and the test is skipped, on a machine without it, never under CI.
fn programs() -> Option<PathBuf> {
    let folder = binary().ancestors().nth(2).expect("the target folder").join("moto/bin");
    let is_there = folder.join("moto_server").exists();
    assert!(is_there || std::env::var_os("CI").is_none(), "tests/cli/moto/install installs moto");
    is_there.then_some(folder)
}

/// A server inside of the sandbox, and a home whose requests go to it.
struct Moto {
    world: World,
    server: Child,
    url: String,
    fleet: BTreeMap<String, Vec<(String, String)>>,
}

impl Moto {
    fn start() -> Option<Self> {
        let programs = programs()?;
        let world = World::bare();
        // Free in the network of this process; in the sandbox's own network nothing else has it.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let url = format!("http://127.0.0.1:{port}");
        let mut command = world.sandbox.command(programs.join("moto_server"));
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = command.spawn().expect("moto's server");
        world.write("fleet.py", include_str!("moto/fleet.py"));
        let mut moto = Self { world, server, url, fleet: BTreeMap::new() };
        wait_until("moto does not answer", || {
            moto.world.sh(&format!("exec 3<>/dev/tcp/127.0.0.1/{port}")).code == Some(0)
        });
        let mut command = moto.world.sandbox.command(programs.join("python3"));
        command.args(["fleet.py", &moto.url]).env("AWS_PROFILE", "prod");
        command.current_dir(moto.world.home());
        moto.fleet = serde_json::from_str(run(command).ok()).expect("a fleet");
        Some(moto)
    }

    fn eic(&self, args: &[&str]) -> CommandOutput {
        let mut command = self.world.sandbox.command("ssh-eic");
        command.args(args).env("AWS_ENDPOINT_URL", &self.url);
        run(command)
    }

    /// What a sync with these lines of the source lists.
    fn synced(&self, source: &str) -> Listed {
        configure(
            &self.world,
            &format!("[[source]]\nname = \"prod\"\nprofile = \"prod\"\nregions = [\"eu-west-1\"]\n{source}"),
        );
        self.eic(&["sync"]).ok();
        let output = self.eic(&["list", "--json"]);
        let hosts: Vec<BTreeMap<String, serde_json::Value>> = serde_json::from_str(output.ok()).expect("JSON");
        let text = |host: &BTreeMap<String, serde_json::Value>, key: &str| host[key].as_str().unwrap().to_owned();
        hosts.iter().map(|host| (text(host, "id"), text(host, "address"))).collect()
    }

    fn groups(&self, names: &[&str]) -> Listed {
        names.iter().flat_map(|name| self.fleet[*name].clone()).collect()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
#[serial_test::file_serial(many_processes)]
fn a_second_implementation_of_aws_gives_the_same_results() {
    let Some(moto) = Moto::start() else { return };
    // Pages, and states.
    let all = moto.groups(&["web", "many", "staging", "firewall", "stopped"]);
    assert_eq!(moto.synced(""), all);
    assert_eq!(moto.synced("states = [\"running\"]"), moto.groups(&["web", "many", "staging", "firewall"]));
    // Filters: AND over keys, OR over values, wildcards; and what is left out.
    let prod = "tags = { Environment = \"prod\", Role = [\"web\", \"db-*\"] }";
    assert_eq!(moto.synced(prod), moto.groups(&["web", "firewall", "stopped"]));
    assert_eq!(moto.synced(&format!("{prod}\nexclude = {{ Name = \"*-fw\" }}")), moto.groups(&["web", "stopped"]));
    assert_eq!(moto.synced("tags = { Environment = \"stag?ng\" }"), moto.groups(&["staging"]));
    // A push, by name and by id.
    assert_eq!(moto.synced(prod).len(), 3);
    let id = moto.fleet["web"][0].0.clone();
    for host in ["web", id.as_str()] {
        let output = moto.eic(&["push", host, "--json"]);
        assert!(output.ok().contains(&id), "{output}");
    }
    // Errors: an id that does not exist, and one that is terminated.
    moto.eic(&["push", "i-0123456789abcdef0"]).fails_with(4).says("i-0123456789abcdef0");
    let output = moto.eic(&["list", "--live", &id]);
    assert!(output.ok().contains("web"), "{output}");
}
