//! ssh-eic: plain `ssh` to private EC2 instances through EC2 Instance Connect.
//!
//! The map, from the top floor down; an upper floor may use a lower one, never the reverse, and commands never use
//! each other (a test reads the `use` lines).
//!
//! | floor | module | what it is for |
//! | --- | --- | --- |
//! | 6 | [`command`] | one subcommand each: read its name, know its job |
//! | 5 | [`connect`] | one connection: push once, reach the address, hold the handshake, carry the bytes |
//! | 5 | [`doctor`] | why a connection fails: checks in order, up to the first cause |
//! | 5 | [`discover`] | from the configured sources to the files that ssh reads |
//! | 4 | [`cli`] | the clap types |
//! | 3 | [`aws`] | AWS calls: the only module that knows the SDK |
//! | 3 | [`net`] | network connections of the proxy, non-blocking |
//! | 3 | [`store`] | our files on disk |
//! | 3 | [`sys`] | the operating system |
//! | 2 | [`ui`] | words on the terminal |
//! | 2 | [`error`] | the one error type and the exit codes |
//! | 1 | [`domain`] | pure: values in, values out |
//!
//! The way of one connection: ssh parses the config and runs [`command::match_hook`], then starts [`command::proxy`],
//! which opens it in [`connect::opening`] with the push in a [`connect::worker`], and carries it in [`connect::relay`].

pub mod aws;
pub mod cli;
pub mod command;
pub mod connect;
pub mod discover;
pub mod doctor;
pub use domain;
pub mod error;
pub mod net;
pub mod store;
pub mod sys;
pub mod ui;

use std::ffi::OsString;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::command::{Context, Exit};
use crate::error::{Error, Kind, Result};
use crate::store::paths::{self, Environment, Paths};
use crate::sys::environment;

/// Runs the program with these arguments, the program's own name first.
#[must_use]
pub fn run(args: Vec<OsString>) -> Exit {
    // A bug is told in one line like everything else; where it happened comes under -v.
    let place = Arc::new(Mutex::new(String::new()));
    let noted = Arc::clone(&place);
    std::panic::set_hook(Box::new(move |panic| {
        if let Ok(mut noted) = noted.lock() {
            *noted = panic.to_string();
        }
    }));
    std::panic::catch_unwind(AssertUnwindSafe(|| dispatch(args))).unwrap_or_else(|_| {
        let what = place.lock().map(|place| place.clone()).unwrap_or_default();
        let error =
            Error::new(Kind::Bug, "ssh-eic has met a bug").hint("run it with -v and report what it says").because(what);
        Exit { code: error.kind.exit_code(), error: Some(error) }
    })
}

fn dispatch(args: Vec<OsString>) -> Exit {
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
        (5, "match") if word(2)? == "--" => Some((word(3)?, Some(word(4)?))),
        (3, "match") => word(2).filter(plain).map(|alias| (alias, None)),
        (4, "match") => Some((word(2).filter(plain)?, Some(word(3).filter(plain)?))),
        _ => None,
    }
}

fn run_hook(alias: &str, user: Option<&str>) -> Result<Exit> {
    ui::set_level(false, 0, log_level().as_deref());
    command::match_hook::run(&context(&environment::of_paths(None, None, None))?, alias, user, None)
}

fn run_command(cli: Cli) -> Result<Exit> {
    let is_proxy = matches!(cli.command, Command::Proxy(_));
    match run_parsed(cli) {
        // What goes wrong before the proxy can begin has to reach an ssh that has thrown our stderr away, too.
        Err(error) if is_proxy => Ok(command::proxy::refuse(error)),
        done => done,
    }
}

fn run_parsed(cli: Cli) -> Result<Exit> {
    ui::set_level(cli.global.quiet, cli.global.verbose, log_level().as_deref());
    let absolute = |path: Option<PathBuf>| path.map(|path| paths::absolute(&path)).transpose();
    let named_config = cli.global.config.is_some() || environment::variable("SSH_EIC_CONFIG").is_some();
    let values =
        environment::of_paths(absolute(cli.global.home)?, absolute(cli.global.config)?, absolute(cli.global.state)?);
    let context = context(&values)?;
    if named_config && matches!(&cli.command, Command::Sync(sync) if !sync.detached) && !context.paths.config.exists() {
        // The defaults would be every instance of the ambient account, which a slip in a file's name does not mean.
        let path = context.paths.config.display();
        return Err(
            Error::new(Kind::Config, format!("there is no config file {path}")).hint("ssh-eic init writes a first one")
        );
    }
    match cli.command {
        Command::Doctor(args) => command::doctor::run(&context, &args),
        Command::Generate(args) => command::generate::run(&args),
        Command::Init(args) => command::init::run(&context, &args),
        Command::Inventory(args) => command::inventory::run(&context, &args),
        Command::Sync(args) => command::sync::run(&context, &args),
        Command::List(args) => command::list::run(&context, &args),
        Command::Logout => command::logout::run(&context),
        Command::Match(args) => command::match_hook::run(&context, &args.alias, args.user.as_deref(), args.make_key),
        Command::Policy(args) => command::policy::run(&context, &args),
        Command::Proxy(args) => command::proxy::run(&context, &args),
        Command::Push(args) => command::push::run(&context, &args),
        Command::Remove(args) => command::remove::run(&context, &args),
        Command::Worker => command::worker::run(&context),
    }
}

fn log_level() -> Option<String> {
    environment::variable("SSH_EIC_LOG").map(|value| value.to_string_lossy().into_owned())
}

/// Paths, and the flags that lead the hook and the proxy to the same ones: ssh does not pass our flags on, and it may
/// be started without our variables.
fn context(environment: &Environment) -> Result<Context> {
    let paths = Paths::new(environment).ok_or_else(|| {
        Error::new(Kind::File, "there is no home directory").hint("set HOME, or SSH_EIC_HOME to a folder of its own")
    })?;
    let by_xdg = environment.config_home.is_some() && environment.own_home.is_none();
    let config = environment.config.clone().or_else(|| by_xdg.then(|| paths.config.clone()));
    let state = environment.state_home.clone().filter(|_| environment.own_home.is_none());
    let mut flags = Vec::new();
    for (flag, path) in [("--home", &environment.own_home), ("--config", &config), ("--state", &state)] {
        if let Some(path) = path.as_ref().filter(|path| !path.is_absolute()) {
            if flag == "--state" {
                // XDG Base Directory Specification: a relative path is to be ignored.
                continue;
            }
            let variable = if flag == "--home" { "SSH_EIC_HOME" } else { "SSH_EIC_CONFIG" };
            return Err(Error::new(Kind::Usage, format!("{variable}: {} is not an absolute path", path.display()))
                .hint("ssh starts the hook and the proxy in any folder, so name it from the root"));
        }
        if let Some(text) = path.as_ref().filter(|path| path.is_absolute()).and_then(|path| path.to_str()) {
            domain::render::check_path(text)
                .map_err(|why| Error::new(Kind::File, format!("the path {text}: {why}")))?;
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
    if usage.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = usage.print();
        return Exit::code(Kind::Usage.exit_code());
    }
    let text = usage.render().to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or("wrong usage").trim_start_matches("error: ").to_owned();
    let details: Vec<&str> =
        lines.clone().take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more")).collect();
    let message = if first.ends_with(':') { format!("{first} {}", details.join(", ")) } else { first };
    let hint = lines.find_map(|line| line.strip_prefix("Usage: ")).unwrap_or("ssh-eic --help");
    Exit { code: Kind::Usage.exit_code(), error: Some(Error::new(Kind::Usage, message).hint(hint)) }
}
