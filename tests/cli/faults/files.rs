//! Every file of the program, damaged in every way that a crash, another program or another user can damage it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use super::is_handled;
use crate::world::World;

const FOLDERS: [&str; 4] = [".ssh/eic", ".local/state/ssh-eic", ".cache/ssh-eic", ".config/ssh-eic"];
/// A user id without an account.
const FOREIGN: u32 = 54321;

/// The regular files of the program below a home, after a connection.
pub(crate) fn all(home: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = FOLDERS.iter().map(|folder| home.join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let metadata = fs::symlink_metadata(entry.path()).unwrap();
            if metadata.is_dir() {
                folders.push(entry.path());
            } else if metadata.is_file() {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found
}

/// A way to damage a file of this content.
type Damage = (&'static str, fn(&Path, &[u8]));

const DAMAGES: &[Damage] = &[
    ("empty", |path, _| fs::write(path, "").unwrap()),
    ("cut in half", |path, content| fs::write(path, &content[..content.len() / 2]).unwrap()),
    ("garbage", |path, _| fs::write(path, (0..=255).cycle().take(5000).collect::<Vec<u8>>()).unwrap()),
    ("one bit changed", |path, content| {
        let mut content = content.to_vec();
        let middle = content.len() / 2;
        if let Some(byte) = content.get_mut(middle) {
            *byte ^= 4;
        }
        fs::write(path, content).unwrap();
    }),
    ("not to be read or written", |path, _| fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap()),
    ("of another user", |path, _| {
        if rustix::process::geteuid().is_root() {
            chown(path, Some(FOREIGN), None).unwrap();
        }
    }),
    ("a folder", |path, _| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
    }),
    ("a pipe", |path, _| {
        fs::remove_file(path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success());
    }),
];

/// Config, host keys and private keys.
fn is_read_by_ssh(path: &Path) -> bool {
    let name = path.file_name().unwrap().to_string_lossy();
    let is_record = [".push", ".lock", "-lock", ".json"].iter().any(|part| name.contains(part));
    path.to_string_lossy().contains("/.ssh/eic/") && !is_record
}

fn restore(path: &Path, content: &[u8], metadata: &fs::Metadata) {
    let _ = fs::remove_dir_all(path);
    let _ = fs::remove_file(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(metadata.mode() & 0o7777)).unwrap();
}

#[test]
fn a_damaged_file_is_repaired_or_named_and_never_a_crash() {
    let world = World::new();
    world.without_hurry();
    world.ssh(&["prod-web-1", "true"]).ok();
    let files = all(world.home());
    assert!(files.len() > 8, "{files:?}");
    let own = world.read(".ssh/config");
    for path in &files {
        for (what, damage) in DAMAGES {
            let Ok(metadata) = fs::metadata(path) else { continue };
            let content = fs::read(path).unwrap();
            damage(path, &content);
            // ssh itself waits for the writer of a pipe that is named in its config.
            if *what == "a pipe" && is_read_by_ssh(path) {
                restore(path, &content, &metadata);
                continue;
            }
            let what = format!("{} is {what}", path.display());
            is_handled(&world.ssh(&["prod-web-1", "true"]), &what);
            is_handled(&world.eic(&["sync"]), &what);
            is_handled(&world.eic(&["list"]), &what);
            assert_eq!(world.read(".ssh/config"), own, "{what}");
            restore(path, &content, &metadata);
        }
    }
    world.eic(&["sync"]).ok();
    assert_eq!(world.ssh(&["prod-web-1", "echo $SSH_EIC_INSTANCE"]).ok(), format!("{}\n", world.web1));
}
