//! Who gets which name, from the tags to what ssh does with it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;
use sandbox::{Change, Instance, State};
use ssh_eic::domain::discovery::{self, Fleet, FleetRequest};
use ssh_eic::domain::fleet::{DiscoveredInstance, Instance as Described};
use ssh_eic::domain::ids::{InstanceId, OsUser};
use ssh_eic::domain::names::NameHistory;
use ssh_eic::domain::ssh_config::render::{self, Settings};
use ssh_eic::store::config;

use crate::world::World;

fn config(world: &World, text: &str) {
    world.write(".config/ssh-eic/config.toml", &format!("[[source]]\nprofile = \"prod\"\n{text}\n"));
}

fn names(world: &World) -> String {
    world.eic(&["list", "--names"]).ok().to_owned()
}

#[test]
fn a_shared_name_lists_who_shares_it_and_connects_to_none() {
    let world = World::bare();
    let one = world.sandbox.add(Instance::new("web").address("10.0.4.1")).unwrap();
    let two = world.sandbox.add(Instance::new("Web").address("10.0.4.2")).unwrap();
    config(&world, "");
    world.eic(&["sync"]).ok();
    let suffixed = |id: &str| format!("web-{}", &id[2..8]);
    for id in [&one, &two] {
        assert_eq!(world.ssh(&[&suffixed(id), "echo $SSH_EIC_INSTANCE"]).ok().trim(), id);
    }
    // Also where ssh has thrown our stderr away, and whatever the user's own config would do with such a name.
    let own = world.read(".ssh/config");
    world.write(".ssh/config", &format!("{own}\nHost *\n  ProxyCommand echo elsewhere\n  ControlMaster auto\n  ControlPath ~/.ssh/%C\n  ControlPersist 5\n"));
    for name in ["web", "Web"] {
        let output = world.ssh(&[name, "true"]);
        output.fails_with(255).says("is the name of several instances").says(&suffixed(&one)).says(&suffixed(&two));
    }
    assert_eq!(world.pushes().len(), 2, "{:#?}", world.pushes());
}

#[test]
fn with_newest_the_newest_of_a_group_has_the_name_without_suffix() {
    let world = World::bare();
    let member = |address: &str| Instance::new("asg").tag("aws:autoscaling:groupName", "g").address(address);
    let old = world.sandbox.add(member("10.0.4.1")).unwrap();
    config(&world, "duplicates = \"newest\"");
    world.eic(&["sync"]).ok();
    assert_eq!(world.ssh(&["asg", "echo $SSH_EIC_INSTANCE"]).ok().trim(), old);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let new = world.sandbox.add(member("10.0.4.2")).unwrap();
    world.eic(&["sync"]).says(&format!("asg now means {new} (was {old})\n"));
    assert_eq!(world.ssh(&["asg", "echo $SSH_EIC_INSTANCE"]).ok().trim(), new);
    assert_eq!(world.ssh(&[&format!("asg-{}", &old[2..8]), "echo $SSH_EIC_INSTANCE"]).ok().trim(), old);
}

#[test]
fn a_name_stays_with_its_instance_and_every_move_is_printed() {
    let world = World::new();
    let twin = world.sandbox.add(Instance::new("prod-web-1").address("10.0.4.1")).unwrap();
    world.sandbox.update(&world.web1, Change { state: Some(State::Stopped), ..Change::default() }).unwrap();
    let output = world.eic(&["sync"]);
    assert!(output.ok().is_empty() && !output.stderr.contains("now means"), "{output}");
    let suffixed = format!("prod-web-1-{}", &twin[2..8]);
    assert_eq!(names(&world), format!("prod-web-1\n{suffixed}\nprod-web-2\n"));
    world.sandbox.update(&world.web1, Change { state: Some(State::Terminated), ..Change::default() }).unwrap();
    let output = world.eic(&["sync"]);
    output.says(&format!("prod-web-1 now means {twin} (was {})\n", world.web1));
    // The suffixed name goes on working.
    assert_eq!(names(&world), format!("prod-web-1\n{suffixed}\nprod-web-2\n"));
    assert_eq!(world.ssh(&[&suffixed, "echo $SSH_EIC_INSTANCE"]).ok().trim(), twin);
}

#[test]
fn a_name_moves_to_another_account_only_on_request() {
    let world = World::bare();
    let text = "[[source]]\nprofile = \"prod\"\n[[source]]\nprofile = \"staging\"\n";
    world.write(".config/ssh-eic/config.toml", text);
    world.eic(&["sync"]).ok();
    world.sandbox.remove(&world.web1).unwrap();
    world.eic(&["sync"]).ok();
    let twin = Instance::new("prod-web-1").account(sandbox::STAGING_ACCOUNT).region("us-east-1").address("10.1.0.1");
    let twin = world.sandbox.add(twin).unwrap();
    for _ in 0..2 {
        let output = world.eic(&["sync"]);
        output.says(&format!("prod-web-1 was {} in account 111122223333 and is now the name of {twin} in account 444455556666; connections to prod-web-1 fail\n", world.web1));
        output.says("hint: if this is expected, run ssh-eic sync --accept-moves\n");
        assert_eq!(output.code, Some(0), "{output}");
    }
    let output = world.ssh(&["prod-web-1", "true"]);
    output.fails_with(255).says(&format!("prod-web-1 was {} in account 111122223333", world.web1));
    output.says("ssh-eic sync --accept-moves");
    let output = world.eic(&["sync", "--accept-moves"]);
    output.says(&format!("prod-web-1 now means {twin} of account 444455556666 (was {} of 111122223333)\n", world.web1));
    assert_eq!(world.ssh(&["prod-web-1", "echo $SSH_EIC_INSTANCE"]).ok().trim(), twin);
}

#[test]
fn a_background_rename_is_reported_by_the_next_connection_and_the_next_sync() {
    let world = World::new();
    world.sandbox.update(&world.web2, Change { state: Some(State::Terminated), ..Change::default() }).unwrap();
    let new = world.sandbox.add(Instance::new("prod-web-2").address("10.0.4.1")).unwrap();
    world.eic(&["--quiet", "sync", "--detached"]).ok();
    world.eic(&["--quiet", "sync", "--detached"]).ok();
    let told = format!("prod-web-2 now means {new} (was {}, changed by a background sync)\n", world.web2);
    for _ in 0..2 {
        assert_eq!(world.ssh(&["prod-web-2", "echo $SSH_EIC_INSTANCE"]).says(&told).ok().trim(), new);
    }
    assert!(!world.ssh(&["prod-web-1", "true"]).stderr.contains("now means"));
    let moved = format!("prod-web-2 now means {new} (was {}, changed by a background sync)\n", world.web2);
    world.eic(&["sync"]).says(&moved).ok();
    assert!(!world.eic(&["sync"]).stderr.contains("now means"));
    assert!(!world.ssh(&["prod-web-2", "true"]).stderr.contains("now means"));
}

#[test]
fn a_lost_or_damaged_index_moves_no_name() {
    for damage in ["", "{\"version\":999}\n", "not json\n"] {
        let world = World::bare();
        world.write(
            ".config/ssh-eic/config.toml",
            "[[source]]\nprofile = \"prod\"\n[[source]]\nprofile = \"staging\"\n",
        );
        world.eic(&["sync"]).ok();
        world.sandbox.remove(&world.web1).unwrap();
        let twin =
            Instance::new("prod-web-1").account(sandbox::STAGING_ACCOUNT).region("us-east-1").address("10.1.0.1");
        world.sandbox.add(twin).unwrap();
        world.write(".local/state/ssh-eic/index", damage);
        world.eic(&["sync"]).says("prod-web-1 was ").says("--accept-moves");
        world.ssh(&["prod-web-1", "true"]).fails_with(255);
        world.ssh(&["prod-web-2", "true"]).ok();
    }
    // One line that cannot be read takes nothing else with it.
    let world = World::new();
    let index = world.read(".local/state/ssh-eic/index");
    world.write(".local/state/ssh-eic/index", &index.replacen("\"port\":22", "\"port\":x", 1));
    world.eic(&["list"]).fails_with(9).says("hint: ssh-eic sync");
    world.eic(&["sync"]).says("could not be read; the index is rebuilt").ok();
    assert_eq!(names(&world), "prod-web-1\nprod-web-2\n");
}

#[test]
fn names_that_the_user_can_already_reach_are_not_used() {
    let world = World::bare();
    for (name, address) in [("own", "10.0.4.1"), ("lab-7", "10.0.4.2"), ("known", "10.0.4.3"), ("free", "10.0.4.4")] {
        world.sandbox.add(Instance::new(name).address(address)).unwrap();
    }
    world.write(".ssh/known_hosts", "known ssh-ed25519 AAAA\n");
    world.write(".ssh/conf.d/lab", "Host lab-* !lab-9\n  HostName 192.0.2.9\n");
    world.write(".ssh/config", "Include conf.d/*\nHost own\n  HostName 192.0.2.7\n  User me\n");
    config(&world, "");
    let output = world.eic(&["sync"]);
    let suffixed = |name: &str| {
        let is_it = |alias: &&str| alias.starts_with(&format!("{name}-"));
        names(&world).lines().find(is_it).unwrap_or_else(|| panic!("no {name}-\n{output}")).to_owned()
    };
    for (name, conflict) in [
        ("own", "is your own Host (~/.ssh/config:4)"),
        ("lab-7", "matches your own Host lab-* !lab-9 (~/.ssh/conf.d/lab:1)"),
        ("known", "is in ~/.ssh/known_hosts:1"),
    ] {
        output.says(&format!("ssh-eic: {name} {conflict}; the instance is {}\n", suffixed(name)));
    }
    let own = names(&world);
    assert!(own.lines().any(|name| name == "free") && !own.lines().any(|name| name == "own"), "{own}");
    assert!(own.lines().any(|name| name.starts_with("own-")), "{own}");
    assert!(world.ssh(&["-G", "own"]).ok().contains("hostname 192.0.2.7\n"));
    assert!(world.ssh(&["-G", "lab-7"]).ok().contains("hostname 192.0.2.9\n"));
}

/// Whatever people write into tags: control characters, quotes, patterns, the words of `ssh_config`, other scripts.
fn tag() -> impl Strategy<Value = String> {
    let syntax = "[a-z0-9 \t\n\r\"'\\\\*?!,%#=${}/.;|&<>()`~@^:\\[\\]-]{0,24}";
    prop_oneof![
        any::<String>(),
        syntax,
        "(web|db)(-[0-9]{1,2})?",
        "(Host|Match|Include|ProxyCommand|LocalCommand)[ =\n\t].{0,20}",
        Just("web\nHost *\n  ProxyCommand touch /tmp/x".to_owned()),
        Just("i-0abc12de".to_owned()),
        Just("../../../etc/passwd".to_owned()),
        "\\PC{0,80}",
    ]
}

fn described(id: &str, name: &str, environment: &str, user: &str, port: &str, octet: u8) -> DiscoveredInstance {
    let mut tags = BTreeMap::from([("Name".to_owned(), name.to_owned()), ("Env".to_owned(), environment.to_owned())]);
    for (key, value) in [("ssh-eic:user", user), ("ssh-eic:port", port)] {
        if !value.is_empty() {
            tags.insert(key.to_owned(), value.to_owned());
        }
    }
    let instance = Described {
        id: InstanceId::parse(&format!("i-{id}")).expect("an id"),
        state: "running".to_owned(),
        state_reason: String::new(),
        private_ip: Some(format!("10.1.2.{octet}")),
        ipv6: None,
        public_ip: None,
        az: name.to_owned(),
        vpc: environment.to_owned(),
        subnet: String::new(),
        image: name.to_owned(),
        windows: false,
        launched: 0,
        dns: String::new(),
        tags,
    };
    DiscoveredInstance { source: 0, region: "eu-west-1".to_owned(), account: "111122223333".to_owned(), instance }
}

fn fleet_of(discovered: Vec<DiscoveredInstance>) -> Fleet {
    let config = config::parse("[[source]]\nalias = \"{Env}-{Name}.{az}\"\n", Path::new("c")).expect("a config");
    let request = FleetRequest {
        sources: &config.sources,
        rules: &[],
        image: &|_| None,
        previous: &[],
        history: NameHistory::new(),
        conflict_of: &|_, _| None,
        accept_moves: false,
        now: 1,
    };
    discovery::build(&request, discovered, Vec::new())
}

fn resolved(config: &Path, name: &str) -> BTreeMap<String, String> {
    let output = Command::new("ssh")
        .arg("-F")
        .arg(config)
        .args(["-T", "-G", "--", name])
        .env("SSH_EIC_HOOK_OFF", "1")
        .output()
        .expect("ssh");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && err.is_empty(), "ssh -G {name}: {err}");
    out.lines().filter_map(|line| line.split_once(' ')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

/// Keywords whose value no tag has a part in.
const FIXED: [&str; 8] = [
    "#",
    "ProxyUseFdpass",
    "IdentitiesOnly",
    "AddKeysToAgent",
    "PubkeyAuthentication",
    "HashKnownHosts",
    "PreferredAuthentications",
    "StrictHostKeyChecking",
];

/// Every line is one of the forms that sync writes, and nothing else: a tag can add none.
fn is_meant(line: &str) -> bool {
    let (keyword, value) = line.trim_start().split_once(' ').unwrap_or((line, ""));
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_. ".contains(&b));
    match keyword {
        "Host" => plain(value) || value.starts_with("i-????????"),
        "HostName" | "HostKeyAlias" | "User" | "Port" => plain(value),
        "Match" => value == "all" || value.starts_with("originalhost \"") || value.starts_with("user \""),
        "Include" => value.starts_with("/nonexistent/eic/"),
        "ProxyCommand" => value == "none" || value.starts_with("'/bin/true' proxy "),
        "IdentityFile" | "ControlPath" | "UserKnownHostsFile" => value.starts_with('/') || value == "none",
        _ => FIXED.contains(&keyword),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_stands_in_tags_ssh_reads_what_was_meant(
        pool in prop::collection::btree_map(
            "[0-9a-f]{17}",
            (tag(), tag(), prop_oneof![Just(String::new()), tag()], prop_oneof![Just(String::new()), tag()], any::<u8>()),
            1..8,
        ),
    ) {
        let discovered = pool.iter().map(|(id, (name, env, user, port, octet))| described(id, name, env, user, port, *octet));
        let fleet = fleet_of(discovered.collect());
        let settings = Settings {
            binary: "/bin/true".to_owned(),
            flags: Vec::new(),
            folder: "/nonexistent/eic".to_owned(),
            known_hosts: Vec::new(),
            control_persist: None,
            fallback: (OsUser::ec2_user(), 22),
            options: BTreeMap::new(),
            hosts: vec!["*".to_owned()],
            local_user: "alice".to_owned(),
            caller_is_readable: true,
        };
        let bare: Vec<String> = fleet.shared.keys().cloned().collect();
        let files = render::files(&fleet.hosts, &bare, &settings);
        for (_, text) in files.named() {
            for line in text.lines() {
                prop_assert!(is_meant(line), "{:?}", line);
            }
        }
        let dir = tempfile::tempdir().expect("a folder");
        let config = dir.path().join("config");
        let files = files.relocated(&settings.folder, &dir.path().display().to_string());
        for (name, text) in files.named() {
            fs::write(dir.path().join(name), text).expect("a file");
        }
        fs::write(&config, files.in_one()).expect("a file");
        for host in &fleet.hosts {
            for name in host.all_names().chain([host.id.as_str()]) {
                prop_assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)), "{:?}", name);
                prop_assert!(!name.starts_with(['-', '.']) && name.len() <= 63);
                let read = resolved(&config, name);
                let is_id = name == host.id.as_str();
                let address = if is_id { name } else { host.address.as_deref().unwrap_or_default() };
                prop_assert_eq!(&read["hostname"], address);
                prop_assert_eq!(read.get("hostkeyalias").map_or(name, String::as_str), host.id.as_str());
                prop_assert_eq!(&read["user"], host.user.as_str());
                prop_assert_eq!(&read["port"], &host.port.to_string());
                prop_assert!(read["proxycommand"].starts_with("'/bin/true' proxy "), "{}", read["proxycommand"]);
            }
        }
        for rejection in fleet.rejected.iter().map(ToString::to_string) {
            prop_assert!(rejection.bytes().all(|b| (b' '..=b'~').contains(&b)), "{:?}", rejection);
        }
    }
}

#[test]
fn a_name_in_a_hashed_known_hosts_line_is_not_used() {
    let world = World::new();
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHnCJb6nCpV1CnbZ1Yzh7mGmSkYlGDQYNgLNdQ9pMvXQ";
    world.write(".ssh/known_hosts", &format!("gitlab {key}\n[forge]:2222 {key}\nprod-web-1 {key}\n"));
    world.sh("ssh-keygen -q -H -f .ssh/known_hosts && rm .ssh/known_hosts.old").ok();
    assert!(!world.read(".ssh/known_hosts").contains("gitlab"));
    let own = world.read(".ssh/config");
    world.write(".ssh/config", &format!("{own}Host forge.example\n    Port 2222\n"));
    for (n, name) in ["gitlab", "GitLab", "forge", "gitlab-2"].iter().enumerate() {
        world.sandbox.add(Instance::new(name).address(format!("10.0.77.{n}"))).unwrap();
    }
    let output = world.eic(&["sync"]);
    output.says("is in ~/.ssh/known_hosts:1; the instance").says("is in ~/.ssh/known_hosts:2; the instance").ok();
    for name in ["gitlab", "GitLab", "forge"] {
        let options = world.ssh(&["-G", name]);
        assert!(!options.ok().contains("ssh-eic"), "{name} was given away\n{options}\n{output}");
    }
    // A name that an instance has already stays, and one that is no line's is free.
    for name in ["prod-web-1", "gitlab-2"] {
        assert!(world.ssh(&["-G", name]).ok().contains("ssh-eic"), "{name}\n{output}");
    }
}
