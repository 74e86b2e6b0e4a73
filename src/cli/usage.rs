//! Usage errors in the words of this project: clap's own text never reaches a user.

use std::ffi::OsString;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory};

use super::Cli;
use crate::error::{Error, Kind};

/// The usage error that clap reports, as a message and the command that shows the right usage.
///
/// `args` are the arguments of the process, with the program's name first.
#[must_use]
pub fn explain(error: &clap::Error, args: &[OsString]) -> Error {
    let command = subcommand(args);
    let help = command
        .as_ref()
        .map_or_else(|| "ssh-eic --help".to_owned(), |command| format!("ssh-eic {} --help", command.get_name()));
    let name = command.as_ref().map_or("ssh-eic", |command| command.get_name());
    let argument = option_name(&first(error, ContextKind::InvalidArg));
    let value = first(error, ContextKind::InvalidValue);
    let suggestion = |kind| suggestion(error, kind);
    let message = match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let typed = first(error, ContextKind::InvalidSubcommand);
            return match &command {
                Some(command) => unknown_action(command, &typed),
                None => unknown_subcommand(&typed),
            };
        }
        ErrorKind::UnknownArgument if argument.starts_with('-') => {
            format!("{name} has no option {argument}{}", suggestion(ContextKind::SuggestedArg))
        }
        ErrorKind::UnknownArgument => format!("{name}: unexpected argument {argument:?}"),
        ErrorKind::InvalidValue if value.is_empty() => format!("{argument} needs a value"),
        ErrorKind::InvalidValue => {
            let known = list(error, ContextKind::ValidValue);
            format!("{argument} cannot be {value:?}: write one of {}", known.join(", "))
        }
        ErrorKind::ValueValidation => {
            let reason = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            if reason.is_empty() {
                format!("{argument} cannot be {value:?}")
            } else {
                format!("{argument} {value:?}: {reason}")
            }
        }
        ErrorKind::NoEquals | ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues => {
            format!("{argument} needs a value")
        }
        ErrorKind::TooManyValues => format!("{argument} takes no value {value:?}"),
        ErrorKind::ArgumentConflict => {
            let others = list(error, ContextKind::PriorArg);
            if others.contains(&argument) {
                format!("{argument} is given twice")
            } else {
                format!(
                    "{argument} and {} cannot be combined",
                    others.iter().map(|other| option_name(other)).collect::<Vec<_>>().join(", ")
                )
            }
        }
        ErrorKind::MissingRequiredArgument => {
            let missing = list(error, ContextKind::InvalidArg);
            format!("{name} needs {}", missing.join(" and ").replace(['<', '>'], "").replace('|', " or "))
        }
        ErrorKind::MissingSubcommand => format!("{name} needs a command"),
        ErrorKind::InvalidUtf8 => "an argument is not UTF-8 text".to_owned(),
        _ => format!("{name}: wrong usage"),
    };
    Error::new(Kind::Usage, message).hint(help)
}

/// The error for an unknown subcommand of the program, with the most similar one.
#[must_use]
pub fn unknown_subcommand(typed: &str) -> Error {
    if typed == "version" {
        return Error::new(Kind::Usage, "there is no command \"version\"").hint("ssh-eic --version");
    }
    let near = most_similar(&Cli::command(), typed);
    Error::new(Kind::Usage, format!("there is no command {typed:?}{near}")).hint("ssh-eic --help")
}

/// The error for an unknown subcommand of a command such as `config`.
fn unknown_action(command: &Command, typed: &str) -> Error {
    let name = command.get_name();
    let known: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
    let near = most_similar(command, typed);
    Error::new(Kind::Usage, format!("{name}: there is no command {typed:?}{near}"))
        .hint(format!("ssh-eic {name} {}", known.join("|")))
}

/// `; did you mean list?`, or nothing. At most one edit in a short word: every one of three letters is two edits away from
/// several commands.
fn most_similar(command: &Command, typed: &str) -> String {
    let limit = if typed.len() <= 4 { 1 } else { 2 };
    let visible = command.get_subcommands().filter(|command| !command.is_hide_set()).map(Command::get_name);
    let near = visible
        .map(|name| (strsim::damerau_levenshtein(name, typed), name))
        .filter(|(distance, _)| *distance <= limit)
        .min();
    near.map_or_else(String::new, |(_, name)| format!("; did you mean {name}?"))
}

/// The subcommand on the command line: the first word behind the global options.
fn subcommand(args: &[OsString]) -> Option<Command> {
    let mut words = args.iter().skip(1).filter_map(|arg| arg.to_str());
    while let Some(word) = words.next() {
        if matches!(word, "--config" | "--home" | "--state-home") {
            words.next();
        } else if !word.starts_with('-') {
            return Cli::command().get_subcommands().find(|command| command.get_name() == word).cloned();
        }
    }
    None
}

/// `--tag <KEY=VALUE>` without its value; `<SHELL>` as `SHELL`.
fn option_name(shown: &str) -> String {
    let name = shown.split_whitespace().next().unwrap_or_default();
    name.split('=').next().unwrap_or_default().trim_matches(['<', '>', '[', ']', '.']).to_owned()
}

fn first(error: &clap::Error, kind: ContextKind) -> String {
    list(error, kind).into_iter().next().unwrap_or_default()
}

fn list(error: &clap::Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        Some(ContextValue::StyledStr(text)) => vec![text.to_string()],
        Some(ContextValue::StyledStrs(texts)) => texts.iter().map(StyledStr::to_string).collect(),
        _ => Vec::new(),
    }
}

fn suggestion(error: &clap::Error, kind: ContextKind) -> String {
    match first(error, kind) {
        near if near.is_empty() => String::new(),
        near => format!("; did you mean {near}?"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn message(line: &str) -> String {
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let error = explain(&Cli::try_parse_from(&args).expect_err(line), &args);
        format!("{} | {}", error.message, error.hints.join(" | "))
    }

    #[test]
    fn usage_errors_name_what_is_wrong_and_the_command_that_helps() {
        let table = [
            ("ssh-eic lst", "there is no command \"lst\"; did you mean list? | ssh-eic --help"),
            ("ssh-eic ssh", "there is no command \"ssh\" | ssh-eic --help"),
            ("ssh-eic version", "there is no command \"version\" | ssh-eic --version"),
            (
                "ssh-eic config chek",
                "config: there is no command \"chek\"; did you mean check? | ssh-eic config check|path",
            ),
            (
                "ssh-eic generate completion bash",
                "generate: there is no command \"completion\"; did you mean completions? | ssh-eic generate man|completions",
            ),
            ("ssh-eic sync --diff now", "--diff cannot be \"now\": write one of hosts, text | ssh-eic sync --help"),
            ("ssh-eic push init --usr x", "push has no option --usr; did you mean --user? | ssh-eic push --help"),
            ("ssh-eic prod-web-1", "there is no command \"prod-web-1\" | ssh-eic --help"),
            ("ssh-eic init --regoin x", "init has no option --regoin; did you mean --region? | ssh-eic init --help"),
            ("ssh-eic init --tag prod", "--tag \"prod\": write it as KEY=VALUE | ssh-eic init --help"),
            ("ssh-eic init --profile", "--profile needs a value | ssh-eic init --help"),
            (
                "ssh-eic generate completions csh",
                "SHELL cannot be \"csh\": write one of bash, zsh, fish | ssh-eic generate --help",
            ),
            ("ssh-eic sync now", "sync: unexpected argument \"now\" | ssh-eic sync --help"),
            (
                "ssh-eic sync --if-older-than x",
                "--if-older-than \"x\": write it as 90s, 10m or 1h | ssh-eic sync --help",
            ),
            ("ssh-eic list -q -v", "--quiet and --verbose cannot be combined | ssh-eic list --help"),
            (
                "ssh-eic list --state runing",
                "--state \"runing\": write one of pending, running, stopping, stopped, shutting-down | ssh-eic list --help",
            ),
            ("ssh-eic list --columns hots", "--columns \"hots\": did you mean host? | ssh-eic list --help"),
            (
                "ssh-eic list --columns host,nmae",
                "--columns \"nmae\": write one or more of host, instance, address, user, state, route, source, account, region, \
                 az, vpc, image, dns, launched, host-key, tag:KEY | ssh-eic list --help",
            ),
            ("ssh-eic push", "push needs HOST | ssh-eic push --help"),
            ("ssh-eic inventory", "inventory needs --list or --host HOST | ssh-eic inventory --help"),
            ("ssh-eic init --sso-session corp", "init needs --role ROLE | ssh-eic init --help"),
        ];
        for (line, expected) in table {
            assert_eq!(message(line), expected, "{line}");
        }
    }
}
