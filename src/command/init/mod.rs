//! `ssh-eic init`: writes a commented config file, then syncs.
//!
//! The config file is written only after AWS has responded with it: a wrong profile, role or region, or an expired sign-in
//! leaves nothing behind. A file that is exactly as an earlier `init` wrote it is rewritten for other options; any other
//! file is the user's and never changed.
//!
//! Not here: the text of the file (`first_config`) and the questions on a terminal (`dialog`).

use std::path::Path;

use crate::aws::client;
use crate::aws::profiles::Profiles;
use crate::cli;
use crate::command::{Context, Exit};
use crate::discover::sync;
use crate::domain::diagnosis::Cause;
use crate::domain::source::{Source, Who};
use crate::domain::suggestion::nearest_region;
use crate::domain::text::shell_word;
use crate::error::{Error, Kind, Result};
use crate::store::config;
use crate::store::{files, ssh_config};
use crate::sys::environment;
use crate::ui;

mod dialog;
mod first_config;

/// Writes the config and syncs.
///
/// # Errors
///
/// [`Kind::Usage`] for options together with a config file that was edited; for a profile, SSO session or region that does
/// not exist, before anything is written; errors of writing the config and of the sync.
pub fn run(context: &Context, args: &cli::Init) -> Result<Exit> {
    let path = &context.paths.config;
    ssh_config::check_owner(&context.paths, rustix::process::geteuid().as_raw())?;
    let options = match files::read(path)? {
        Some(written) => rewriting(path, &written, args)?,
        None if !has_options(args) && !context.paths.machine_config.exists() => dialog::options(context)?,
        None => Some(args.clone()),
    };
    let text = options.as_ref().map(first_config::text);
    let config = match &text {
        Some(text) => {
            check_regions(options.as_ref().map_or(&[], |options| options.regions.as_slice()))?;
            // Rejects values that a later command could not read, such as a profile name with a quote.
            let config = config::parse(text, path).map_err(|error| without_place(error, path))?;
            config.sources.iter().try_for_each(check_identity)?;
            config::with_text(text, path, &context.paths.machine_config)?
        }
        None => config::load(path, &context.paths.machine_config)?,
    };
    let run = sync::Run {
        paths: &context.paths,
        config: &config,
        binary: environment::own_binary()?,
        flags: context.flags.clone(),
        only: None,
        if_older_than: None,
        occasion: sync::Occasion::Person,
        accept_moves: false,
    };
    let report = match &text {
        Some(text) => sync::first_run(&run, &|| write(path, text)),
        None => sync::run(&run),
    };
    let report = report.map_err(|error| explained(error, options.as_ref()))?;
    if report.hosts == 0 {
        let path = path.display();
        ui::hint(&format!(
            "run init again with other options, or change regions and tags in {path} and run ssh-eic sync"
        ));
    } else if report.is_read {
        let line = ssh_config::include_line(&context.paths)?;
        ui::verbose(|| format!("{} starts with: {line}", context.paths.ssh_config.display()));
        ui::note("done: connect with ssh NAME");
    }
    Ok(Exit::of_sources(&report.failures))
}

fn has_options(args: &cli::Init) -> bool {
    args.profile.is_some() || args.sso_session.is_some() || !args.regions.is_empty() || !args.tags.is_empty()
}

/// The options with which an existing config file is rewritten; none if it stays as it is.
fn rewriting(path: &Path, written: &[u8], args: &cli::Init) -> Result<Option<cli::Init>> {
    if !has_options(args) {
        ui::note(&format!("{} already exists and was not changed", path.display()));
        return Ok(None);
    }
    let before = std::str::from_utf8(written).ok().and_then(first_config::options_of);
    if before.is_some() {
        return Ok(Some(args.clone()));
    }
    let keys: Vec<String> = settings(args);
    Err(Error::new(Kind::Usage, format!("{} was edited, so that init does not change it", path.display()))
        .hint(format!("set {} under [[source]] there, then run ssh-eic sync", keys.join(", "))))
}

/// The lines of a config file that stand for the options.
fn settings(args: &cli::Init) -> Vec<String> {
    let text = first_config::text(args);
    let is_set = |line: &&str| !line.starts_with(['#', '[']) && line.contains(" = ");
    text.lines().filter(is_set).filter_map(|line| Some(line.split_once(" # ")?.0.trim_end().to_owned())).collect()
}

/// The error of a value without its place in a file that does not exist yet.
fn without_place(error: Error, path: &Path) -> Error {
    let rest = error.message.strip_prefix(&format!("{}:", path.display()));
    let message = rest.and_then(|rest| rest.split_once(": ")).map(|(_, message)| message.to_owned());
    match message {
        Some(message) => Error { message, ..error },
        None => error,
    }
}

/// Checks that no region is a typing error.
fn check_regions(regions: &[String]) -> Result<()> {
    for region in regions {
        if region.contains([',', ' ']) {
            let each: Vec<String> = region
                .split([',', ' '])
                .filter(|word| !word.is_empty())
                .map(|word| format!("--region {word}"))
                .collect();
            return Err(
                Error::new(Kind::Usage, format!("--region {region:?} is more than one region")).hint(each.join(" "))
            );
        }
        if let Some(near) = nearest_region(region) {
            return Err(Error::new(Kind::Usage, format!("{region} is not an AWS region; did you mean {near}?"))
                .hint(format!("--region {near}")));
        }
    }
    Ok(())
}

/// Checks that the profile or SSO session exists.
fn check_identity(source: &Source) -> Result<()> {
    let profiles = || client::run(Profiles::load());
    match &source.who {
        Who::Profile(profile) => profiles()?.check_exists(profile).map_err(|error| {
            let fix = format!("correct --profile, or aws configure --profile {}", shell_word(profile));
            Error { hints: vec![fix], ..error }
        })?,
        Who::Accounts(accounts) => drop(profiles()?.sso_session(&accounts.session)?),
        Who::Ambient | Who::Profiles(_) | Who::Sso(_) => {}
    }
    Ok(())
}

/// The error of a first sync, for a config file that does not exist yet.
fn explained(error: Error, options: Option<&cli::Init>) -> Error {
    let has_region = options.is_none_or(|options| !options.regions.is_empty());
    if has_region || error.cause != Some(Cause::NoRegion) {
        return error;
    }
    let mut hints = vec!["name one, such as --region eu-west-1, or all of them with --region all".to_owned()];
    if client::run(Profiles::load()).is_ok_and(|profiles| profiles.names().is_empty()) {
        hints.insert(0, "aws configure, or aws configure sso, for a first profile".to_owned());
    }
    Error { hints, ..error }
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        files::make_private_folder(folder)?;
    }
    let before = files::read(path)?;
    let before = before.as_deref().and_then(|text| std::str::from_utf8(text).ok()).and_then(first_config::options_of);
    if files::replace(path, text.as_bytes(), 0o600)? {
        let path = path.display();
        match before.map(|options| settings(&options)) {
            None => ui::note(&format!("wrote {path}")),
            Some(settings) if settings.is_empty() => ui::note(&format!("rewrote {path}, which had no settings")),
            Some(settings) => ui::note(&format!("rewrote {path}, which had {}", settings.join(", "))),
        }
    } else {
        ui::note(&format!("{} has these options already", path.display()));
    }
    Ok(())
}
