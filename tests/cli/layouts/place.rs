//! Where the user's config lies, whose it is, and who may write it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;

use sandbox::needs_namespaces;

use super::snapshot::Snapshot;
use super::{INLINE, configure, option, resolved};
use crate::world::World;

const MINE: &str = "Host mine\n    User me\n";
const A_STRANGER: u32 = 12345;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_symlinked_config_is_written_at_its_target_and_stays_a_symlink() {
    let chain: [&[(&str, &str)]; 4] = [
        &[(".ssh/config", "../dotfiles/ssh.conf")],
        &[(".ssh/config", "link"), (".ssh/link", "../dotfiles/link"), ("dotfiles/link", "ssh.conf")],
        &[(".ssh/config", "{home}/dotfiles/ssh.conf")],
        &[(".ssh", "dotfiles/ssh"), ("dotfiles/ssh/config", "../ssh.conf")],
    ];
    for (links, more) in chain.into_iter().zip(["", INLINE, INLINE, ""]) {
        let world = World::bare();
        let (home, target) = (world.home(), world.home().join("dotfiles/ssh.conf"));
        world.write("dotfiles/ssh.conf", MINE);
        set_mode(&target, 0o644);
        for (link, to) in links {
            let below =
                if *link == ".ssh" { home.join("dotfiles/ssh") } else { home.join(link).parent().unwrap().into() };
            fs::create_dir_all(below).unwrap();
            symlink(to.replace("{home}", home.to_str().unwrap()), home.join(link)).unwrap();
        }
        configure(&world, more);
        let output = world.eic(&["sync"]);
        output.ok();
        let config = fs::read_to_string(&target).unwrap();
        assert!(config.len() > MINE.len() && config.ends_with(MINE), "{config}\n{output}");
        assert_eq!(mode(&target), 0o644, "{output}");
        assert_eq!(option(&resolved(&world, "prod-web-1"), "hostkeyalias"), world.web1);
        world.eic(&["remove"]).ok();
        assert_eq!(fs::read_to_string(&target).unwrap(), MINE);
        assert_eq!(mode(&target), 0o644);
        for (link, _) in links {
            assert!(fs::symlink_metadata(home.join(link)).unwrap().is_symlink(), "{link} is no link any more");
        }
    }
}

#[test]
fn a_dangling_symlink_gets_its_file_and_survives_remove() {
    let world = World::bare();
    let (home, target) = (world.home(), world.home().join("dotfiles/ssh.conf"));
    fs::create_dir_all(home.join("dotfiles")).unwrap();
    fs::create_dir(home.join(".ssh")).unwrap();
    symlink("../dotfiles/ssh.conf", home.join(".ssh/config")).unwrap();
    configure(&world, "");
    let before = Snapshot::of(&home.join("dotfiles"));
    world.eic(&["sync"]).ok();
    assert!(fs::read_to_string(&target).unwrap().starts_with("# Written by ssh-eic "));
    assert_eq!(mode(&target), 0o600);
    world.ssh(&["prod-web-1", "true"]).ok();
    let output = world.eic(&["remove"]);
    output.ok();
    let link = fs::symlink_metadata(home.join(".ssh/config"));
    assert!(link.is_ok_and(|link| link.is_symlink()), "the user's link is gone after\n{output}");
    before.assert_same_content(&Snapshot::of(&home.join("dotfiles")), &output);
}

#[test]
fn a_symlink_into_a_missing_folder_is_reported_with_its_target() {
    let world = World::bare();
    let home = world.home();
    fs::create_dir(home.join(".ssh")).unwrap();
    symlink("../dotfiles/ssh.conf", home.join(".ssh/config")).unwrap();
    configure(&world, "");
    world.eic(&["sync"]).fails_with(9).says("dotfiles/ssh.conf").says("hint: ");
    assert!(!home.join("dotfiles").exists());
    world.write("dotfiles/ssh.conf", MINE);
    world.eic(&["sync"]).ok();
    assert!(world.read("dotfiles/ssh.conf").ends_with(MINE));
}

#[test]
fn a_loop_of_symlinks_is_reported() {
    let world = World::bare();
    fs::create_dir(world.home().join(".ssh")).unwrap();
    symlink("config", world.home().join(".ssh/config")).unwrap();
    configure(&world, "");
    world.eic(&["sync"]).fails_with(9).says(".ssh/config").says("too many");
}

#[test]
fn a_read_only_config_is_not_changed_and_the_line_to_add_works() {
    let world = World::bare();
    world.write(".ssh/config", MINE);
    let path = world.home().join(".ssh/config");
    set_mode(&path, 0o400);
    configure(&world, "");
    let output = world.eic(&["sync"]);
    output.fails_with(9).says("is read-only (mode 400) and is not changed").says("hint: chmod u+w");
    assert_eq!(world.read(".ssh/config"), MINE);
    let line =
        output.stderr.split("put this at its top yourself: ").nth(1).unwrap_or_else(|| panic!("no line\n{output}"));
    set_mode(&path, 0o600);
    world.write(".ssh/config", &format!("{}\n{MINE}", line.lines().next().unwrap()));
    set_mode(&path, 0o400);
    let before = Snapshot::of(&world.home().join(".ssh"));
    let output = world.eic(&["sync"]);
    output.ok();
    before.assert_same(&Snapshot::of(&world.home().join(".ssh")), &output);
    assert_eq!(world.ssh(&["prod-web-1", "echo $SSH_EIC_INSTANCE"]).ok(), format!("{}\n", world.web1));
    // The fleet may change without the user's file.
    world.add(sandbox::Instance::new("prod-db").address("10.0.5.1"));
    assert_eq!(option(&resolved(&world, "prod-db"), "hostname"), "10.0.5.1");
}

#[test]
fn a_read_only_config_stops_the_inline_layout_and_remove_before_anything_changes() {
    let world = World::bare();
    world.write(".ssh/config", MINE);
    let path = world.home().join(".ssh/config");
    set_mode(&path, 0o400);
    configure(&world, INLINE);
    let output = world.eic(&["sync"]);
    output.fails_with(9).says("is read-only").says("hint: chmod u+w");
    assert!(!output.stderr.contains("Include"), "there is no file to include\n{output}");
    set_mode(&path, 0o600);
    world.eic(&["sync"]).ok();
    set_mode(&path, 0o400);
    let before = Snapshot::of(&world.home().join(".ssh"));
    let output = world.eic(&["remove"]);
    output.fails_with(9).says("is read-only");
    before.assert_same(&Snapshot::of(&world.home().join(".ssh")), &output);
    assert_eq!(world.eic(&["list", "--names"]).ok(), "prod-web-1\nprod-web-2\n");
}

/// The same file, as people with dotfiles for several machines write it.
const OTHER_SPELLINGS: [&str; 3] =
    ["Include ~/.ssh/eic/main\n", "Include eic/main\n", "Include = \"~/.ssh/eic/main\"\n"];

/// The line above the Include line.
const COMMENT: &str = "# Written by ssh-eic for EC2 instances; \"ssh-eic remove\" deletes these two lines.";

/// As versions before wrote it.
const EARLIER: &str = "Include ~/.ssh/eic/guard ~/.ssh/eic/hosts ~/.ssh/eic/hook\n";

#[test]
fn an_include_of_an_earlier_version_is_replaced() {
    let world = World::bare();
    world.write(".ssh/config", &format!("{EARLIER}{MINE}"));
    configure(&world, "");
    world.eic(&["sync"]).ok();
    let config = world.read(".ssh/config");
    assert_eq!(config, format!("{COMMENT}\nInclude {}/.ssh/eic/main\n{MINE}", world.home().display()));
    assert_eq!(option(&resolved(&world, "prod-web-1"), "hostkeyalias"), world.web1);
}

#[test]
fn an_include_without_the_comment_of_this_version_is_kept_and_removed() {
    let world = World::bare();
    let earlier = format!("Include {}/.ssh/eic/main\n{MINE}", world.home().display());
    world.write(".ssh/config", &earlier);
    configure(&world, "");
    world.eic(&["sync"]).ok();
    assert_eq!(world.read(".ssh/config"), earlier);
    world.ssh(&["prod-web-1", "true"]).ok();
    world.eic(&["remove"]).ok();
    assert_eq!(world.read(".ssh/config"), MINE);
}

#[test]
fn a_percent_sign_in_the_folder_works_with_clients_that_expand_it_and_with_others() {
    let world = World::bare();
    for name in ["100%", "a%h b", "%%"] {
        let folder = world.home().join(name).join("eic");
        let eic = |args: &[&str]| {
            let mut command = world.sandbox.command("ssh-eic");
            command.args(args).env("SSH_EIC_HOME", &folder);
            crate::world::run(command)
        };
        eic(&["init", "--profile", "prod", "--region", "eu-west-1"]).ok();
        let config = fs::read_to_string(folder.join("ssh_config")).unwrap();
        let main = fs::read_to_string(folder.join("main")).unwrap();
        let includes = config.lines().chain(main.lines()).filter(|line| line.contains("Include"));
        for line in includes.clone() {
            assert!(!line.contains('%'), "a client from 9.9 expands it: {line}");
        }
        assert_eq!(includes.count(), 4);
        let path = folder.join("ssh_config").display().to_string();
        let output = world.ssh(&["-F", &path, "prod-web-1", "echo $SSH_EIC_INSTANCE"]);
        assert_eq!(output.ok(), format!("{}\n", world.web1), "{output}");
        // As an earlier version wrote it.
        let earlier = format!("Include \"{}\"\nHost mine\n", folder.join("guard").display());
        fs::write(folder.join("ssh_config"), &earlier).unwrap();
        eic(&["sync"]).ok();
        assert_eq!(fs::read_to_string(folder.join("ssh_config")).unwrap(), format!("{config}Host mine\n"));
        eic(&["remove"]).ok();
        assert_eq!(fs::read_to_string(folder.join("ssh_config")).unwrap(), "Host mine\n");
    }
}

#[test]
fn an_include_with_another_spelling_of_the_path_renames_no_host() {
    for line in OTHER_SPELLINGS {
        let world = World::bare();
        world.write(".ssh/config", &format!("{line}{MINE}"));
        configure(&world, "");
        for _ in 0..3 {
            let output = world.eic(&["sync"]);
            output.ok();
            assert_eq!(world.eic(&["list", "--names"]).ok(), "prod-web-1\nprod-web-2\n", "{line}\n{output}");
        }
        world.eic(&["remove"]).ok();
        assert!(world.read(".ssh/config").ends_with(MINE));
    }
}

#[test]
fn a_read_only_config_may_have_the_include_with_another_spelling_of_the_path() {
    for line in OTHER_SPELLINGS {
        let world = World::bare();
        world.write(".ssh/config", &format!("{line}{MINE}"));
        set_mode(&world.home().join(".ssh/config"), 0o400);
        configure(&world, "");
        world.eic(&["sync"]).ok();
        assert_eq!(world.read(".ssh/config"), format!("{line}{MINE}"));
        world.ssh(&["prod-web-1", "true"]).ok();
    }
}

#[test]
fn a_line_that_is_saved_while_a_sync_runs_is_not_lost() {
    for more in ["", INLINE] {
        let world = World::bare();
        // Somebody's editor writes while ssh is asked about the new config.
        let save = "Match exec \"grep -qx '# meanwhile' ~/.ssh/config || echo '# meanwhile' >>~/.ssh/config\"\n";
        world.write(".ssh/config", save);
        configure(&world, more);
        let output = world.eic(&["sync"]);
        assert!(world.read(".ssh/config").ends_with("\n# meanwhile\n"), "{}\n{output}", world.read(".ssh/config"));
        world.eic(&["sync"]).ok();
        assert_eq!(option(&resolved(&world, "prod-web-1"), "hostkeyalias"), world.web1);
        world.eic(&["remove"]).ok();
        assert_eq!(world.read(".ssh/config"), format!("{save}# meanwhile\n"));
    }
}

#[test]
fn a_missing_ssh_folder_is_made_for_its_owner_alone() {
    for (more, part) in [("", "an Include line"), (INLINE, "a block")] {
        let world = World::bare();
        configure(&world, more);
        world.eic(&["sync"]).says(&format!("ssh-eic: added {part} to ~/.ssh/config\n")).ok();
        assert_eq!(mode(&world.home().join(".ssh")), 0o700);
        assert_eq!(mode(&world.home().join(".ssh/config")), 0o600);
        for folder in ["keys", "cm"] {
            assert_eq!(mode(&world.eic_folder().join(folder)), 0o700, "{folder}");
        }
        world.ssh(&["prod-web-1", "true"]).ok();
    }
}

#[test]
fn a_config_that_others_can_write_is_rejected_before_anything_is_written() {
    let world = World::bare();
    configure(&world, "");
    world.write("dotfiles/ssh.conf", MINE);
    fs::create_dir(world.home().join(".ssh")).unwrap();
    symlink("../dotfiles/ssh.conf", world.home().join(".ssh/config")).unwrap();
    for mode in [0o660, 0o606] {
        set_mode(&world.home().join("dotfiles/ssh.conf"), mode);
        let before = Snapshot::of(world.home());
        for args in [&["sync"][..], &["sync", "--diff"], &["init"], &["remove"]] {
            let output = world.eic(args);
            output.fails_with(9).says(&format!("(mode {mode:o})")).says("hint: chmod go-w");
            before.assert_same(&Snapshot::of(world.home()), &output);
        }
    }
}

#[needs_namespaces]
#[test]
fn a_config_of_another_user_is_rejected_before_anything_is_written() {
    let world = World::bare();
    configure(&world, "");
    world.write(".ssh/config", MINE);
    chown(world.home().join(".ssh/config"), Some(A_STRANGER), None).unwrap();
    let before = Snapshot::of(world.home());
    for args in [&["sync"][..], &["sync", "--diff"], &["init"], &["remove"]] {
        let output = world.eic(args);
        output.fails_with(9).says(".ssh/config belongs to user id 12345, not to you (0)");
        before.assert_same(&Snapshot::of(world.home()), &output);
    }
}

#[needs_namespaces]
#[test]
fn a_home_of_another_user_is_rejected_before_anything_is_written() {
    for places in [&["other"][..], &["other/.ssh"], &["other", "other/.ssh", "other/.ssh/config"]] {
        let world = World::bare();
        world.write("other/.ssh/config", MINE);
        for place in places {
            chown(world.home().join(place), Some(A_STRANGER), None).unwrap();
        }
        let before = Snapshot::of(&world.home().join("other"));
        for command in ["init", "sync", "sync --diff", "remove", "remove --all"] {
            let output = world.sh(&format!("HOME=$PWD/other ssh-eic {command}"));
            output.fails_with(9).says("belongs to user id 12345, not to you (0)").says("without sudo");
            before.assert_same(&Snapshot::of(&world.home().join("other")), &output);
        }
    }
}

#[needs_namespaces]
#[test]
fn for_a_config_of_root_the_line_to_add_is_printed() {
    let world = World::bare();
    // A managed machine: the config is an administrator's, the folder around it the user's own.
    let script = "set -e; cp -a ~ /run/theirs; cd /run/theirs; mkdir .ssh; echo 'Host mine' >.ssh/config
        chmod 755 /run/theirs; chown -R deploy:deploy /run/theirs; chown root .ssh/config; chmod 644 .ssh/config
        as() { HOME=/run/theirs USER=deploy setpriv --reuid deploy --regid deploy --clear-groups \"$@\"; }
        as ssh-eic sync && exit 99; [ $? = 9 ]
        cat .ssh/config; sed -n '2,$p' .ssh/config";
    let output = world.sh(script);
    assert_eq!(output.code, Some(0), "{output}");
    assert_eq!(output.stdout, "Host mine\n", "{output}");
    output.says("belongs to user id 0 and is not changed").says("put this at its top yourself: Include ~/.ssh/eic/");
}
