//! The ssh config on disk: the three generated files, and the Include in the user's own.
//!
//! What stands in them is `core::render`'s and `core::splice`'s. ssh refuses every connection if an included file is
//! writable by others or owned by a stranger (readconf.c), so that is looked at before anything is written.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::core::render::{self, Files};
use crate::core::splice::{self, Edit};
use crate::error::{Error, Kind, Result};
use crate::store::files;
use crate::store::paths::Paths;

/// Writes the generated files into `folder`. Returns whether any of them changed.
///
/// # Errors
///
/// [`Kind::File`] naming the file.
pub fn write_generated(folder: &Path, generated: &Files) -> Result<bool> {
    files::make_private_folder(folder)?;
    let mut changed = false;
    // Routing first: a host whose hook is not there yet is pushed for by its proxy, never sent elsewhere.
    for (name, content) in [("guard", &generated.guard), ("hosts", &generated.hosts), ("hook", &generated.hook)] {
        changed |= files::replace(&folder.join(name), content.as_bytes(), 0o600)?;
    }
    Ok(changed)
}

/// Sees to it that the user's config includes ours at its top. Returns whether it was changed.
///
/// # Errors
///
/// [`Kind::File`] if it cannot be written or is not safe for ssh, [`Kind::Config`] if our line stands inside a block.
pub fn include(paths: &Paths, effective_uid: u32) -> Result<bool> {
    let planned = with_include(paths, effective_uid)?;
    if let Some(folder) = paths.ssh_config.parent() {
        files::make_private_folder(folder)?;
    }
    files::replace(&paths.ssh_config, &planned, 0o600)
}

/// What the user's config will be with our Include in it; nothing is written.
///
/// # Errors
///
/// As [`include`].
pub fn with_include(paths: &Paths, effective_uid: u32) -> Result<Vec<u8>> {
    let path = &paths.ssh_config;
    check_owner(paths, effective_uid)?;
    let config = files::read(path)?.unwrap_or_default();
    match splice::insert(&config, &include_line(paths)?) {
        Edit::Nothing => Ok(config),
        Edit::Replace(content) => Ok(content),
        Edit::Edited { line } => Err(Error::new(
            Kind::Config,
            format!("{}:{line}: other files have been added to our Include", path.display()),
        )
        .hint("give them an Include line of their own")),
        Edit::ByteOrderMark => Err(Error::new(
            Kind::Config,
            format!("{} starts with a byte-order mark, with which ssh refuses every connection", path.display()),
        )
        .hint(format!("sed -i '1s/^\\xef\\xbb\\xbf//' {}", path.display()))),
        Edit::Misplaced { line, block } => Err(Error::new(
            Kind::Config,
            format!(
                "{}:{line}: our Include stands inside the block of line {block}, where it has no effect",
                path.display()
            ),
        )
        .hint(format!("delete line {line} and run ssh-eic sync: it goes to the top of the file"))),
    }
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

/// Refuses a home that is somebody else's, as under sudo, before anything is written into it. ssh reads a config of
/// its user or of root only, and none that others may write.
///
/// # Errors
///
/// [`Kind::File`] naming the place, its owner and what to do.
pub fn check_owner(paths: &Paths, effective_uid: u32) -> Result<()> {
    let config = paths.ssh_config.as_path();
    let places =
        [paths.home.as_deref(), config.parent(), Some(config), paths.config.parent(), Some(paths.state.as_path())];
    for place in places.into_iter().flatten() {
        let metadata = match fs::metadata(place) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::file("look at", place, &error)),
        };
        if metadata.uid() != effective_uid {
            return Err(Error::new(
                Kind::File,
                format!("{} belongs to user id {}, not to you ({effective_uid})", place.display(), metadata.uid()),
            )
            .hint("run it as the user who owns the home, without sudo"));
        }
        if metadata.is_file() && metadata.mode() & 0o022 != 0 {
            return Err(Error::new(
                Kind::File,
                format!(
                    "{} can be written by others (mode {:o}): ssh refuses it",
                    place.display(),
                    metadata.mode() & 0o777
                ),
            )
            .hint(format!("chmod go-w {}", place.display())));
        }
    }
    Ok(())
}
