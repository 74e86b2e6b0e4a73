//! The ssh config on disk: the generated files, and the generated part of the user's own.
//!
//! Their content comes from `domain::ssh_config`. ssh refuses every connection if an included file is writable by others
//! or owned by another user (readconf.c), so that this is checked before anything is written.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::domain::config::Layout;
use crate::domain::diagnosis::Cause;
use crate::domain::ids::InstanceId;
use crate::domain::ssh_config::edit::{self, Edit, Part, Trouble};
use crate::domain::ssh_config::read;
use crate::domain::ssh_config::render::{self, Files};
use crate::error::{Error, Kind, Result};
use crate::store::paths::Paths;
use crate::store::{files, trusted};

/// The user's config as it is and as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// None where there is no file.
    pub before: Option<Vec<u8>>,
    /// With our part in it.
    pub after: Vec<u8>,
}

/// Writes the generated files into `folder`. Returns whether any of them changed.
///
/// # Errors
///
/// [`Kind::File`] naming the file.
pub fn write_generated(folder: &Path, generated: &Files) -> Result<bool> {
    write_some(folder, generated, &render::FILES)
}

fn write_some(folder: &Path, generated: &Files, names: &[&str]) -> Result<bool> {
    files::make_private_folder(folder)?;
    let mut changed = false;
    // In reverse: what refuses user names, and the routing, before what includes them.
    for (name, content) in generated.named().into_iter().rev().filter(|(name, _)| names.contains(name)) {
        changed |= files::replace_own(&folder.join(name), content.as_bytes(), 0o600)?;
    }
    Ok(changed)
}

/// Plans our part of the user's config; nothing is written.
///
/// # Errors
///
/// [`Kind::File`] if it cannot be read or is not safe for ssh, [`Kind::Config`] with the line if it cannot be understood.
pub fn plan(paths: &Paths, layout: Layout, generated: &Files) -> Result<Planned> {
    let path = &paths.ssh_config;
    let before = files::read(path)?;
    let config = before.as_deref().unwrap_or_default();
    let line = include_line(paths)?;
    let body = if layout == Layout::Inline { generated.in_one() } else { String::new() };
    let part = match layout {
        Layout::Include => Part::Line,
        Layout::Inline => Part::Block(&body),
    };
    let after = match edit::insert(config, &line, part) {
        Edit::Nothing => config.to_vec(),
        Edit::Replace(content) => content,
        Edit::Stop(trouble) => return Err(unchanged(explained(trouble, path))),
    };
    Ok(Planned { before, after })
}

/// Writes both, in the order in which neither is missed in between. Our part is planned on what the user's config is at
/// this moment: it may have been saved since it was proven. Returns whether it was changed.
///
/// # Errors
///
/// [`Kind::File`] naming the file; a config that may not be written is told with what to put there by hand.
pub fn write(paths: &Paths, layout: Layout, generated: &Files) -> Result<bool> {
    write_some(&paths.eic, generated, names_of(layout))?;
    let planned = plan(paths, layout, generated)?;
    let changed = planned.before.as_ref() != Some(&planned.after);
    if changed {
        write_config(paths, &planned).map_err(|error| match (layout, include_line(paths)) {
            (Layout::Include, Ok(line)) => error.hint(format!("or put this at its top yourself: {line}")),
            _ => error,
        })?;
    }
    // An ssh that has read the user's config before it was replaced still opens the files that it includes: the next sync
    // removes what the other layout had.
    let unused = render::FILES.iter().filter(|name| !changed && !names_of(layout).contains(name));
    for name in unused {
        remove_file(&paths.eic.join(name))?;
    }
    Ok(changed)
}

/// Names of the generated files that a layout has.
#[must_use]
pub fn names_of(layout: Layout) -> &'static [&'static str] {
    match layout {
        Layout::Include => &render::FILES,
        Layout::Inline => &render::NESTED,
    }
}

fn write_config(paths: &Paths, planned: &Planned) -> Result<()> {
    let path = &paths.ssh_config;
    match fs::metadata(path) {
        Ok(metadata) if metadata.uid() != rustix::process::geteuid().as_raw() => {
            let words = format!("{} belongs to user id {} and is not changed", path.display(), metadata.uid());
            return Err(Error::new(Kind::File, words).hint("run it as the user who owns it"));
        }
        Ok(metadata) if metadata.mode() & 0o200 == 0 => {
            let words =
                format!("{} is read-only (mode {:o}) and is not changed", path.display(), metadata.mode() & 0o777);
            return Err(Error::new(Kind::File, words).hint(format!("chmod u+w {}", path.display())));
        }
        _ => {}
    }
    if let Some(folder) = path.parent() {
        files::make_private_folder(folder)?;
    }
    files::replace(path, &planned.after, 0o600).map(drop)
}

/// Notes what of the user's own is not there yet, before anything is made: the config, and the folder that it is in.
///
/// # Errors
///
/// [`Kind::File`] if it cannot be noted.
pub fn note_absent(paths: &Paths) -> Result<()> {
    let mut noted = noted_absent(paths)?;
    let mut note = |what: &str, path: &Path| {
        if !path.exists() && !noted.iter().any(|known| known == what) {
            noted.push(what.to_owned());
            return true;
        }
        false
    };
    let folder = paths.ssh_config.parent().filter(|folder| **folder != *paths.eic);
    let news = [note(CONFIG, &paths.ssh_config), folder.is_some_and(|folder| note(FOLDER, folder))];
    if news.contains(&true) {
        files::make_private_folder(&paths.state)?;
        files::replace_own(&paths.created(), (noted.join("\n") + "\n").as_bytes(), 0o600)?;
    }
    Ok(())
}

/// What [`note_absent`] notes.
const CONFIG: &str = "config";
const FOLDER: &str = "folder";

fn noted_absent(paths: &Paths) -> Result<Vec<String>> {
    let text = trusted::read(&paths.created())?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&text).lines().map(str::to_owned).collect())
}

/// What the user's config would be without us; none where there is nothing of ours in it.
///
/// # Errors
///
/// As [`plan`].
pub fn without_us(paths: &Paths) -> Result<Option<Vec<u8>>> {
    let path = &paths.ssh_config;
    let Some(config) = files::read(path)? else { return Ok(None) };
    let rest = edit::remove(&config, &include_line(paths)?).map_err(|trouble| unchanged(explained(trouble, path)))?;
    Ok((rest != config).then_some(rest))
}

/// Gives the user's config back as it was, byte for byte: a file that was not there before us is removed.
///
/// # Errors
///
/// As [`write`].
pub fn give_back(paths: &Paths) -> Result<bool> {
    let Some(rest) = without_us(paths)? else { return Ok(false) };
    if rest.is_empty() && noted_absent(paths)?.iter().any(|what| what == CONFIG) {
        // A link of the user's into nowhere stays one.
        let target = paths.ssh_config.canonicalize().unwrap_or_else(|_| paths.ssh_config.clone());
        remove_file(&target)?;
    } else {
        let planned = Planned { before: Some(Vec::new()), after: rest };
        write_config(paths, &planned)?;
    }
    Ok(true)
}

/// Removes the folder of the config if it is empty and was not there before us.
///
/// # Errors
///
/// If the note of it cannot be read.
pub fn give_back_folder(paths: &Paths) -> Result<()> {
    if let Some(folder) = paths.ssh_config.parent()
        && noted_absent(paths)?.iter().any(|what| what == FOLDER)
    {
        // Whatever else is in it by now is not ours to remove.
        let _ = fs::remove_dir(folder);
    }
    Ok(())
}

/// Refuses a folder of `SSH_EIC_HOME` in which there are things of others: keys and `known_hosts` in it would be taken
/// for ours.
///
/// # Errors
///
/// [`Kind::File`] naming some of them.
pub fn check_own_folder(paths: &Paths) -> Result<()> {
    if paths.home.is_some() || paths.index().exists() {
        return Ok(());
    }
    let ours = ["config.toml", "ssh_config", "state", "cache", "keys", "cm", "host-keys"];
    let strangers: Vec<String> = fs::read_dir(&paths.eic)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| {
            !ours.contains(&name.as_str())
                && !render::FILES.contains(&name.as_str())
                && !name.starts_with(".ssh-eic-")
                && !name.starts_with("known_hosts")
        })
        .take(3)
        .collect();
    if strangers.is_empty() {
        return Ok(());
    }
    let words = format!("SSH_EIC_HOME {} has other things in it: {}", paths.eic.display(), strangers.join(", "));
    Err(Error::new(Kind::File, words).hint("name a folder that is empty or does not exist"))
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file("remove", path, &error)),
        _ => Ok(()),
    }
}

/// Why the user's config is not touched, in words.
#[must_use]
pub fn explained(trouble: Trouble, path: &Path) -> Error {
    let file = path.display();
    let cause = match trouble {
        Trouble::Misplaced { .. } => Cause::IncludeMisplaced,
        Trouble::ByteOrderMark => Cause::SshConfigBroken,
        _ => Cause::IncludeEdited,
    };
    let (at, words, hint) = match trouble {
        Trouble::EditedLine { line } => (
            line,
            "other files were added to the Include line of ssh-eic".to_owned(),
            "move them to an Include line of their own".to_owned(),
        ),
        Trouble::EditedBlock { line, end } => (
            line,
            format!("the ssh-eic block, which ends in line {end}, was edited by hand"),
            format!(
                "move what you need into [[host]] or [ssh] options of config.toml, delete lines {line} to {end}, and run it again"
            ),
        ),
        Trouble::Unclosed { line } => (
            line,
            "the ssh-eic block that starts here has no end".to_owned(),
            "delete the rest of the block, including its marker line, and run the command again".to_owned(),
        ),
        Trouble::Unopened { line } => (
            line,
            "the ssh-eic block that ends here has no start".to_owned(),
            "delete the rest of the block, including its marker line, and run the command again".to_owned(),
        ),
        Trouble::Misplaced { line, block } => (
            line,
            format!("the ssh-eic lines are inside the block of line {block}, where they have no effect"),
            format!("delete line {line} and run ssh-eic sync, which writes it at the top of the file"),
        ),
        Trouble::ByteOrderMark => {
            return Error::new(
                Kind::Config,
                format!("{file} starts with a byte-order mark, so ssh refuses every connection"),
            )
            .hint(format!("sed -i '1s/^\\xef\\xbb\\xbf//' {file}"))
            .cause(cause);
        }
    };
    Error::new(Kind::Config, format!("{file}:{at}: {words}")).hint(hint).cause(cause)
}

/// The same error of an edit that was not made.
fn unchanged(mut error: Error) -> Error {
    error.message += "; nothing was changed";
    error
}

/// The names that lead to instances in what we generated (or the user wrote alike), in lower case, and whose they are:
/// what is left to know where the index is lost.
#[must_use]
pub fn names_written(paths: &Paths) -> Vec<(String, InstanceId)> {
    let mut found = Vec::new();
    for path in [paths.eic.join("hosts"), paths.ssh_config.clone()] {
        let mut waiting: Vec<String> = Vec::new();
        for line in read::lines(&files::read(&path).ok().flatten().unwrap_or_default()) {
            match line.keyword.as_str() {
                "host" => waiting = line.arguments,
                "hostkeyalias" => {
                    let id = line.arguments.first().and_then(|id| InstanceId::parse(id));
                    let named = waiting.drain(..).filter_map(|name| Some((name.to_ascii_lowercase(), id.clone()?)));
                    found.extend(named);
                }
                _ => {}
            }
        }
    }
    found
}

/// The line that includes our files.
///
/// # Errors
///
/// [`Kind::File`] for a home that cannot be written into `ssh_config`.
pub fn include_line(paths: &Paths) -> Result<String> {
    let folder = paths.eic_text().ok_or("it is not UTF-8".to_owned()).and_then(|text| {
        render::check_path(text)?;
        Ok(text)
    });
    folder.map(render::include_line).map_err(|why| {
        Error::new(Kind::File, format!("the path {}: {why}", paths.eic.display()))
            .hint("set SSH_EIC_HOME to a folder with a plain name")
    })
}

/// Rejects a home directory of another user, as under sudo, before anything is written into it. ssh reads a config of
/// its user or of root only, and none that others may write.
///
/// # Errors
///
/// [`Kind::File`] naming the place, its owner and what to do.
pub fn check_owner(paths: &Paths, effective_uid: u32) -> Result<()> {
    let config = paths.ssh_config.as_path();
    let places = [
        paths.home.as_deref(),
        config.parent(),
        Some(config),
        paths.config.parent(),
        Some(paths.state.as_path()),
        Some(paths.eic.as_path()),
    ];
    for place in places.into_iter().flatten() {
        let metadata = match fs::metadata(place) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::file("access", place, &error)),
        };
        // A config of root's is one that an administrator gives: ssh takes it, and it may include us already.
        let owners: &[u32] = if place == config { &[effective_uid, 0] } else { &[effective_uid] };
        if !owners.contains(&metadata.uid()) {
            return Err(Error::new(
                Kind::File,
                format!("{} belongs to user id {}, not to you ({effective_uid})", place.display(), metadata.uid()),
            )
            .hint("run it as the user who owns the home, without sudo")
            .cause(Cause::NotYours));
        }
        if metadata.is_file() && metadata.mode() & 0o022 != 0 {
            return Err(Error::new(
                Kind::File,
                format!(
                    "other users can write {} (mode {:o}), so ssh rejects it",
                    place.display(),
                    metadata.mode() & 0o777
                ),
            )
            .hint(format!("chmod go-w {}", place.display()))
            .cause(Cause::FileWritable));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_lines_are_reported_with_their_number_and_one_action() {
        let remainder = "delete the rest of the block, including its marker line, and run the command again";
        for (trouble, message, hint) in [
            (
                Trouble::EditedLine { line: 3 },
                "~/c:3: other files were added to the Include line of ssh-eic",
                "move them to an Include line of their own",
            ),
            (
                Trouble::EditedBlock { line: 3, end: 9 },
                "~/c:3: the ssh-eic block, which ends in line 9, was edited by hand",
                "move what you need into [[host]] or [ssh] options of config.toml, delete lines 3 to 9, and run it again",
            ),
            (Trouble::Unclosed { line: 3 }, "~/c:3: the ssh-eic block that starts here has no end", remainder),
            (Trouble::Unopened { line: 3 }, "~/c:3: the ssh-eic block that ends here has no start", remainder),
            (
                Trouble::Misplaced { line: 3, block: 1 },
                "~/c:3: the ssh-eic lines are inside the block of line 1, where they have no effect",
                "delete line 3 and run ssh-eic sync, which writes it at the top of the file",
            ),
        ] {
            let error = explained(trouble, Path::new("~/c"));
            assert_eq!((error.message.as_str(), error.hints.as_slice()), (message, &[hint.to_owned()][..]));
        }
    }
}
