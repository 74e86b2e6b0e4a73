//! Our own state: the config, the index, and the program that the generated files name.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::CheckContext;
use crate::cli;
use crate::domain::diagnosis::{Cause, Finding};
use crate::domain::duration::rounded;
use crate::domain::fleet::PreviousHost;
use crate::domain::ssh_config::render;
use crate::error::Result;
use crate::store::files;
use crate::store::index::Content;
use crate::sys::{clock, limited};

/// It is readable and valid.
pub(super) fn config(context: &CheckContext<'_>) -> Result<Vec<Finding>> {
    let sources = context.config()?.sources.len();
    let path = context.paths.config.display();
    if context.paths.config_is_named && !context.paths.config.exists() {
        return Ok(vec![Finding::problem("config", Cause::ConfigMissing, format!("there is no config file {path}"))]);
    }
    let what = match (context.paths.config.exists(), context.paths.machine_config.exists()) {
        (true, _) => format!("{path}, {sources} source{}", if sources == 1 { "" } else { "s" }),
        (false, true) => context.paths.machine_config.display().to_string(),
        (false, false) => format!("there is no {path}: all instances of the default profile and region"),
    };
    Ok(vec![Finding::ok("config", what)])
}

/// Milliseconds after which an index is old: a refresh has had every chance.
const OLD: u64 = 24 * 60 * 60 * 1000;

/// It is there, whole, young, and made from this config.
pub(super) fn index(context: &CheckContext<'_>) -> Result<Vec<Finding>> {
    let index = context.index()?;
    let indexed: Content<PreviousHost> = index.content()?;
    if indexed.damaged > 0 {
        let message = format!("{} lines of {} cannot be read", indexed.damaged, context.paths.index().display());
        return Ok(vec![Finding::problem("index", Cause::IndexDamaged, message)]);
    }
    let hosts = match indexed.hosts.len() {
        1 => "1 host".to_owned(),
        count => format!("{count} hosts"),
    };
    let now = clock::now();
    let age = now.saturating_sub(index.header.synced);
    if index.header.synced > now {
        let message = format!("{hosts}, the last complete sync has a time in the future");
        return Ok(vec![Finding::note("index", Cause::IndexOld, message)]);
    }
    let message = format!("{hosts}, the last complete sync is {} ago", rounded(age / 1000));
    Ok(vec![if age >= OLD {
        Finding::note("index", Cause::IndexOld, message)
    } else if index.header.made_from != context.config()?.digest {
        Finding::note("index", Cause::ConfigNewer, format!("{message}, and config.toml has changed since"))
    } else {
        Finding::ok("index", message)
    }])
}

/// How long another program may take to say its version.
const VERSION_TIMEOUT: Duration = Duration::from_secs(5);

/// The generated files name a program that is there, and it is this one.
pub(super) fn program(context: &CheckContext<'_>) -> Result<Vec<Finding>> {
    let Some(path) = named_program(context)? else { return Ok(Vec::new()) };
    let shown = path.display();
    let own = &context.program.binary;
    let is_same = |a: &Path, b: &Path| matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b);
    if is_same(&path, own) {
        return Ok(vec![Finding::ok("program", shown.to_string())]);
    }
    let said = limited::run(Command::new(&path).arg("--version"), VERSION_TIMEOUT);
    let said = match said {
        Ok(said) if said.code == Some(0) => said.stdout.trim().to_owned(),
        _ => {
            let message = format!("ssh starts {shown}, which is not there or does not run");
            return Ok(vec![Finding::problem("program", Cause::ProgramGone, message)]);
        }
    };
    let mine = format!("ssh-eic {}", cli::VERSION);
    Ok(vec![if said == mine {
        Finding::ok("program", format!("{shown}, {said}"))
    } else {
        let message = format!("ssh starts {shown}, which is {said:?}; this is {mine}, {}", own.display());
        Finding::note("program", Cause::ProgramOther, message)
    }])
}

fn named_program(context: &CheckContext<'_>) -> Result<Option<PathBuf>> {
    // The hook names it in every layout.
    for path in [context.paths.eic.join("hook"), context.paths.ssh_config.clone()] {
        let text = files::read(&path)?.unwrap_or_default();
        if let Some(program) = render::named_program(&String::from_utf8_lossy(&text)) {
            return Ok(Some(program.into()));
        }
    }
    Ok(None)
}
