//! `layout = "inline"`: one marked block in the user's own file.

use std::fs;

use sandbox::{Change, Instance};

use super::snapshot::Snapshot;
use super::{INLINE, configure, option, resolved};
use crate::world::World;

const MINE: &str = "\
User me
# a comment of mine
Host x
    HostName x.example.com
    Port 2022
Host *.example.com
    User guest
Match host y
    Port 99
Host *
    ServerAliveInterval 7
";

/// Names that are the user's business alone.
const THEIRS: [&str; 5] = ["x", "y", "a.example.com", "github.com", "localhost"];

#[test]
fn the_block_is_at_the_top_and_ssh_uses_it() {
    let world = World::bare();
    world.write(".ssh/config", MINE);
    let before = THEIRS.map(|host| resolved(&world, host));
    configure(&world, INLINE);
    world.eic(&["sync"]).says("2 hosts from prod").ok();
    let config = world.read(".ssh/config");
    assert!(config.starts_with("# >>> ssh-eic ") && config.ends_with(&format!("\n# <<< ssh-eic <<<\n{MINE}")));
    for name in ["guard", "hosts", "hook"] {
        assert!(!world.eic_folder().join(name).exists(), "{name} is there without being included");
    }
    assert_eq!(world.ssh(&["prod-web-1", "echo $SSH_EIC_INSTANCE"]).ok(), format!("{}\n", world.web1));
    assert_eq!(world.ssh(&[&world.web2, "echo $SSH_EIC_INSTANCE"]).ok(), format!("{}\n", world.web2));
    // The user's lines are not a part of our last Host, nor ours of theirs.
    for (host, before) in THEIRS.iter().zip(before) {
        assert_eq!(resolved(&world, host), before, "{host}");
    }
    assert_eq!(option(&resolved(&world, "x"), "user"), "me");
    assert_eq!(option(&resolved(&world, "prod-web-1"), "serveraliveinterval"), "7");
}

#[test]
fn a_sync_without_a_change_writes_nothing() {
    let world = World::bare();
    world.write(".ssh/config", MINE);
    for more in [INLINE, "", INLINE] {
        configure(&world, more);
        world.eic(&["sync"]).ok();
        // The one after a change of the layout removes what the other layout had.
        world.eic(&["sync"]).ok();
        let before = Snapshot::of(&world.home().join(".ssh"));
        let output = world.eic(&["sync"]);
        output.ok();
        before.assert_same(&Snapshot::of(&world.home().join(".ssh")), &output);
        assert!(!output.stderr.contains("added a"), "{output}");
    }
}

#[test]
fn moving_between_the_layouts_and_back_keeps_every_byte_of_the_user_s() {
    let unix_mine = MINE.as_bytes().to_vec();
    let dos_mine = MINE.replace('\n', "\r\n").into_bytes();
    let unended = MINE.trim_end().as_bytes().to_vec();
    let latin_1 = [MINE.as_bytes(), b"# M\xfcller\nHost m\n\tUser=\"a b\"\t# quoted\n\n\n"].concat();
    for mine in [unix_mine, dos_mine, unended, latin_1, b"\n".to_vec(), Vec::new()] {
        let world = World::bare();
        let path = world.home().join(".ssh/config");
        world.write(".ssh/config", "");
        fs::write(&path, &mine).unwrap();
        for (more, generated) in [("", true), (INLINE, false), ("", true), (INLINE, false)] {
            configure(&world, more);
            let output = world.eic(&["sync"]);
            output.ok();
            let now = fs::read(&path).unwrap();
            assert!(now.ends_with(&mine), "{:?} after\n{output}", String::from_utf8_lossy(&now));
            // An ssh that reads the config just now may still open them.
            assert!(world.eic_folder().join("hosts").exists(), "{output}");
            world.eic(&["sync"]).ok();
            assert_eq!(world.eic_folder().join("hosts").exists(), generated, "{output}");
            assert_eq!(option(&resolved(&world, "prod-web-1"), "hostkeyalias"), world.web1);
            assert_eq!(option(&resolved(&world, "github.com"), "hostname"), "github.com");
        }
        world.eic(&["remove"]).ok();
        assert_eq!(fs::read(&path).unwrap(), mine);
    }
}

#[test]
fn the_block_is_replaced_in_place() {
    let world = World::bare();
    configure(&world, INLINE);
    world.eic(&["sync"]).ok();
    let block = world.read(".ssh/config");
    let above = "# for all\nServerAliveInterval 17\n";
    world.write(".ssh/config", &format!("{above}{block}{MINE}"));
    world.add(Instance::new("prod-db").address("10.0.5.1"));
    let config = world.read(".ssh/config");
    assert!(config.starts_with(above) && config.ends_with(MINE), "{config}");
    assert_eq!(config.matches("# >>> ssh-eic").count(), 1, "{config}");
    let db = resolved(&world, "prod-db");
    assert_eq!((option(&db, "hostname"), option(&db, "serveraliveinterval")), ("10.0.5.1", "17"));
    assert_eq!(option(&resolved(&world, "github.com"), "serveraliveinterval"), "17");
    world.eic(&["remove"]).ok();
    assert_eq!(world.read(".ssh/config"), format!("{above}{MINE}"));
}

#[test]
fn the_block_follows_the_fleet() {
    let world = World::bare();
    world.write(".ssh/config", MINE);
    configure(&world, INLINE);
    world.eic(&["sync"]).ok();
    world.sandbox.update(&world.web1, Change { address: Some("10.0.3.99".to_owned()), ..Change::default() }).unwrap();
    world.sandbox.remove(&world.web2).unwrap();
    world.eic(&["sync"]).ok();
    assert_eq!(option(&resolved(&world, "prod-web-1"), "hostname"), "10.0.3.99");
    assert_eq!(option(&resolved(&world, "prod-web-2"), "hostname"), "prod-web-2");
    assert!(world.read(".ssh/config").ends_with(MINE));
}

#[test]
fn an_overriding_option_above_the_block_is_reported_before_anything_is_written() {
    for more in ["", INLINE] {
        let world = World::bare();
        configure(&world, more);
        world.eic(&["sync"]).ok();
        let config = format!("User me\n{}", world.read(".ssh/config"));
        world.write(".ssh/config", &config);
        world.sandbox.add(Instance::new("prod-db").address("10.0.5.1")).unwrap();
        let before = Snapshot::of(&world.home().join(".ssh"));
        let output = world.eic(&["sync"]);
        output.fails_with(3).says("ssh reads user \"me\" for prod-");
        before.assert_same(&Snapshot::of(&world.home().join(".ssh")), &output);
    }
}
