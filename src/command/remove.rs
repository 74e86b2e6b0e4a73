//! `ssh-eic remove`: takes everything of ours away again. The user's own ssh config is as it was, byte for byte.
//!
//! Only what has a name of ours is removed, never a folder with whatever is in it.

use std::cell::Cell;
use std::fs;
use std::path::Path;

use crate::cli;
use crate::command::{Context, Exit};
use crate::domain::ids::InstanceId;
use crate::domain::ssh_config::render::FILES;
use crate::error::{Result, reason};
use crate::store::paths::Paths;
use crate::store::{credentials, host_keys, ssh_config, writers};
use crate::sys::descriptors;
use crate::ui;

/// Runs it.
///
/// # Errors
///
/// If the user's config cannot be understood or written: nothing is removed then.
pub fn run(context: &Context, args: &cli::Remove) -> Result<Exit> {
    let paths = &context.paths;
    ssh_config::check_owner(paths, rustix::process::geteuid().as_raw())?;
    let lock = writers::lock(paths, false)?;
    let removed = Cell::new(0);
    // First the part that ssh reads: what it names may be gone a moment later.
    if ssh_config::give_back(paths)? {
        ui::note(&format!("removed the lines of ssh-eic from {}", paths.ssh_config.display()));
        removed.set(1);
    }
    let open = remove_sockets(&paths.eic.join("cm"), &removed);
    match open {
        0 => {}
        1 => ui::note("a shared connection is still open; it ends with its last session"),
        more => ui::note(&format!("{more} shared connections are still open; each ends with its last session")),
    }
    remove_generated(paths, &removed);
    let mut own = vec![
        paths.index(),
        paths.unread_changes(),
        paths.refresh_stamp(),
        paths.push_rate(),
        paths.push_rate().with_extension("lock"),
    ];
    if open == 0 {
        ssh_config::give_back_folder(paths)?;
        own.push(paths.created());
    }
    if args.all {
        own.extend([paths.push_log(), paths.push_log().with_extension("jsonl.1"), paths.config.clone()]);
    }
    for path in &own {
        remove(path, &removed);
    }
    // This command itself made the lock.
    remove(&paths.sync_lock(), &Cell::new(0));
    remove_if_empty(&paths.state);
    if args.all
        && let Some(folder) = paths.config.parent()
    {
        remove_if_empty(folder);
    }
    drop(lock);
    if removed.get() == 0 && open == 0 {
        ui::note("nothing to remove: ssh-eic has written nothing here");
    }
    let kept: Vec<String> = [&paths.config, &paths.push_log()]
        .into_iter()
        .filter(|path| path.exists())
        .map(|path| path.display().to_string())
        .collect();
    if !kept.is_empty() {
        ui::note(&format!("kept: {} (ssh-eic remove --all also removes these)", kept.join(", ")));
    }
    Ok(Exit::default())
}

/// Removes what ssh, the proxies and syncs have put into our folders.
fn remove_generated(paths: &Paths, removed: &Cell<usize>) {
    let remove = |path: &Path| remove(path, removed);
    let remove_in = |folder: &Path, is_ours: &dyn Fn(&str) -> bool| remove_in(folder, is_ours, removed);
    for name in FILES {
        remove(&paths.eic.join(name));
    }
    for name in ["known_hosts", "known_hosts.old", "known_hosts.console"] {
        let path = paths.eic.join(name);
        let of_instances = |text: &str| text.lines().all(|line| line.trim_start_matches('[').starts_with("i-"));
        // SSH_EIC_HOME can be a folder that contains other files.
        if paths.home.is_some() || fs::read_to_string(&path).is_ok_and(|text| of_instances(&text)) {
            remove(&path);
        }
    }
    remove_in(&paths.keys(), &|name| InstanceId::parse(name.split('.').next().unwrap_or_default()).is_some());
    remove_in(&paths.host_keys(), &|name| host_keys::id_of_file(name).is_some());
    let credential_folders = credentials::all_folders(paths);
    for folder in &credential_folders {
        remove_in(folder, &|name| {
            let (digest, extension) = name.split_once('.').unwrap_or_default();
            matches!(extension, "json" | "lock") && digest.len() == 32 && digest.bytes().all(|b| b.is_ascii_hexdigit())
        });
    }
    remove(&paths.credential_folders());
    if let Some(tokens) = paths.sso_tokens() {
        // The locks of refreshes; the tokens are not ours.
        remove_in(&tokens, &|name| name.ends_with(".ssh-eic.lock"));
    }
    remove_in(&paths.cache, &|name| matches!(name, "images.json" | "routes.json" | "console-sample"));
    remove_in(&paths.endpoints(), &|name| name.split_once('.').is_some_and(|(_, extension)| extension == "json"));
    remove_in(&paths.tunnel_slots(), &|name| name.starts_with("eice-"));
    // With the lock held, no temporary is anybody's.
    writers::sweep_temporaries(paths, true);
    for folder in credential_folders {
        remove_if_empty(&folder);
        folder.parent().inspect(|cache| remove_if_empty(cache));
    }
    let folders = [paths.keys(), paths.host_keys(), paths.tunnel_slots(), paths.endpoints(), paths.cache.clone()];
    for folder in folders.into_iter().chain([paths.eic.clone()]) {
        remove_if_empty(&folder);
    }
}

/// Removes the sockets of masters that have ended; how many have not.
fn remove_sockets(folder: &Path, removed: &Cell<usize>) -> usize {
    let mut open = 0;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with("i-");
        if is_ours && descriptors::has_listener(&entry.path()) {
            open += 1;
        } else if is_ours {
            remove(&entry.path(), removed);
        }
    }
    remove_if_empty(folder);
    open
}

/// Removes the files of a folder that have a name of ours.
fn remove_in(folder: &Path, is_ours: &dyn Fn(&str) -> bool, removed: &Cell<usize>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if is_ours(&entry.file_name().to_string_lossy()) {
            remove(&entry.path(), removed);
        }
    }
}

/// Removes a file and counts it. A failure is a warning, so that the other files are removed.
fn remove(path: &Path, removed: &Cell<usize>) {
    match fs::remove_file(path) {
        Ok(()) => removed.set(removed.get() + 1),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            ui::warning(&format!("cannot remove {}: {}", path.display(), reason(&error)));
        }
        _ => {}
    }
}

/// Whatever else is in a folder is not ours to remove.
fn remove_if_empty(folder: &Path) {
    let _ = fs::remove_dir(folder);
}
