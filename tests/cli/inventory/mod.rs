//! `ssh-eic inventory`, read by the real Ansible: what it lists here, connections in `playbooks`, containers in
//! `container`.

use std::path::{Path, PathBuf};

use sandbox::{Instance, Network, State};
use serde_json::{Value, json};

use crate::sources::configure;
use crate::world::{CommandOutput, World, binary, run};

mod container;
mod playbooks;

/// The example that is shipped.
fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib/ansible")
}

/// Whether all of these commands are there; a test that needs them is skipped elsewhere, never under CI.
pub(crate) fn has(world: &World, commands: &[&str]) -> bool {
    let missing = commands.iter().find(|command| world.sh(&format!("command -v {command}")).code != Some(0));
    assert!(missing.is_none() || std::env::var_os("CI").is_none(), "{missing:?} is missing: tests/run installs it");
    missing.is_none()
}

/// A world in which Ansible reaches hosts by plain ssh; none where there is no Ansible.
fn world_for_ansible() -> Option<World> {
    let world = World::new();
    // Many processes of Python's at once are slow on a small machine, which is not what these tests are about.
    let config = world.read(".config/ssh-eic/config.toml") + "\n[limits]\nconnect_timeout = \"60s\"\n";
    configure(&world, &config);
    has(&world, &["ansible", "ansible-inventory", "sudo", "rsync"]).then_some(world)
}

/// Runs a program of Ansible's with the example's settings.
pub(crate) fn ansible(world: &World, program: &str, args: &[&str]) -> CommandOutput {
    let mut command = world.sandbox.command(program);
    command
        .args(args)
        .env("ANSIBLE_TIMEOUT", "60")
        .env("ANSIBLE_CONFIG", example().join("ansible.cfg"))
        .env("ANSIBLE_COLLECTIONS_PATH", collections());
    run(command)
}

/// Where tests/run puts the collection that has `synchronize`, and where Ansible looks anyway.
fn collections() -> String {
    let ours = binary().ancestors().nth(2).expect("the target folder").join("ansible");
    format!("{}:/usr/share/ansible/collections", ours.display())
}

fn list(world: &World, flags: &[&str]) -> Value {
    serde_json::from_str(world.eic(&[&["inventory", "--list"], flags].concat()).ok()).unwrap()
}

fn names(list: &Value) -> Vec<String> {
    list["_meta"]["hostvars"].as_object().unwrap().keys().cloned().collect()
}

/// An instance that is off: nothing answers at its address.
fn stopped(name: &str) -> Instance {
    Instance::new(name).address("10.0.9.4").state(State::Stopped).network(Network::Blackhole)
}

#[test]
fn it_lists_running_hosts_with_what_is_known_of_them() {
    let world = World::new();
    let id = world.add(Instance::new("Web 1").tag("Role", "web").address("10.0.4.1").public_address("198.51.100.7"));
    world.add(stopped("off"));
    let listed = list(&world, &[]);
    assert_eq!(names(&listed), ["prod-web-1", "prod-web-2", "web-1"]);
    let mut vars = listed["_meta"]["hostvars"]["web-1"].clone();
    assert!(vars["ssh_eic_launched"].take().as_i64().is_some_and(|seconds| seconds > 1_700_000_000));
    assert!(vars["ssh_eic_port"].take().is_u64());
    let expected = json!({
        "ssh_eic_account": "111122223333",
        "ssh_eic_address": vars["ssh_eic_address"],
        "ssh_eic_alias": "web-1",
        "ssh_eic_az": "eu-west-1a",
        "ssh_eic_dns": vars["ssh_eic_dns"],
        "ssh_eic_id": id,
        "ssh_eic_image": sandbox::AMAZON_LINUX,
        "ssh_eic_launched": null,
        "ssh_eic_names": ["Web-1"],
        "ssh_eic_port": null,
        "ssh_eic_private_ip": vars["ssh_eic_address"],
        "ssh_eic_public_ip": "198.51.100.7",
        "ssh_eic_region": "eu-west-1",
        "ssh_eic_source": "prod",
        "ssh_eic_state": "running",
        "ssh_eic_tags": vars["ssh_eic_tags"],
        "ssh_eic_user": "ec2-user",
        "ssh_eic_vpc": "vpc-0aaaabbbbccccdddd",
    });
    assert_eq!(vars, expected, "nothing else, above all no ansible_host");
    assert_eq!((&vars["ssh_eic_tags"]["Name"], &vars["ssh_eic_tags"]["Role"]), (&json!("Web 1"), &json!("web")));
}

#[test]
fn stopped_hosts_are_listed_on_request() {
    let world = World::new();
    let id = world.add(stopped("off"));
    let all = list(&world, &["--all-states"]);
    assert_eq!(all["state_stopped"]["hosts"], json!(["off"]));
    assert_eq!(names(&all), ["off", "prod-web-1", "prod-web-2"]);
    assert_eq!(list(&world, &[]).get("state_stopped"), None);
    for name in ["off", &id] {
        let output = world.eic(&["inventory", "--host", name]);
        let vars: Value = serde_json::from_str(output.ok()).unwrap();
        assert_eq!((&vars, &vars["ssh_eic_state"]), (&all["_meta"]["hostvars"]["off"], &json!("stopped")));
    }
}

#[test]
fn unsupported_requests_are_rejected_with_a_message() {
    let world = World::new();
    world.eic(&["inventory", "--host", "nobody"]).fails_with(4).says("there is no managed host \"nobody\"");
    world.eic(&["inventory"]).fails_with(2).says("--list");
    world.eic(&["inventory", "--list", "--host", "prod-web-1"]).fails_with(2);
    World::bare().eic(&["inventory", "--list"]).fails_with(4).says("hint: ssh-eic sync");
}

#[test]
fn hosts_have_the_names_that_ssh_uses() {
    let world = World::new();
    configure(&world, "[ssh]\nhosts = [\"*-1\"]\n[[source]]\nprofile = \"prod\"\n");
    world.eic(&["sync"]).ok();
    let mut expected = vec!["prod-web-1".to_owned(), world.web2.clone()];
    expected.sort();
    assert_eq!(names(&list(&world, &[])), expected);
}

#[sandbox::needs_namespaces]
#[test]
fn ansible_reads_the_groups() {
    let Some(world) = world_for_ansible() else { return };
    world.sandbox.remove(&world.web2).unwrap();
    let tags = Instance::new("a").tag("cost center", "4711/a").tag("Ünï", "").tag("Role", "web").address("10.0.4.1");
    world.sandbox.add(tags).unwrap();
    world.eic(&["-q", "sync"]).ok();
    let graph = ansible(&world, "ansible-inventory", &["--graph"]);
    let both = |group: &str| format!("  |--@{group}:\n  |  |--a\n  |  |--prod-web-1\n");
    let one = |group: &str, host: &str| format!("  |--@{group}:\n  |  |--{host}\n");
    let expected = [
        "@all:\n  |--@ungrouped:\n".to_owned(),
        both("account_111122223333"),
        both("az_eu_west_1a"),
        both("region_eu_west_1"),
        both("source_prod"),
        both("state_running"),
        one("tag_Name_a", "a"),
        one("tag_Name_prod_web_1", "prod-web-1"),
        one("tag_Role_web", "a"),
        one("tag__n__", "a"),
        one("tag_cost_center_4711_a", "a"),
        both("vpc_0aaaabbbbccccdddd"),
    ];
    assert_eq!(graph.ok(), expected.concat());
    assert!(!graph.stderr.contains("WARNING"), "{graph}");
}

#[sandbox::needs_namespaces]
#[test]
fn no_host_is_treated_as_a_group() {
    let Some(world) = world_for_ansible() else { return };
    let names = ["all", "ungrouped", "state_running", "tag_role_web"];
    let instances = names.map(|name| Instance::new(name).tag("role", "web"));
    let ids = world.sandbox.add_many(instances.into()).unwrap();
    world.eic(&["-q", "sync"]).ok();
    let output = ansible(&world, "ansible-inventory", &["--list"]);
    let listed: Value = serde_json::from_str(output.ok()).unwrap();
    assert!(!output.stderr.contains("WARNING"), "{output}");
    let mut expected = ids.clone();
    expected.sort();
    assert_eq!(listed["tag_role_web"]["hosts"], json!(expected));
    for (name, id) in names.iter().zip(&ids) {
        assert_eq!(listed["_meta"]["hostvars"][id]["ssh_eic_alias"], *name);
    }
}

#[sandbox::needs_namespaces]
#[test]
fn no_tag_is_ever_evaluated() {
    let Some(world) = world_for_ansible() else { return };
    let trace = |name: &str| world.home().join(name);
    let evil = |name: &str| format!("{{{{ lookup('pipe', 'touch {}') }}}}", trace(name).display());
    // What is not marked is evaluated: this would show.
    world.write("unmarked.yml", &json!({ "all": { "hosts": { "x": { "tag": evil("by-control") } } } }).to_string());
    let local = ["-c", "local", "-m", "debug"];
    ansible(&world, "ansible", &[&["-i", "unmarked.yml", "x", "-a", "var=tag"], &local[..]].concat()).ok();
    assert!(trace("by-control").exists());

    let instance = Instance::new("evil")
        .tag("Value", evil("by-value"))
        .tag(evil("by-key"), "x")
        .tag("Statement", "{% for x in [1] %}{{ x }}{% endfor %}{# c #}")
        .tag("__ansible_unsafe", "instead of all tags")
        .tag("__ansible_vault", "instead of all tags");
    world.add(instance);
    for message in
        ["var=ssh_eic_tags", "msg={{ ssh_eic_tags.Value }}{{ ssh_eic_tags.Statement }}", "msg={{ hostvars }}"]
    {
        let output = ansible(&world, "ansible", &[&["evil", "-a", message], &local[..]].concat());
        assert!(output.ok().contains("lookup('pipe'") && output.stdout.contains("{% for x in [1] %}"), "{output}");
    }
    let play = json!([{
        "hosts": "evil",
        "connection": "local",
        "gather_facts": false,
        "tasks": [{
            "debug": { "msg": "{{ item.key }} is {{ item.value }}" },
            "loop": "{{ ssh_eic_tags | dict2items }}",
        }],
    }]);
    world.write("loop.yml", &play.to_string());
    let output = ansible(&world, "ansible-playbook", &["loop.yml"]);
    assert!(output.ok().contains("Name is evil") && output.stdout.contains("Value is {{ lookup('pipe'"), "{output}");
    for name in ["by-value", "by-key"] {
        assert!(!trace(name).exists(), "{name}");
    }
}
