//! `sync --diff` and `sync --if-older-than`: the differences that are shown, and when AWS is not queried.

use std::fs;
use std::path::Path;

use sandbox::{Change, Instance};

use super::snapshot::Snapshot;
use super::{INLINE, configure};
use crate::world::{CommandOutput, World};

/// Applies a diff to a copy of `~/.ssh`, syncs, and asserts that both have come to the same.
fn patch_makes_what_sync_writes(world: &World, diff: &str) {
    let (home, copy) = (world.home(), world.sandbox.dir().join("patched"));
    fs::create_dir_all(&copy).unwrap();
    fs::write(copy.join("diff"), diff).unwrap();
    let components = home.components().count();
    // git is there wherever these tests run; patch(1) is what people have at hand.
    let output = world.sh(&format!(
        "set -e; cd '{}'; [ ! -e ~/.ssh ] || cp -a ~/.ssh .
        if command -v patch >/dev/null; then patch -s -p{components} <diff; else git apply -p{components} diff; fi",
        copy.display()
    ));
    assert_eq!(output.code, Some(0), "{diff}\n{output}");
    world.eic(&["sync"]).ok();
    for file in ["config", "eic/guard", "eic/hosts", "eic/hook"] {
        let read = |folder: &Path| {
            fs::read(folder.join(".ssh").join(file)).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        };
        assert_eq!(read(&copy), read(home), "{file} after\n{diff}");
    }
    fs::remove_dir_all(copy).unwrap();
}

/// Runs `sync --diff=text` and asserts that it writes nothing at all.
fn diff(world: &World) -> CommandOutput {
    diff_as(world, "--diff=text")
}

/// Runs `sync` with a diff option and asserts that it writes nothing at all.
fn diff_as(world: &World, option: &str) -> CommandOutput {
    let before = Snapshot::of(world.home());
    let output = world.eic(&["sync", option]);
    before.assert_same(&Snapshot::of(world.home()), &output);
    output
}

#[test]
fn a_diff_of_hosts_shows_added_removed_renamed_and_changed_ones() {
    let world = World::bare();
    configure(&world, "");
    let first = diff_as(&world, "--diff");
    assert_eq!(first.fails_with(1).stdout, "+ prod-web-1\n+ prod-web-2\n2 hosts (+2)\n", "{first}");
    world.eic(&["sync"]).ok();
    let none = diff_as(&world, "--diff");
    assert_eq!((none.ok(), none.stderr.as_str()), ("", ""), "{none}");

    world.sandbox.add(Instance::new("web-10").address("10.0.5.10")).unwrap();
    let jump = world.add(Instance::new("jump").address("10.0.5.1"));
    world.sandbox.remove(&jump).unwrap();
    world.sandbox.add(Instance::new("web-9").address("10.0.5.9")).unwrap();
    let renamed = Change { tags: [("Name".to_owned(), Some("web-renamed".to_owned()))].into(), ..Change::default() };
    world.sandbox.update(&world.web1, renamed).unwrap();
    configure(&world, "[[host]]\nmatch = \"prod-web-2\"\nuser = \"root\"\nroute = \"ssm\"\n");
    let output = diff_as(&world, "--diff");
    let expected = "+ web-9\n- jump\nprod-web-1 -> web-renamed\n\
                    prod-web-2: user ec2-user -> root, route direct -> ssm\n\
                    4 hosts (+1 -1, 1 renamed, 1 changed)\n";
    assert_eq!(output.fails_with(1).stdout, expected, "{output}");
    world.eic(&["sync"]).ok();
    assert_eq!(diff_as(&world, "--diff").ok(), "");
}

#[test]
fn a_diff_of_hosts_says_which_files_change_if_no_host_does() {
    let world = World::new();
    world.write(".ssh/config", "Host mine\n");
    let output = diff_as(&world, "--diff");
    let expected =
        "ssh-eic: no host changes, only the text of ~/.ssh/config\nssh-eic: hint: ssh-eic sync --diff=text\n";
    assert_eq!((output.fails_with(1).stdout.as_str(), output.stderr.as_str()), ("", expected), "{output}");
    assert_eq!(world.eic(&["sync", "--diff", "text"]).stdout, diff(&world).stdout, "an equals sign is not needed");
    let unknown = world.eic(&["sync", "--diff=hsots"]);
    let expected =
        "ssh-eic: error: --diff cannot be \"hsots\": write one of hosts, text\nssh-eic: hint: ssh-eic sync --help\n";
    assert_eq!(unknown.fails_with(2).stderr, expected);
}

#[test]
fn a_diff_in_an_empty_home_writes_nothing_and_patch_produces_what_sync_writes() {
    let world = World::bare();
    let output = diff(&world);
    output.fails_with(1);
    assert!(output.stdout.starts_with("--- /dev/null\n+++ "), "{output}");
    patch_makes_what_sync_writes(&world, &output.stdout);
    let output = diff(&world);
    assert_eq!(output.ok(), "", "{output}");
}

#[test]
fn a_diff_can_be_patched_into_a_config_with_any_line_endings() {
    for mine in ["Host mine\r\n\tUser me\r\n", "# mine\nHost mine\n    User me", "\n\n", ""] {
        for more in ["", INLINE] {
            let world = World::bare();
            world.write(".ssh/config", mine);
            configure(&world, more);
            let output = diff(&world);
            output.fails_with(1);
            patch_makes_what_sync_writes(&world, &output.stdout);
            assert_eq!(diff(&world).ok(), "");
        }
    }
}

#[test]
fn a_diff_can_be_patched_into_a_config_that_is_not_utf_8() {
    let world = World::bare();
    world.write(".ssh/config", "");
    fs::write(world.home().join(".ssh/config"), b"# M\xfcllers Rechner\nHost mueller\n").unwrap();
    let mut command = world.sandbox.command("ssh-eic");
    let output = command.args(["sync", "--diff=text"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let context = b"\n # M\xfcllers Rechner\n";
    let shown = output.stdout.windows(context.len()).any(|window| window == context);
    assert!(shown, "the line is another one in\n{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_diff_shows_an_instance_more_and_one_less() {
    let world = World::new();
    assert_eq!(diff(&world).ok(), "");
    let id = world.sandbox.add(Instance::new("prod-db").address("10.0.5.1")).unwrap();
    let output = diff(&world);
    output.fails_with(1);
    assert!(output.stdout.contains(&format!("\n+    HostKeyAlias {id}\n")), "{output}");
    assert!(!output.stdout.contains(".ssh/config"), "the user's own file does not change\n{output}");
    patch_makes_what_sync_writes(&world, &output.stdout);
    assert_eq!(diff(&world).ok(), "");
    world.sandbox.remove(&id).unwrap();
    let output = diff(&world);
    assert!(output.fails_with(1).stdout.contains(&format!("\n-    HostKeyAlias {id}\n")), "{output}");
    patch_makes_what_sync_writes(&world, &output.stdout);
}

#[test]
fn a_diff_shows_a_move_between_the_layouts() {
    let world = World::new();
    world.write(".ssh/config", &format!("{}Host mine\n", world.read(".ssh/config")));
    for more in [INLINE, ""] {
        configure(&world, more);
        world.eic(&["sync", "--if-older-than", "1d"]).ok();
        // This one removes the files of the other layout.
        world.eic(&["sync"]).ok();
        configure(&world, if more.is_empty() { INLINE } else { "" });
        let output = diff(&world);
        output.fails_with(1);
        // Files that the other layout had are kept at first, for an ssh that reads the config just now.
        let created = if more.is_empty() { 0 } else { 4 };
        assert_eq!(output.stdout.matches("--- /dev/null\n").count(), created, "{output}");
        assert_eq!(output.stdout.matches("+++ /dev/null\n").count(), 0, "{output}");
        patch_makes_what_sync_writes(&world, &output.stdout);
        assert_eq!(diff(&world).ok(), "");
    }
}

#[test]
fn a_diff_with_a_role_of_another_account_writes_nothing() {
    let world = World::bare();
    let role = format!("role_arn = \"arn:aws:iam::{}:role/ssh\"\n", sandbox::STAGING_ACCOUNT);
    world.write(".config/ssh-eic/config.toml", &format!("[[source]]\nprofile = \"prod\"\n{role}"));
    world.sandbox.add(Instance::new("stage-web").account(sandbox::STAGING_ACCOUNT).address("10.1.0.1")).unwrap();
    let output = diff(&world);
    assert!(output.fails_with(1).stdout.contains("\n+Host stage-web\n"), "{output}");
}

#[test]
fn a_diff_reports_a_failed_source_and_removes_none_of_its_hosts() {
    let world = World::new();
    world.deny("*");
    let output = diff(&world);
    output.fails_with(6).says("AWS denies");
    assert_eq!(output.stdout, "", "{output}");
}

#[test]
fn a_fresh_index_is_rebuilt_after_a_change_of_the_config() {
    let world = World::new();
    let young = ["sync", "--if-older-than", "10m"];
    world.eic(&young).ok();
    assert!(world.sandbox.calls().unwrap().is_empty());
    configure(&world, "tags = { Name = \"prod-web-1\" }\n");
    world.eic(&young).ok();
    assert!(!world.sandbox.calls().unwrap().is_empty(), "the config is another one");
    assert_eq!(world.eic(&["list", "--names"]).ok(), "prod-web-1\n");
    world.sandbox.clear_calls().unwrap();
    world.eic(&young).ok();
    assert!(world.sandbox.calls().unwrap().is_empty(), "made of this very config a moment ago");
    world.eic(&["sync", "--if-older-than", "0s"]).ok();
    assert!(!world.sandbox.calls().unwrap().is_empty());
}
