//! ssh-eic: plain `ssh` to private EC2 instances through EC2 Instance Connect.
//!
//! The map, from the top floor down; an upper floor may use a lower one, never the reverse, and commands never use
//! each other (a test reads the `use` lines).
//!
//! | floor | module | what it is for |
//! | --- | --- | --- |
//! | 6 | [`command`] | one subcommand each: read its name, know its job |
//! | 5 | [`connect`] | one connection: push once, reach the address, hold the handshake, carry the bytes |
//! | 5 | [`discover`] | from the configured sources to the files that ssh reads |
//! | 4 | [`cli`] | the clap types |
//! | 3 | [`aws`] | AWS calls: the only module that knows the SDK |
//! | 3 | [`store`] | our files on disk |
//! | 3 | [`sys`] | the operating system |
//! | 2 | [`ui`] | words on the terminal |
//! | 2 | [`error`] | the one error type and the exit codes |
//! | 1 | [`core`] | pure: values in, values out |
//!
//! The way of one connection: ssh parses the config and runs [`command::match_hook`], then starts [`command::proxy`],
//! which opens it in [`connect::opening`] with the push in a [`connect::worker`], and carries it in [`connect::relay`].

pub mod aws;
pub mod cli;
pub mod command;
pub mod connect;
pub mod core;
pub mod discover;
pub mod error;
pub mod store;
pub mod sys;
pub mod ui;

use std::ffi::OsString;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::command::{Context, Exit};
use crate::error::{Error, Kind, Result};
use crate::store::config;
use crate::store::paths::Paths;
use crate::sys::environment;

/// Runs the program with these arguments, the program's own name first.
#[must_use]
pub fn run(args: Vec<OsString>) -> Exit {
    let hook = hook_arguments(&args).map(|(alias, user)| (alias.to_owned(), user.map(str::to_owned)));
    let done = match hook {
        Some((alias, user)) => run_hook(&alias, user.as_deref()),
        None => match Cli::try_parse_from(args) {
            Ok(cli) => run_command(cli),
            Err(usage) => return told_by_clap(&usage),
        },
    };
    done.unwrap_or_else(|error| Exit { code: error.kind.exit_code(), error: Some(error) })
}

/// The hook as sync writes it, told without building the whole command line parser: it runs at every connection.
fn hook_arguments(args: &[OsString]) -> Option<(&str, Option<&str>)> {
    let word = |at: usize| args.get(at).and_then(|arg| arg.to_str());
    let plain = |text: &&str| !text.starts_with('-');
    match (args.len(), word(1)?) {
        (3, "match") => word(2).filter(plain).map(|alias| (alias, None)),
        (4, "match") => Some((word(2).filter(plain)?, Some(word(3).filter(plain)?))),
        _ => None,
    }
}

fn run_hook(alias: &str, user: Option<&str>) -> Result<Exit> {
    ui::set_level(false, 0, log_level().as_deref());
    command::match_hook::run(&context(None, None)?, alias, user)
}

fn run_command(cli: Cli) -> Result<Exit> {
    ui::set_level(cli.global.quiet, cli.global.verbose, log_level().as_deref());
    let absolute = |path: Option<std::path::PathBuf>| path.map(|path| config::absolute(&path)).transpose();
    let context = context(absolute(cli.global.home)?, absolute(cli.global.config)?)?;
    match cli.command {
        Command::Generate(args) => command::generate::run(&args),
        Command::Init(args) => command::init::run(&context, &args),
        Command::Sync(args) => command::sync::run(&context, &args),
        Command::List(args) => command::list::run(&context, &args),
        Command::Match(args) => command::match_hook::run(&context, &args.alias, args.user.as_deref()),
        Command::Policy(args) => command::policy::run(&context, &args),
        Command::Proxy(args) => command::proxy::run(&context, &args),
        Command::Worker => command::worker::run(&context),
    }
}

fn log_level() -> Option<String> {
    environment::variable("SSH_EIC_LOG").map(|value| value.to_string_lossy().into_owned())
}

/// Paths, and the flags that lead the hook and the proxy to the same ones: ssh does not pass our flags on, and it may
/// be started without our variables.
fn context(home: Option<std::path::PathBuf>, config: Option<std::path::PathBuf>) -> Result<Context> {
    let environment = environment::of_paths(home, config);
    let paths = Paths::new(&environment).ok_or_else(|| {
        Error::new(Kind::File, "there is no home directory").hint("set HOME, or SSH_EIC_HOME to a folder of its own")
    })?;
    let mut flags = Vec::new();
    for (flag, path) in [("--home", &environment.own_home), ("--config", &environment.config)] {
        if let Some(path) = path.as_ref().filter(|path| !path.is_absolute()) {
            let variable = if flag == "--home" { "SSH_EIC_HOME" } else { "SSH_EIC_CONFIG" };
            return Err(Error::new(Kind::Usage, format!("{variable}: {} is not an absolute path", path.display()))
                .hint("ssh starts the hook and the proxy in any folder, so name it from the root"));
        }
        if let Some(text) = path.as_ref().filter(|path| path.is_absolute()).and_then(|path| path.to_str()) {
            core::render::check_path(text).map_err(|why| Error::new(Kind::File, format!("the path {text}: {why}")))?;
            flags.push((flag.to_owned(), text.to_owned()));
        }
    }
    Ok(Context { paths, flags })
}

/// Help and version go to stdout, wrong usage to stderr in our form.
fn told_by_clap(usage: &clap::Error) -> Exit {
    if !usage.use_stderr() {
        let _ = usage.print();
        return Exit::default();
    }
    let text = usage.render().to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or("wrong usage").trim_start_matches("error: ").to_owned();
    let details: Vec<&str> =
        lines.clone().take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more")).collect();
    let message = if first.ends_with(':') { format!("{first} {}", details.join(", ")) } else { first };
    let hint = lines.find(|line| line.starts_with("Usage:")).map_or("ssh-eic --help", |line| line);
    Exit { code: Kind::Usage.exit_code(), error: Some(Error::new(Kind::Usage, message).hint(hint)) }
}
