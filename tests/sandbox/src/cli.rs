//! The command line.

use std::io;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::options::{Form, Options};
use crate::{demo, hand, server};

/// A fake AWS on loopback with real sshd processes as instances; without a command, a shell inside the sandbox.
#[derive(Debug, Parser)]
#[command(name = "sandbox", version)]
struct Cli {
    /// 127.0.0.1 and `ssh -F` even where namespaces are possible.
    #[arg(long, global = true)]
    loopback: bool,
    /// The stand-in speaks TLS, with a certificate that only the commands inside trust.
    #[arg(long, global = true)]
    tls: bool,
    /// The folder of the ssh-eic program [default: where sandbox is].
    #[arg(long, global = true, value_name = "DIR")]
    bin: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The server of one sandbox; started by the library.
    #[command(hide = true)]
    Serve {
        /// The sandbox's folder.
        #[arg(long)]
        dir: PathBuf,
        /// Delete the folder at the end.
        #[arg(long)]
        remove: bool,
    },
    /// Shows ssh-eic at work, from `init` to ssh, scp and rsync.
    Demo,
    /// Talks to the sandbox of this shell.
    #[command(flatten)]
    Hand(hand::Order),
}

/// Runs the program.
///
/// # Errors
/// Whatever stops the command, in words for a person.
pub fn run() -> io::Result<()> {
    let cli = Cli::parse();
    let options = || {
        let form = if cli.loopback { Form::Loopback } else { Form::detect() };
        Options { form, tls: cli.tls, ..Options::default() }
    };
    match cli.command {
        Some(Command::Serve { dir, remove }) => {
            let form = if cli.loopback { Form::Loopback } else { Form::Namespaces };
            server::serve(&dir, form, cli.tls, remove)
        }
        Some(Command::Demo) => demo::run(options(), cli.bin),
        Some(Command::Hand(order)) => hand::obey(order),
        None => hand::run(options(), cli.bin),
    }
}
