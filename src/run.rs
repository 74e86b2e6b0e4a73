//! From the arguments of the process to the one command that they name, and to the exit code.

use std::ffi::OsString;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use clap::Parser;

use crate::cli::{self, Cli, Command, ConfigAction};
use crate::command::{self, Context, Exit};
use crate::discover::background;
use crate::domain::text::shell_word;
use crate::error::{Error, Kind, Result};
use crate::store::paths::{self, Environment};
use crate::sys::environment;
use crate::ui;

/// Runs the program with these arguments, the program's own name first.
#[must_use]
pub fn run(args: &[OsString]) -> Exit {
    // A panic is reported in one line like every other error; where it happened is shown under -v.
    let place = Arc::new(Mutex::new(String::new()));
    let recorded = Arc::clone(&place);
    std::panic::set_hook(Box::new(move |panic| {
        if let Ok(mut recorded) = recorded.lock() {
            *recorded = panic.to_string();
        }
    }));
    std::panic::catch_unwind(AssertUnwindSafe(|| dispatch(args))).unwrap_or_else(|_| {
        let place = place.lock().map(|place| place.clone()).unwrap_or_default();
        Error::new(Kind::Bug, "internal error, a bug in ssh-eic")
            .hint("run it again with -v and report what it prints")
            .because(place)
            .into()
    })
}

fn dispatch(args: &[OsString]) -> Exit {
    let hook = cli::hook_arguments(args).map(|(alias, user)| (alias.to_owned(), user.map(str::to_owned)));
    let result = match hook {
        Some((alias, user)) => run_hook(&alias, user.as_deref()),
        None => match Cli::try_parse_from(args) {
            Ok(cli) => run_command(cli),
            Err(error) => return usage(&error, args),
        },
    };
    result.unwrap_or_else(Exit::from)
}

fn run_hook(alias: &str, user: Option<&str>) -> Result<Exit> {
    ui::set_level(false, 0, log_level().as_deref());
    command::match_hook::run(&Context::new(&Environment::read(None, None, None))?, alias, user, None)
}

fn run_command(cli: Cli) -> Result<Exit> {
    let is_proxy = matches!(cli.command, Command::Proxy(_));
    match run_parsed(cli) {
        // An error before the proxy can start must reach an ssh that has redirected the proxy's stderr to /dev/null.
        Err(error) if is_proxy => Ok(command::proxy::refuse(error)),
        result => result,
    }
}

fn run_parsed(cli: Cli) -> Result<Exit> {
    ui::set_level(cli.global.quiet, cli.global.verbose, log_level().as_deref());
    let absolute = |path: Option<PathBuf>| path.map(|path| paths::absolute(&path)).transpose();
    let config_named = cli.global.config.is_some() || environment::variable("SSH_EIC_CONFIG").is_some();
    let values =
        Environment::read(absolute(cli.global.home)?, absolute(cli.global.config)?, absolute(cli.global.state)?);
    let context = Context::new(&values)?;
    let needs_config = match &cli.command {
        Command::Sync(sync) => !sync.detached,
        Command::Config(config) => matches!(config.action, ConfigAction::Check),
        _ => false,
    };
    if config_named && needs_config && !context.paths.config.exists() {
        // Without a file the defaults apply: every instance of the ambient account. A typo must not mean that.
        let path = context.paths.config.display();
        return Err(Error::new(Kind::Config, format!("there is no config file {path}"))
            .hint("check the path, or write a first one with ssh-eic init"));
    }
    let reporting = Reporting::of(&cli.command);
    if reporting == Reporting::Before {
        background::report(&context.paths);
    }
    let result = run_subcommand(cli.command, &context);
    if reporting == Reporting::After {
        background::report(&context.paths);
    }
    result
}

/// When a command reports what background syncs changed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reporting {
    /// Before its own messages, which are about changes, too.
    Before,
    /// After its output, which may be long.
    After,
    /// Never: its output is for a program, or it is not started by a user.
    Never,
}

impl Reporting {
    fn of(command: &Command) -> Self {
        match command {
            _ if ui::is_quiet() => Self::Never,
            Command::Init(_) => Self::Before,
            Command::Sync(sync) if !sync.detached => Self::Before,
            Command::List(list) if !list.json && !list.names => Self::After,
            Command::Doctor(doctor) if !doctor.json => Self::After,
            Command::Push(push) if !push.json => Self::After,
            Command::Policy(_) | Command::Logout => Self::After,
            _ => Self::Never,
        }
    }
}

fn run_subcommand(command: Command, context: &Context) -> Result<Exit> {
    match command {
        Command::Config(args) => command::config::run(context, &args),
        Command::Doctor(args) => command::doctor::run(context, &args),
        Command::Generate(args) => command::generate::run(&args),
        Command::Init(args) => command::init::run(context, &args),
        Command::Inventory(args) => command::inventory::run(context, &args),
        Command::Sync(args) => command::sync::run(context, &args),
        Command::List(args) => command::list::run(context, &args),
        Command::Logout => command::logout::run(context),
        Command::Match(args) => command::match_hook::run(context, &args.alias, args.user.as_deref(), args.make_key),
        Command::Policy(args) => command::policy::run(context, &args),
        Command::Proxy(args) => command::proxy::run(context, &args),
        Command::Push(args) => command::push::run(context, &args),
        Command::Remove(args) => command::remove::run(context, &args),
        Command::Values(args) => command::values::run(context, &args),
        Command::Worker(args) => command::worker::run(context, &args),
    }
}

fn log_level() -> Option<String> {
    environment::variable("SSH_EIC_LOG").map(|value| value.to_string_lossy().into_owned())
}

/// Help and version are printed by clap to stdout; usage errors are reported in this project's own words.
fn usage(error: &clap::Error, args: &[OsString]) -> Exit {
    if !error.use_stderr() {
        let _ = error.print();
        return Exit::default();
    }
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return Exit::code(Kind::Usage.exit_code());
    }
    host_instead_of_command(args).unwrap_or_else(|| cli::explain(error, args)).into()
}

/// The answer to `ssh-eic NAME` and `ssh-eic ssh NAME …`: plain ssh, if NAME is managed.
fn host_instead_of_command(args: &[OsString]) -> Option<Error> {
    const CLIENTS: [&str; 4] = ["ssh", "scp", "sftp", "rsync"];
    let words: Vec<&str> = args.iter().skip(1).map(|arg| arg.to_str()).collect::<Option<_>>()?;
    let (typed, client, rest) = match words.as_slice() {
        [client, rest @ ..] if CLIENTS.contains(client) && !rest.is_empty() => (*client, *client, rest),
        [host, ..] => (*host, "ssh", words.as_slice()),
        [] => return None,
    };
    let context = Context::new(&Environment::read(None, None, None)).ok()?;
    let is_managed = |word: &&&str| {
        let name = word.rsplit_once('@').map_or(**word, |(_, name)| name);
        command::is_managed(&context, name.split_once(':').map_or(name, |(name, _)| name))
    };
    // The host of a client can come behind options and files; instead of a command it comes first.
    let candidates = if typed == client { rest } else { &rest[..1] };
    candidates.iter().find(is_managed)?;
    let rest: Vec<String> = rest.iter().map(|word| shell_word(word)).collect();
    Some(
        Error::new(Kind::Usage, format!("there is no command {typed:?}; {client} itself connects"))
            .hint(format!("just run: {client} {}", rest.join(" "))),
    )
}
