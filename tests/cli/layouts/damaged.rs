//! What cannot be understood is told with its line and left as it is, by every command that would write there.

use super::snapshot::Snapshot;
use super::{INLINE, configure};
use crate::world::World;

const MINE: &str = "# mine\nServerAliveInterval 17\n";
const THEIRS: &str = "Host x\n    HostName x.example.com\n";

/// A world whose config has our part between general settings and a Host.
fn synced(more: &str) -> (World, String) {
    let world = World::bare();
    configure(&world, more);
    world.eic(&["sync"]).ok();
    let part = world.read(".ssh/config");
    world.write(".ssh/config", &format!("{MINE}{part}{THEIRS}"));
    world.eic(&["sync"]).ok();
    let config = world.read(".ssh/config");
    assert_eq!(config, format!("{MINE}{part}{THEIRS}"));
    (world, config)
}

/// Asserts that nobody touches this config, and that all say the same of it.
fn is_left_alone(world: &World, config: &str, place: &str, words: &str) {
    world.write(".ssh/config", config);
    let home = world.home();
    let before = (Snapshot::of(&home.join(".ssh")), Snapshot::of(&home.join(".local/state/ssh-eic/index")));
    for args in [&["sync"][..], &["sync", "--diff"], &["remove"], &["remove", "--all"]] {
        let output = world.eic(args);
        output.fails_with(3).says(&format!("~/.ssh/config:{place}: "));
        output.says(words).says("nothing was changed").says("hint: ");
        assert_eq!(output.stdout, "", "{output}");
        before.0.assert_same(&Snapshot::of(&home.join(".ssh")), &output);
        before.1.assert_same(&Snapshot::of(&home.join(".local/state/ssh-eic/index")), &output);
        assert!(home.join(".config/ssh-eic/config.toml").exists(), "{output}");
    }
}

#[test]
fn a_block_without_its_first_mark_is_left_alone() {
    let (world, config) = synced(INLINE);
    let damaged: String = config.split_inclusive('\n').filter(|line| !line.starts_with("# >>> ")).collect();
    let end = damaged.lines().position(|line| line.starts_with("# <<< ")).unwrap() + 1;
    is_left_alone(&world, &damaged, &end.to_string(), "that ends here has no start");
}

#[test]
fn a_block_without_its_last_mark_is_left_alone() {
    let (world, config) = synced(INLINE);
    let damaged: String = config.split_inclusive('\n').filter(|line| !line.starts_with("# <<< ")).collect();
    is_left_alone(&world, &damaged, "3", "that starts here has no end");
}

#[test]
fn a_block_that_was_edited_is_left_alone() {
    let (world, config) = synced(INLINE);
    let end = config.lines().position(|line| line.starts_with("# <<< ")).unwrap() + 1;
    for (from, to) in [
        ("    HostName 10.0.3.7\n", "    HostName 10.9.9.9\n"),
        ("Match all\n", "Match all\n    User me\n"),
        ("    Port 22\n", "    Port 22 \n"),
    ] {
        let damaged = config.replacen(from, to, 1);
        assert_ne!(damaged, config, "{from}");
        let end = end + to.lines().count() - from.lines().count();
        is_left_alone(&world, &damaged, "3", &format!("which ends in line {end}, was edited by hand"));
    }
}

#[test]
fn a_block_with_changed_line_endings_is_left_alone() {
    let (world, config) = synced(INLINE);
    is_left_alone(&world, &config.replace('\n', "\r\n"), "3", "was edited by hand");
}

#[test]
fn an_include_line_with_other_files_added_is_left_alone() {
    let (world, config) = synced("");
    let damaged = config.replacen("/eic/main\n", "/eic/main ~/.ssh/more\n", 1);
    assert_ne!(damaged, config);
    is_left_alone(&world, &damaged, "4", "other files were added to the Include line of ssh-eic");
}

#[test]
fn after_the_hint_was_followed_the_next_sync_succeeds() {
    let (world, config) = synced(INLINE);
    let edited = config.replacen("    Port 22\n", "    Port 2222\n", 1);
    world.write(".ssh/config", &edited);
    let output = world.eic(&["sync"]);
    let hint = output.stderr.split("delete lines ").nth(1).unwrap_or_else(|| panic!("no lines\n{output}"));
    let mut numbers = hint.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse::<usize>().ok());
    let (first, last) = (numbers.next().unwrap(), numbers.next().unwrap());
    let rest = edited.split_inclusive('\n').enumerate().filter(|(at, _)| at + 1 < first || at + 1 > last);
    let rest: String = rest.map(|(_, line)| line).collect();
    assert_eq!(rest, format!("{MINE}{THEIRS}"), "{output}");
    world.write(".ssh/config", &rest);
    world.eic(&["sync"]).ok();
    world.ssh(&["prod-web-1", "true"]).ok();
    world.eic(&["remove"]).ok();
    assert_eq!(world.read(".ssh/config"), rest);
}

#[test]
fn a_generated_part_inside_a_user_s_block_is_reported_with_both_lines() {
    for (more, line) in [("", 5), (INLINE, 4)] {
        let (world, config) = synced(more);
        let config = format!("Host y\n{config}");
        world.write(".ssh/config", &config);
        let before = Snapshot::of(&world.home().join(".ssh"));
        for args in [&["sync"][..], &["sync", "--diff"]] {
            let output = world.eic(args);
            output.fails_with(3).says(&format!("config:{line}: the ssh-eic lines are inside the block of line 1"));
            before.assert_same(&Snapshot::of(&world.home().join(".ssh")), &output);
        }
        // Taking it out needs no understanding of where it stands.
        world.eic(&["remove"]).ok();
        assert_eq!(world.read(".ssh/config"), format!("Host y\n{MINE}{THEIRS}"));
    }
}
