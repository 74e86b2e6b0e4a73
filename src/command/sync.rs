//! `ssh-eic sync`: find the instances, rewrite the config.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::cli::{self, DiffFormat};
use crate::command::{Context, Exit, print, print_bytes};
use crate::discover::sync::{self, Difference, Occasion, Report, Run};
use crate::domain::config::Config;
use crate::domain::host_diff::HostChange;
use crate::domain::ssh_config::render;
use crate::domain::suggestion::nearest;
use crate::domain::text::first_names;
use crate::error::{Error, Kind, Result};
use crate::store::config;
use crate::store::index::Index;
use crate::store::{files, paths};
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
    let config = config::load(&context.paths.config, &context.paths.machine_config)?;
    check_names(context, &config, &args.sources)?;
    let run = Run {
        paths: &context.paths,
        config: &config,
        binary: environment::own_binary()?,
        flags: context.flags.clone(),
        only: (!args.sources.is_empty()).then(|| args.sources.clone()),
        if_older_than: args.if_older_than.map(|seconds| seconds * 1000),
        occasion: match (args.detached, ui::is_quiet()) {
            (true, _) => Occasion::Background,
            (false, true) => Occasion::Unread,
            (false, false) => Occasion::Person,
        },
        accept_moves: args.accept_moves,
    };
    if let Some(format) = args.diff {
        return print_diff(&sync::diff(&run)?, format);
    }
    if let Some(path) = &args.output {
        let (text, report) = sync::standalone(&run)?;
        write(path, &text)?;
        return Ok(end(&report));
    }
    let report = sync::run(&run)?;
    if let Some(why) = report.skipped {
        ui::verbose(|| why.to_owned());
    }
    Ok(end(&report))
}

/// Prints changed hosts and their totals, or the changed files as a unified diff. The exit code is at least 1 if there is a
/// difference.
fn print_diff(difference: &Difference, format: DiffFormat) -> Result<Exit> {
    let Difference { hosts, files, text, report } = difference;
    let is_different = match format {
        DiffFormat::Text => {
            print_bytes(text)?;
            !text.is_empty()
        }
        DiffFormat::Hosts if !hosts.changes.is_empty() => {
            let lines: Vec<String> = hosts.changes.iter().map(painted).chain([hosts.totals()]).collect();
            print(&(lines.join("\n") + "\n"))?;
            true
        }
        DiffFormat::Hosts if !files.is_empty() => {
            let files = files.iter().map(|file| file.display().to_string());
            ui::note(&format!("no host changes, only the text of {}", first_names(files, 5)));
            ui::hint("ssh-eic sync --diff=text");
            true
        }
        DiffFormat::Hosts => false,
    };
    let exit = end(report);
    Ok(if is_different { Exit::code(exit.code.max(Kind::No.exit_code())) } else { exit })
}

/// The line of a changed host, on a terminal in the colour of its kind.
fn painted(change: &HostChange) -> String {
    let line = ui::shown(&change.to_string());
    match change {
        HostChange::Added(_) => ui::coloured(&io::stdout(), &line, "32"),
        HostChange::Removed(_) => ui::coloured(&io::stdout(), &line, "31"),
        HostChange::Renamed(..) | HostChange::Changed(..) => line,
    }
}

fn end(report: &Report) -> Exit {
    Exit::of_sources(&report.failures)
}

/// What `--source` names: a source of the config, or one of those that it stands for.
fn check_names(context: &Context, config: &Config, names: &[String]) -> Result<()> {
    for name in names.iter().filter(|name| config.source(name).is_none()) {
        let index = Index::open(&context.paths.index())?;
        if index.map(|index| index.source(name)).transpose()?.flatten().is_none() {
            let known: Vec<&str> = config.sources.iter().map(|source| source.name.as_str()).collect();
            let near = nearest(name, known.iter().copied());
            let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            return Err(Error::new(Kind::Usage, format!("there is no source {name:?}{near}")).hint(format!(
                "{} has: {}",
                context.paths.config.display(),
                known.join(", ")
            )));
        }
    }
    Ok(())
}

/// Replaces a file of ours, or writes a new one; into a pipe or a device as it comes. Nothing of anybody else is replaced.
fn write(path: &Path, text: &str) -> Result<()> {
    if path == Path::new("-") {
        return print_bytes(text.as_bytes());
    }
    let path = paths::absolute(path)?;
    let fail = |error| Error::file("write", &path, &error);
    match fs::metadata(&path) {
        Ok(there) if !there.is_file() && !there.is_dir() => {
            return fs::OpenOptions::new()
                .write(true)
                .open(&path)
                .and_then(|mut file| file.write_all(text.as_bytes()))
                .map_err(fail);
        }
        Ok(there) => {
            let ours = there.uid() == rustix::process::geteuid().as_raw() && there.is_file();
            let begins = files::read(&path).ok().flatten().unwrap_or_default();
            if !ours || !(begins.is_empty() || begins.starts_with(render::HEADER.as_bytes())) {
                let words = format!("{} already exists and was not written by ssh-eic sync --output", path.display());
                return Err(Error::new(Kind::File, words).hint("name another file, or remove it first"));
            }
            // A user who could write it could have put a command into it.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(fail)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => {}
        Err(error) => return Err(fail(error)),
    }
    files::replace(&path, text.as_bytes(), 0o600)?;
    ui::note(&format!("wrote {}: ssh -F {0} NAME", path.display()));
    Ok(())
}
