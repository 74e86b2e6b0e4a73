//! Links at the paths of our files that lead to other files.

use std::fs;
use std::path::{Path, PathBuf};

use crate::faults::files;
use crate::world::World;

/// Files that belong to the user and may be links.
fn is_of_the_user(path: &Path) -> bool {
    path.ends_with("config.toml")
}

/// For each of our files: a link made by `link` at its path to a copy of it elsewhere, and everything that writes. The copy
/// stays as it is.
fn never_written_through(link: fn(&Path, &Path)) {
    let world = World::new();
    world.without_hurry();
    world.ssh(&["prod-web-1", "true"]).ok();
    let files: Vec<PathBuf> = files::all(world.home()).into_iter().filter(|path| !is_of_the_user(path)).collect();
    assert!(files.len() > 8, "{files:?}");
    let victim = world.home().join("victim");
    for path in &files {
        let Ok(content) = fs::read(path) else { continue };
        fs::write(&victim, &content).unwrap();
        fs::remove_file(path).unwrap();
        link(&victim, path);
        // Another instance, so that there is something to write; a new push and a new key; the log.
        world.sandbox.add(sandbox::Instance::new("another")).unwrap();
        for args in [&["sync"][..], &["push", "prod-web-1"], &["push", "prod-web-2"], &["list"]] {
            world.eic(args);
        }
        world.ssh(&["prod-web-1", "true"]);
        assert_eq!(fs::read(&victim).unwrap(), content, "through {}", path.display());
        world.eic(&["logout"]);
        assert_eq!(fs::read(&victim).unwrap(), content, "by logout through {}", path.display());
        fs::remove_file(&victim).unwrap();
        let _ = fs::remove_file(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, &content).unwrap();
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
    world.eic(&["sync"]).ok();
    world.ssh(&["prod-web-1", "true"]).ok();
}

#[test]
fn a_planted_symbolic_link_is_never_written_through() {
    never_written_through(|victim, path| std::os::unix::fs::symlink(victim, path).unwrap());
}

#[test]
fn a_planted_hard_link_is_never_written_through() {
    never_written_through(|victim, path| fs::hard_link(victim, path).unwrap());
}
