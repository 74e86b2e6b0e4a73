//! `ssh-eic config`: checks config.toml offline, and shows which files are read.

use std::fmt::Write as _;

use crate::cli::{self, ConfigAction};
use crate::command::{Context, Exit, print};
use crate::discover::config_check;
use crate::error::{Kind, Result};
use crate::store::config;
use crate::ui;

/// Checks the config or prints the paths of its files.
///
/// # Errors
///
/// [`Kind::Config`] for a file with an error in its form, [`Kind::File`] for one that cannot be read.
pub fn run(context: &Context, args: &cli::Config) -> Result<Exit> {
    match args.action {
        ConfigAction::Check => check(context),
        ConfigAction::Path => path(context),
    }
}

fn check(context: &Context) -> Result<Exit> {
    let paths = &context.paths;
    let config = config::load(&paths.config, &paths.machine_config)?;
    let problems = config_check::check(paths, &config)?;
    problems.iter().for_each(ui::error);
    if !problems.is_empty() {
        return Ok(Exit::code(Kind::Config.exit_code()));
    }
    let read = [&paths.config, &paths.machine_config].into_iter().filter(|path| path.exists());
    let read: Vec<String> = read.map(|path| path.display().to_string()).collect();
    if read.is_empty() {
        ui::note("there is no config file; the defaults apply");
    } else {
        ui::note(&format!("no errors in {}", read.join(", ")));
    }
    Ok(Exit::default())
}

/// One line for each file, `PATH: exists` or `PATH: does not exist`, the one that overrides the other first.
fn path(context: &Context) -> Result<Exit> {
    let mut text = String::new();
    for path in [&context.paths.config, &context.paths.machine_config] {
        let state = if path.exists() { "exists" } else { "does not exist" };
        let _ = writeln!(text, "{}: {state}", path.display());
    }
    print(&text)?;
    ui::note("the first file overrides the second; --config or SSH_EIC_CONFIG names another first file");
    Ok(Exit::default())
}
