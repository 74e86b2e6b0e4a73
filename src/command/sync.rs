//! `ssh-eic sync`: find the instances, rewrite the config.

use std::thread;
use std::time::Duration;

use crate::cli;
use crate::command::{Context, Exit};
use crate::discover::sync;
use crate::error::{Error, Kind, Result};
use crate::store::config::Config;
use crate::sys::{detach, environment};
use crate::ui;

/// A refresh in the background lets the login go first.
const AFTER_YOU: Duration = Duration::from_secs(2);

/// Runs it.
///
/// # Errors
///
/// As `discover::sync`; sources that failed while others did not are told, and the first one's code is the exit code.
pub fn run(context: &Context, args: &cli::Sync) -> Result<Exit> {
    if args.detached {
        detach::leave_the_terminal();
        thread::sleep(AFTER_YOU);
    }
    let config = Config::load(&context.paths.config)?;
    for name in &args.sources {
        if config.source(name).is_none() {
            let known: Vec<&str> = config.sources.iter().map(|source| source.name.as_str()).collect();
            return Err(Error::new(Kind::Usage, format!("there is no source {name:?}")).hint(format!(
                "{} has: {}",
                context.paths.config.display(),
                known.join(", ")
            )));
        }
    }
    let report = sync::run(&sync::Run {
        paths: &context.paths,
        config: &config,
        binary: environment::own_binary()?,
        flags: context.flags.clone(),
        only: (!args.sources.is_empty()).then(|| args.sources.clone()),
        if_older_than: args.if_older_than.map(|seconds| seconds * 1000),
        give_way: args.detached,
    })?;
    if report.skipped {
        ui::verbose(|| "the last sync is young enough".to_owned());
    }
    Ok(Exit::of_sources(report.failures))
}
