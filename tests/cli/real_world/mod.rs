//! A config that has grown for ten years: with us in it, it means to the letter what it meant without, and our hosts
//! are what we say whatever its `Host *` says.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use sandbox::Instance;

use crate::layouts::snapshot::Snapshot;
use crate::layouts::{INLINE, configure, option, resolved};
use crate::world::{CommandOutput, World};

/// Names that no line of it has: some match wildcards only, some nothing but `Host *`.
const FURTHER: [&str; 24] = [
    "a.corp.example.com",
    "a.dev.corp.example.com",
    "vpn3.corp.example.com",
    "db-1",
    "db-22",
    "db-333",
    "k8s-node-17",
    "build-1",
    "ci-4",
    "jenkins@ci-4",
    "root@nas",
    "x.lab.example.com",
    "legacy-7",
    "x.legacy.example.net",
    "x.final.example.com",
    "office-3",
    "gcp-1",
    "ec2-1-2-3-4.compute.amazonaws.com",
    "globex-2",
    "pi5",
    "github.example.org",
    "10.0.3.7",
    "prod-web",
    "i-am-no-instance",
];

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/real_world")
}

/// Every file of it, by its path below `~/.ssh`.
fn files() -> Vec<(String, Vec<u8>)> {
    let (root, mut below, mut files) = (fixture(), vec![fixture()], Vec::new());
    while let Some(path) = below.pop() {
        if path.is_dir() {
            below.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            files.push((name, fs::read(path).unwrap()));
        }
    }
    files
}

/// The names that its Host and Match lines have without a wildcard.
fn concrete_names() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (_, text) in files() {
        for line in String::from_utf8(text).unwrap().lines() {
            let line = line.trim().to_lowercase().replace('"', " ");
            let words = match line.split_once([' ', '=', '\t']) {
                Some(("host", names)) => names.split_whitespace().map(str::to_owned).collect::<Vec<_>>(),
                Some(("match", criteria)) => criteria.split([' ', ',']).map(str::to_owned).collect(),
                _ => continue,
            };
            let plain = |word: &String| !word.is_empty() && !word.contains(['*', '?', '!', '/']);
            names.extend(words.into_iter().filter(plain));
        }
    }
    names
}

/// A home with the config in it, and a fleet that shares no name with it.
fn world() -> World {
    let world = World::bare();
    for (name, content) in files() {
        world.write(&format!(".ssh/{name}"), "");
        fs::write(world.home().join(".ssh").join(name), content).unwrap();
    }
    world
}

/// All that ssh says of each of the names that are the user's.
fn theirs(world: &World) -> Vec<(String, CommandOutput)> {
    let names = concrete_names().into_iter().chain(FURTHER.map(str::to_owned));
    names.map(|name| (name.clone(), world.ssh(&["-G", &name]))).collect()
}

#[track_caller]
fn assert_same(before: &[(String, CommandOutput)], now: &[(String, CommandOutput)], when: &str) {
    for ((name, before), (_, now)) in before.iter().zip(now) {
        let (was, is) = ((before.code, &before.stdout, &before.stderr), (now.code, &now.stdout, &now.stderr));
        assert!(was == is, "{name} is another one {when}:\n{before}\n{now}");
    }
}

/// What holds for a managed host under any config of the user's.
fn is_ours(world: &World, host: &str, id: &str, address: &str) {
    let output = world.ssh(&["-G", host]);
    let resolved = output.ok();
    let found = ["hostname", "hostkeyalias", "port", "user", "identitiesonly", "addkeystoagent", "hashknownhosts"]
        .map(|keyword| option(resolved, keyword));
    assert_eq!(found, [address, id, "22", "ec2-user", "yes", "false", "no"], "{host}\n{output}");
    let eic = world.eic_folder().display().to_string();
    assert_eq!(option(resolved, "identityfile"), format!("{eic}/keys/%k"), "the first one counts\n{output}");
    assert!(option(resolved, "proxycommand").contains("ssh-eic' proxy --region eu-west-1 --source prod "), "{output}");
    assert!(matches!(option(resolved, "proxyjump"), "" | "none"), "{output}");
    assert_eq!(option(resolved, "proxyusefdpass"), "no", "{output}");
    assert_eq!(option(resolved, "controlpath"), format!("{eic}/cm/{id}-22-ec2-user"), "{output}");
    assert_eq!(option(resolved, "pubkeyauthentication"), "true", "{output}");
    assert_eq!(option(resolved, "stricthostkeychecking"), "accept-new", "{output}");
}

#[test]
fn the_fixture_has_the_documented_size() {
    let files = files();
    let of = |name: &str| files.iter().find(|(other, _)| other == name).map(|(_, text)| text.as_slice()).unwrap();
    let lines: usize = files.iter().map(|(_, text)| String::from_utf8_lossy(text).lines().count()).sum();
    assert!(lines > 200 && concrete_names().len() > 45, "{lines} lines, {:?}", concrete_names());
    assert!(!of("config").ends_with(b"\n"));
    let dos = of("conf.d/20-windows-editor.conf");
    assert!(dos.split_inclusive(|&b| b == b'\n').all(|line| line.ends_with(b"\r\n")));
}

#[test]
fn user_hosts_resolve_to_the_same_in_both_layouts_and_after_remove() {
    let world = world();
    let untouched = Snapshot::of(&world.home().join(".ssh"));
    let before = theirs(&world);
    let output = world.eic(&["init", "--profile", "prod"]);
    output.says("2 hosts from prod").ok();
    assert_same(&before, &theirs(&world), "after init");
    configure(&world, INLINE);
    world.eic(&["sync"]).ok();
    assert_same(&before, &theirs(&world), "in the inline layout");
    configure(&world, "");
    world.eic(&["sync"]).ok();
    assert_same(&before, &theirs(&world), "back in the include layout");
    let output = world.eic(&["remove"]);
    output.ok();
    assert_same(&before, &theirs(&world), "after remove");
    untouched.assert_same_content(&Snapshot::of(&world.home().join(".ssh")), &output);
}

#[test]
fn managed_hosts_have_the_generated_options_in_both_layouts() {
    let world = world();
    for more in ["", INLINE] {
        configure(&world, more);
        world.eic(&["sync"]).ok();
        is_ours(&world, "prod-web-1", &world.web1, "10.0.3.7");
        is_ours(&world, "prod-web-2", &world.web2, "10.0.3.8");
        // What it says above its first Host, and we do not, is for our hosts as well.
        for host in ["prod-web-1", "github.com", "nas"] {
            let resolved = resolved(&world, host);
            assert_eq!(option(&resolved, "serveraliveinterval"), "17", "{host}");
            assert_eq!(option(&resolved, "serveralivecountmax"), "4", "{host}");
            assert_eq!(option(&resolved, "connectionattempts"), "2", "{host}");
        }
        for host in ["prod-web-1", &world.web2] {
            let output = world.ssh(&[host, "echo $SSH_EIC_INSTANCE"]);
            assert!(output.ok().starts_with("i-"), "{output}");
        }
    }
}

/// Where a line stands in the user's config now, counted from 1.
fn line_of(world: &World, words: &str) -> usize {
    let text = world.read(".ssh/config");
    text.lines().position(|line| line == words).unwrap_or_else(|| panic!("no {words:?} in\n{text}")) + 1
}

#[test]
fn a_sync_reports_user_lines_without_effect_on_managed_hosts() {
    let world = world();
    let output = world.eic(&["init", "--profile", "prod"]);
    let jump = "Host * !bastion !bastion-old !*.* !nas !pi* !printer !router (";
    let (_, after) = output.stderr.split_once(jump).unwrap_or_else(|| panic!("no {jump:?}\n{output}"));
    assert!(after.contains("): ProxyJump bastion has no effect for prod-web-1, prod-web-2\n"), "{output}");
    let (_, after) = output.stderr.split_once("Host * (").unwrap_or_else(|| panic!("no Host *\n{output}"));
    assert!(after.contains("): User me has no effect for prod-web-1, prod-web-2\n"), "{output}");
    output.says("hint: to override these, set them in a [[host]] of config.toml\n").ok();
}

#[test]
fn reported_line_numbers_are_correct_after_the_sync() {
    for more in ["", INLINE] {
        let world = world();
        world.sandbox.add(Instance::new("bastion").address("10.0.40.1")).unwrap();
        configure(&world, more);
        let output = world.eic(&["sync"]);
        let (own, general) = (line_of(&world, "Host bastion"), line_of(&world, "Host *"));
        output.says(&format!("ssh-eic: bastion is your own Host (~/.ssh/config:{own}); the instance is bastion-"));
        output.says(&format!("ssh-eic: warning: Host * (~/.ssh/config:{general}): "));
    }
}

#[test]
fn an_instance_whose_name_is_in_use_gets_an_id_suffix_with_a_message() {
    let world = world();
    let taken = [
        ("bastion", "Host bastion", "config"),
        ("db-7", "Host db-? db-??", "config"),
        ("printer", "Host printer", "config"),
        ("build-linux", "Match host build-*,ci-* user jenkins", "config"),
        ("k8s-node-1", "Host k8s-master k8s-node-*", "config"),
        ("office-7", "Match !host *.example.com,*.local originalhost office-*", "config"),
        ("legacy", "Host legacy legacy-app", "conf.d/20-windows-editor.conf"),
        ("heroku-staging", "Host heroku-staging", "conf.d/nested/a.inc"),
        ("globex-1", "Host globex-*", "clients/globex/config"),
        ("acme-gate", "Host acme-gate", "clients/acme/config"),
    ];
    let before = theirs(&world);
    let mut ids = Vec::new();
    for (n, (name, ..)) in (1..).zip(taken) {
        ids.push(world.sandbox.add(Instance::new(name).address(format!("10.0.40.{n}"))).unwrap());
    }
    for (more, first) in [("", true), (INLINE, false)] {
        configure(&world, more);
        let output = world.eic(&["sync"]);
        output.says("12 hosts from prod").ok();
        for (name, _, _) in taken.iter().filter(|_| first) {
            assert!(output.stderr.contains(name), "{name} is not told\n{output}");
        }
        for ((name, words, file), (id, n)) in taken.iter().zip(ids.iter().zip(1..)) {
            if !matches!(*name, "globex-1") {
                let is_exact = words.starts_with("Host") && words.split(' ').any(|word| word == *name);
                let block = if is_exact { "is your own Host" } else { &format!("matches your own {words}") };
                output.says(&format!("ssh-eic: {name} {block} (~/.ssh/{file}:"));
            }
            let alias = format!("{name}-{}", &id[2..8]);
            is_ours(&world, &alias, id, &format!("10.0.40.{n}"));
        }
        assert_same(&before, &theirs(&world), "after a sync");
    }
    let names = world.eic(&["list", "--names"]).ok().to_owned();
    assert!(taken.iter().all(|(name, ..)| !names.lines().any(|other| other == *name)), "{names}");
}
