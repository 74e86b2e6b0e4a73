//! `ssh-eic generate`: man page and completions, from the one command definition.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_mangen::roff::{Roff, bold, roman};

use crate::cli::{self, Cli};
use crate::command::Exit;
use crate::core::diagnosis::Cause;
use crate::error::{Error, Kind, Result, reason};

/// Runs it.
///
/// # Errors
///
/// If stdout cannot be written.
pub fn run(args: &cli::Generate) -> Result<Exit> {
    let text = match args.what {
        cli::Generated::Man => man(),
        cli::Generated::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "ssh-eic", &mut text);
            // clap_complete 4.6 writes the hyphen of a program's name in two ways into its bash functions, so that no
            // branch is ever taken; a test completes with the real bash.
            Ok(String::from_utf8_lossy(&text).replace("ssh__subcmd__eic", "ssh__eic").into_bytes())
        }
    };
    text.and_then(|text| io::stdout().lock().write_all(&text))
        .map_err(|error| Error::new(Kind::File, format!("cannot write to stdout: {}", reason(&error))))?;
    Ok(Exit::default())
}

/// ssh-eic(1): the program, then each command in the order of the definition.
fn man() -> io::Result<Vec<u8>> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut page = Vec::new();
    let whole = clap_mangen::Man::new(command.clone()).title("SSH-EIC").manual("User commands").source("ssh-eic");
    whole.render_title(&mut page)?;
    whole.render_name_section(&mut page)?;
    whole.render_synopsis_section(&mut page)?;
    whole.render_description_section(&mut page)?;
    whole.render_options_section(&mut page)?;
    writeln!(page, ".SH COMMANDS")?;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        writeln!(page, ".SS {}\n{}.", sub.get_name(), sub.get_about().map(ToString::to_string).unwrap_or_default())?;
        for argument in sub.get_arguments().filter(|argument| !argument.is_hide_set() && !argument.is_global_set()) {
            let name =
                argument.get_long().map_or_else(|| argument.get_id().to_string().to_uppercase(), |l| format!("--{l}"));
            let value = match (argument.get_long(), argument.get_action().takes_values(), argument.get_value_names()) {
                (Some(_), true, Some(values)) => format!(" {}", values.join(" ")),
                _ => String::new(),
            };
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            writeln!(page, ".TP\n\\fB{}\\fR{value}\n{help}.", name.replace('-', "\\-"))?;
        }
    }
    page.extend_from_slice(&causes()?);
    page.extend_from_slice(REST.as_bytes());
    Ok(page)
}

/// What `doctor` finds, from the one list of causes.
fn causes() -> io::Result<Vec<u8>> {
    let mut section = Roff::default();
    section.control("SH", ["CAUSES"]);
    section.text([roman("What ssh-eic doctor finds, by the identifiers of its --json, in the order of its checks.")]);
    for cause in Cause::ALL {
        section.control("TP", []);
        section.text([bold(cause.id())]);
        section.text([roman(format!("{}. {}.", sentence(cause.meaning()), sentence(cause.fix())))]);
    }
    let mut text = Vec::new();
    section.to_writer(&mut text)?;
    Ok(text)
}

/// With a capital at its beginning, unless that is a command to type or a key of a file.
fn sentence(text: &str) -> String {
    let first = text.split(' ').next().unwrap_or_default();
    let is_word = first.bytes().all(|b| b.is_ascii_lowercase() || b == b',') && !COMMANDS.contains(&first);
    let mut letters = text.chars();
    match letters.next().filter(|_| is_word) {
        Some(letter) => letter.to_ascii_uppercase().to_string() + letters.as_str(),
        None => text.to_owned(),
    }
}

/// Words that are typed as they are.
const COMMANDS: [&str; 3] = ["aws", "ssh", "chown"];

/// What no command definition knows.
const REST: &str = include_str!("../../man/ssh-eic.1.rest");
