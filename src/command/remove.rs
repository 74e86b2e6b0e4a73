//! `ssh-eic remove`: takes everything of ours away again. The user's own ssh config is as it was, byte for byte.

use std::fs;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::cli;
use crate::command::{Context, Exit};
use crate::discover::sync;
use crate::error::{Error, Result};
use crate::store::ssh_config;
use crate::ui;

/// Runs it.
///
/// # Errors
///
/// If the user's config cannot be understood or written: nothing is removed then. If a file cannot be removed.
pub fn run(context: &Context, args: &cli::Remove) -> Result<Exit> {
    let paths = &context.paths;
    ssh_config::check_owner(paths, rustix::process::geteuid().as_raw())?;
    let lock = sync::lock(paths, false)?;
    // First the part that ssh reads: what it names may be gone a moment later.
    if ssh_config::give_back(paths)? {
        ui::note(&format!("took our part out of {}", paths.ssh_config.display()));
    }
    let open = remove_sockets(&paths.eic.join("cm"))?;
    if open > 0 {
        ui::note(&format!("{open} shared connections are still open; each ends with its last session"));
    }
    for name in ["guard", "hosts", "hook", "known_hosts", "known_hosts.old", "known_hosts.console"] {
        remove(&paths.eic.join(name))?;
    }
    remove_tree(&paths.keys())?;
    remove_tree(&paths.cache)?;
    let _ = fs::remove_dir(&paths.eic);
    ssh_config::give_back_folder(paths)?;
    let mut own = vec![paths.index(), paths.refresh_stamp(), paths.push_rate(), paths.created()];
    if args.all {
        own.extend([paths.push_log(), paths.push_log().with_extension("jsonl.1"), paths.config.clone()]);
    }
    for path in own {
        remove(&path)?;
    }
    drop(lock);
    remove(&paths.sync_lock())?;
    for folder in [Some(paths.state.as_path()), args.all.then(|| paths.config.parent()).flatten()].into_iter().flatten()
    {
        // Whatever else is in it is not ours to remove.
        let _ = fs::remove_dir(folder);
    }
    let kept: Vec<String> = [&paths.config, &paths.push_log()]
        .into_iter()
        .filter(|path| path.exists())
        .map(|path| path.display().to_string())
        .collect();
    if !kept.is_empty() {
        ui::note(&format!("kept: {} (ssh-eic remove --all takes these, too)", kept.join(", ")));
    }
    Ok(Exit::default())
}

/// Removes the sockets of masters that have ended; how many have not.
fn remove_sockets(folder: &Path) -> Result<usize> {
    let mut open = 0;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if UnixStream::connect(entry.path()).is_ok() {
            open += 1;
        } else {
            remove(&entry.path())?;
        }
    }
    let _ = fs::remove_dir(folder);
    Ok(open)
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file("remove", path, &error)),
        _ => Ok(()),
    }
}

fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file("remove", path, &error)),
        _ => Ok(()),
    }
}
