//! `ssh-eic generate`: man pages and completions.
//!
//! Commands, options, exit codes and causes come from their definitions in the code; the other sections are files in
//! `man/`. For an argument with `ValueHint::Hostname`, completions call `ssh-eic list --names`; for an option with values
//! of [`ValueSet`], `ssh-eic values`.

use std::io::{self, Write};

use clap::{Arg, Command, CommandFactory, ValueEnum, ValueHint};
use clap_mangen::roff::{Roff, bold, roman};

use crate::cli::{self, Cli, Page, Shell, ValueSet};
use crate::command::{Exit, print_bytes};
use crate::domain::diagnosis::Cause;
use crate::error::{Error, Kind, Result};

/// The date in the header of the man page: when its text last changed.
const DATE: &str = "2026-11-23";
/// Longest line of roff text in bytes, the limit of `mandoc -Tlint`.
const MAX_LINE: usize = 80;

/// Sections from files, in their order.
const SECTIONS: [&str; 5] = [
    include_str!("../../man/ssh-eic.1.d/environment"),
    include_str!("../../man/ssh-eic.1.d/files"),
    include_str!("../../man/ssh-eic.1.d/examples"),
    include_str!("../../man/ssh-eic.1.d/diagnostics"),
    include_str!("../../man/ssh-eic.1.d/see-also"),
];

/// Prints the generated text.
///
/// # Errors
///
/// If stdout cannot be written.
pub fn run(args: &cli::Generate) -> Result<Exit> {
    let text = match args.what {
        cli::Generated::Man { page: Page::Program } => man(),
        cli::Generated::Man { page: Page::Config } => Ok(include_bytes!("../../man/ssh-eic-config.5").to_vec()),
        cli::Generated::Completions { shell } => Ok(completions(shell).into_bytes()),
    };
    print_bytes(&text.map_err(|error| Error::new(Kind::Bug, "cannot render the man page").because(error))?)?;
    Ok(Exit::default())
}

/// ssh-eic(1): the program, then each command in the order of its definition, then the sections from files.
fn man() -> io::Result<Vec<u8>> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut page = Vec::new();
    let whole = clap_mangen::Man::new(command.clone()).title("SSH-EIC").manual("User commands").source("ssh-eic");
    let whole = whole.date(DATE);
    whole.render_title(&mut page)?;
    whole.render_name_section(&mut page)?;
    whole.render_synopsis_section(&mut page)?;
    whole.render_description_section(&mut page)?;
    whole.render_options_section(&mut page)?;
    writeln!(page, ".SH COMMANDS")?;
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() || DOCUMENTED.contains(&sub.get_name())) {
        writeln!(page, ".SS {}\n{}.", sub.get_name(), about(sub))?;
        arguments(sub, &mut page)?;
        for below in shown(sub) {
            writeln!(page, ".TP\n\\fB{}\\fR{}\n{}.", below.get_name(), positionals(below), about(below))?;
        }
    }
    writeln!(page, ".SH EXIT STATUS\n.TP\n0\nSuccess.")?;
    for kind in Kind::ALL {
        writeln!(page, ".TP\n{}\n{}.", kind.exit_code(), kind.meaning().replace('-', "\\-"))?;
    }
    page.extend_from_slice(&causes()?);
    for section in SECTIONS {
        page.extend_from_slice(section.as_bytes());
    }
    Ok(wrapped(&String::from_utf8_lossy(&page)).into_bytes())
}

/// The section on the causes that `doctor` reports.
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

/// Capitalizes the first word unless it is a command or a key of a config file.
fn sentence(text: &str) -> String {
    let first = text.split(' ').next().unwrap_or_default();
    let is_word = first.bytes().all(|b| b.is_ascii_lowercase() || b == b',') && !COMMANDS.contains(&first);
    let mut letters = text.chars();
    match letters.next().filter(|_| is_word) {
        Some(letter) => letter.to_ascii_uppercase().to_string() + letters.as_str(),
        None => text.to_owned(),
    }
}

/// Commands at the start of a fix, which stay in lower case.
const COMMANDS: [&str; 3] = ["aws", "ssh", "chown"];

/// Commands that the help does not list, because ssh starts them; the generated config has them, so the man page explains
/// them.
const DOCUMENTED: [&str; 2] = ["match", "proxy"];

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|sub| !sub.is_hide_set())
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

fn positionals(command: &Command) -> String {
    command.get_positionals().fold(String::new(), |text, one| text + " " + &one.get_id().to_string().to_uppercase())
}

fn arguments(command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    for argument in command.get_arguments().filter(|argument| !argument.is_hide_set() && !argument.is_global_set()) {
        let name =
            argument.get_long().map_or_else(|| argument.get_id().to_string().to_uppercase(), |l| format!("--{l}"));
        let value = match (argument.get_long(), argument.get_action().takes_values(), argument.get_value_names()) {
            (Some(_), true, Some(values)) => format!(" {}", values.join(" ")),
            _ => String::new(),
        };
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        writeln!(page, ".TP\n\\fB{}\\fR{value}\n{help}.", name.replace('-', "\\-"))?;
    }
    Ok(())
}

/// Wraps long text lines at spaces. Roff requests and no-fill blocks (`.nf` to `.fi`) stay unchanged.
fn wrapped(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    let mut is_no_fill = false;
    for line in page.lines() {
        is_no_fill = line == ".nf" || (is_no_fill && line != ".fi");
        if is_no_fill || line.starts_with('.') || line.len() <= MAX_LINE {
            text.push_str(line);
            text.push('\n');
            continue;
        }
        let mut width = 0;
        for (at, word) in line.split(' ').enumerate() {
            // '.' or ' at the start of a line would make it a roff request.
            let breaks = at > 0 && width + 1 + word.len() > MAX_LINE && !word.starts_with(['.', '\'']);
            if at > 0 {
                text.push(if breaks { '\n' } else { ' ' });
                width = if breaks { 0 } else { width + 1 };
            }
            text.push_str(word);
            width += word.len();
        }
        text.push('\n');
    }
    text
}

fn completions(shell: Shell) -> String {
    let mut command = without_hidden(&Cli::command());
    let mut text = Vec::new();
    let generator = match shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    clap_complete::generate(generator, &mut command, "ssh-eic", &mut text);
    let text = String::from_utf8_lossy(&text).into_owned();
    match shell {
        Shell::Bash => bash(&text, &command),
        Shell::Zsh => zsh(&text),
        Shell::Fish => fish(&text, &command),
    }
}

/// The command without hidden arguments and subcommands.
fn without_hidden(command: &Command) -> Command {
    // clap needs 'static names unless its feature "string" is on, which would make every start of the program slower.
    let leaked = |text: &str| -> &'static str { text.to_owned().leak() };
    let arguments = command.get_arguments().filter(|argument| !argument.is_hide_set()).cloned();
    let mut visible = Command::new(leaked(command.get_name()))
        .args(arguments)
        .subcommands(shown(command).map(without_hidden))
        .about(command.get_about().cloned().unwrap_or_default());
    if let Some(version) = command.get_version() {
        visible = visible.version(leaked(version));
    }
    visible
}

fn is_host(argument: &Arg) -> bool {
    argument.get_value_hint() == ValueHint::Hostname
}

/// The values of an option, if `ssh-eic values` prints them.
fn values_of(argument: &Arg) -> Option<ValueSet> {
    argument.get_long().and_then(ValueSet::of_option)
}

/// Names of the commands with a host argument.
fn with_hosts(command: &Command) -> impl Iterator<Item = &str> {
    command.get_subcommands().filter(|sub| sub.get_positionals().any(is_host)).map(Command::get_name)
}

/// Compares line by line without patterns, so that the shell never evaluates a name.
const BASH_OFFER: &str = r#"_ssh__eic_offer() {
    local name quoted current=$1
    shift
    COMPREPLY=()
    while IFS= read -r name; do
        if [[ -n "${name}" && "${name}" == "${current}"* ]]; then
            printf -v quoted %q "${name}"
            COMPREPLY+=("${quoted}")
        fi
    done <<<"$(ssh-eic "$@" 2>/dev/null)"
}

"#;

fn bash(text: &str, command: &Command) -> String {
    // clap_complete 4.6 escapes the hyphen of the program name in two different ways, so that no branch of its bash
    // function matches; a test completes with the real bash.
    let mut text = text.replace("ssh__subcmd__eic", "ssh__eic");
    for sub in command.get_subcommands() {
        let label = format!("\n        ssh__eic__subcmd__{})\n", sub.get_name().replace('-', "__"));
        let Some(start) = text.find(&label) else { continue };
        let end = text[start..].find("\n            ;;\n").map_or(text.len(), |length| start + length);
        let mut branch = text[start..end].to_owned();
        for option in sub.get_opts() {
            let Some((name, words)) = option.get_long().zip(command_for(option)) else { continue };
            let files = format!("--{name})\n                    COMPREPLY=($(compgen -f \"${{cur}}\"))");
            let offer = format!("--{name})\n                    _ssh__eic_offer \"${{cur}}\" {words}");
            branch = branch.replace(&files, &offer);
        }
        if sub.get_positionals().any(is_host) {
            // A first word that does not start with '-' is a host; clap_complete would offer options for it.
            branch = branch.replace(" || ${COMP_CWORD} -eq 2 ]]", " ]]");
            if let Some((before, _)) = branch.rsplit_once("COMPREPLY=( $(compgen -W") {
                branch = format!("{before}_ssh__eic_offer \"${{cur}}\" list --names\n            return 0");
            }
        }
        text.replace_range(start..end, &branch);
    }
    format!("{BASH_OFFER}{text}")
}

/// The arguments of `ssh-eic` that print the values of an option.
fn command_for(option: &Arg) -> Option<String> {
    match values_of(option) {
        Some(values) => Some(format!("values {}", values.name())),
        None => is_host(option).then(|| "list --names".to_owned()),
    }
}

/// A completion function: its name, what it offers, and the arguments of `ssh-eic` that print it.
fn zsh_function(name: &str, about: &str, words: &str) -> String {
    format!(
        "(( $+functions[_ssh-eic_{name}] )) ||
_ssh-eic_{name}() {{
    local -a found expl
    found=(${{(f)\"$(_call_program {name} ssh-eic {words} 2>/dev/null)\"}})
    _wanted {name} expl '{about}' compadd -a found
}}

"
    )
}

fn zsh(text: &str) -> String {
    const END: &str = "if [ \"$funcstack[1]\" = ";
    let (functions, end) = text.rsplit_once(END).unwrap_or((text, ""));
    let functions = functions.replace(":_hosts'", ":_ssh-eic_hosts'");
    let mut helpers = zsh_function("hosts", "managed host", "list --names");
    for name in ValueSet::value_variants().iter().map(|values| values.name()) {
        let about = name.trim_end_matches('s').replace('-', " ");
        helpers += &zsh_function(name, &about, &format!("values {name}"));
    }
    let with_values = |line: &str| {
        let option = line.split_once("=[").and_then(|(spec, _)| spec.rsplit_once("--")).map(|(_, name)| name);
        match option.and_then(ValueSet::of_option) {
            Some(values) => line.replace(":_default'", &format!(":_ssh-eic_{}'", values.name())),
            None => line.to_owned(),
        }
    };
    let functions: Vec<String> = functions.split('\n').map(with_values).collect();
    format!("{}{helpers}{END}{end}", functions.join("\n"))
}

fn fish(text: &str, command: &Command) -> String {
    const HOSTS: &str = "(ssh-eic list --names 2>/dev/null)";
    let with_values = |line: &str| {
        let option = line.split_once(" -l ").map(|(_, rest)| rest.split(' ').next().unwrap_or_default());
        match option.and_then(ValueSet::of_option) {
            Some(values) if line.ends_with(" -r") => {
                format!("{line} -f -a \"(ssh-eic values {} 2>/dev/null)\"", values.name())
            }
            _ => line.to_owned(),
        }
    };
    let text = text.replace("(__fish_print_hostnames)", HOSTS);
    let text = text.split('\n').map(with_values).collect::<Vec<_>>().join("\n");
    with_hosts(command).fold(text, |text, name| {
        let condition = format!("__fish_ssh_eic_using_subcommand {name}");
        text + &format!("complete -c ssh-eic -n \"{condition}\" -f -a \"{HOSTS}\" -d 'Managed host'\n")
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_man_page_lists_every_exit_code_once() {
        let codes: BTreeSet<u8> = Kind::ALL.iter().map(|kind| kind.exit_code()).collect();
        assert_eq!(codes.len(), Kind::ALL.len());
        let page = String::from_utf8(man().unwrap()).unwrap();
        let (_, section) = page.split_once(".SH EXIT STATUS\n").unwrap();
        let (section, _) = section.split_once(".SH ").unwrap();
        let listed: Vec<&str> = section.split(".TP\n").skip(1).filter_map(|entry| entry.lines().next()).collect();
        let expected: Vec<String> = [0].into_iter().chain(codes).map(|code| code.to_string()).collect();
        assert_eq!(listed, expected);
    }

    #[test]
    fn wrapped_lines_never_start_a_roff_request() {
        let long = format!("{} .x 'y {}", "word ".repeat(15), "word ".repeat(20));
        let text = wrapped(&format!(".TP\n{long}\n.nf\n{long}\n.fi\n"));
        assert!(text.contains(&format!(".nf\n{long}\n.fi")), "{text}");
        let lines: Vec<&str> = text.lines().take_while(|line| *line != ".nf").skip(1).collect();
        assert!(lines.len() > 1 && lines.iter().all(|line| !line.starts_with(['.', '\''])), "{text}");
        assert_eq!(lines.join(" "), long);
    }

    #[test]
    fn completions_do_not_offer_hidden_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let text = completions(shell);
            assert!(!text.contains("detached") && !text.contains("worker"), "{shell:?}");
            assert!(!text.contains("ProxyCommand") && !text.contains("Match exec"), "{shell:?}");
        }
    }
}
