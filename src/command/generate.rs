//! `ssh-eic generate`: man pages and completions.
//!
//! Commands, flags and exit codes come from their one definition; what no definition knows is written by hand in `man/`.
//! Completions ask `ssh-eic list --names` for hosts wherever the definition says `ValueHint::Hostname`.

use std::io::{self, Write};

use clap::{Arg, Command, CommandFactory, ValueHint};
use clap_mangen::roff::{Roff, bold, roman};

use crate::cli::{self, Cli, Page, Shell};
use crate::command::{Exit, print_bytes};
use crate::domain::diagnosis::Cause;
use crate::error::{Error, Kind, Result};

/// When what the man page says was last written anew.
const DATE: &str = "2026-11-23";
/// Longest line of roff's text: mandoc's limit of style.
const WIDEST: usize = 80;

/// Sections that no definition knows, in their order.
const SECTIONS: [&str; 5] = [
    include_str!("../../man/ssh-eic.1.d/environment"),
    include_str!("../../man/ssh-eic.1.d/files"),
    include_str!("../../man/ssh-eic.1.d/examples"),
    include_str!("../../man/ssh-eic.1.d/diagnostics"),
    include_str!("../../man/ssh-eic.1.d/see-also"),
];

/// Runs it.
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
    print_bytes(&text.map_err(|error| Error::new(Kind::Bug, "cannot write the page").because(error))?)?;
    Ok(Exit::default())
}

/// ssh-eic(1): the program, then each command in the order of the definition, then what is written by hand.
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
    for sub in shown(&command) {
        writeln!(page, ".SS {}\n{}.", sub.get_name(), about(sub))?;
        arguments(sub, &mut page)?;
        for below in shown(sub) {
            writeln!(page, ".TP\n\\fB{}\\fR{}\n{}.", below.get_name(), positionals(below), about(below))?;
        }
    }
    writeln!(page, ".SH EXIT STATUS\n.TP\n0\nDone.")?;
    for kind in Kind::ALL {
        writeln!(page, ".TP\n{}\n{}.", kind.exit_code(), kind.meaning().replace('-', "\\-"))?;
    }
    page.extend_from_slice(&causes()?);
    for section in SECTIONS {
        page.extend_from_slice(section.as_bytes());
    }
    Ok(folded(&String::from_utf8_lossy(&page)).into_bytes())
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

/// Breaks long lines of running text at spaces; requests and examples stay as they are.
fn folded(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    let mut as_it_is = false;
    for line in page.lines() {
        as_it_is = line == ".nf" || (as_it_is && line != ".fi");
        if as_it_is || line.starts_with('.') || line.len() <= WIDEST {
            text.push_str(line);
            text.push('\n');
            continue;
        }
        let mut width = 0;
        for (at, word) in line.split(' ').enumerate() {
            // At the start of a line these would make a request of it.
            let breaks = at > 0 && width + 1 + word.len() > WIDEST && !word.starts_with(['.', '\'']);
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

/// The definition as a person sees it.
fn without_hidden(command: &Command) -> Command {
    // Names live as long as the program: clap takes no others without a feature that all of it would pay for.
    let kept = |text: &str| -> &'static str { text.to_owned().leak() };
    let arguments = command.get_arguments().filter(|argument| !argument.is_hide_set()).cloned();
    let mut seen = Command::new(kept(command.get_name()))
        .args(arguments)
        .subcommands(shown(command).map(without_hidden))
        .about(command.get_about().cloned().unwrap_or_default());
    if let Some(version) = command.get_version() {
        seen = seen.version(kept(version));
    }
    seen
}

fn is_host(argument: &Arg) -> bool {
    argument.get_value_hint() == ValueHint::Hostname
}

/// Names of commands that take a host for an argument.
fn with_hosts(command: &Command) -> impl Iterator<Item = &str> {
    command.get_subcommands().filter(|sub| sub.get_positionals().any(is_host)).map(Command::get_name)
}

/// Reads line by line and matches without patterns, so that nothing that stands in a name is ever read by the shell.
const BASH_HOSTS: &str = r#"_ssh__eic_hosts() {
    local name
    COMPREPLY=()
    while IFS= read -r name; do
        if [[ -n "${name}" && "${name}" == "$1"* ]]; then
            COMPREPLY+=("${name}")
        fi
    done <<<"$(ssh-eic list --names 2>/dev/null)"
}

"#;

fn bash(text: &str, command: &Command) -> String {
    // clap_complete 4.6 writes the hyphen of a program's name in two ways into its bash functions, so that no branch is
    // ever taken; a test completes with the real bash.
    let mut text = text.replace("ssh__subcmd__eic", "ssh__eic");
    for sub in command.get_subcommands() {
        let label = format!("\n        ssh__eic__subcmd__{})\n", sub.get_name().replace('-', "__"));
        let Some(start) = text.find(&label) else { continue };
        let end = text[start..].find("\n            ;;\n").map_or(text.len(), |length| start + length);
        let mut branch = text[start..end].to_owned();
        for option in sub.get_opts().filter(|option| is_host(option)).filter_map(Arg::get_long) {
            let files = format!("--{option})\n                    COMPREPLY=($(compgen -f \"${{cur}}\"))");
            branch = branch.replace(&files, &format!("--{option})\n                    _ssh__eic_hosts \"${{cur}}\""));
        }
        if sub.get_positionals().any(is_host) {
            // A word that is no flag is a host; without this the first one would be offered the flags.
            branch = branch.replace(" || ${COMP_CWORD} -eq 2 ]]", " ]]");
            if let Some((before, _)) = branch.rsplit_once("COMPREPLY=( $(compgen -W") {
                branch = format!("{before}_ssh__eic_hosts \"${{cur}}\"\n            return 0");
            }
        }
        text.replace_range(start..end, &branch);
    }
    format!("{BASH_HOSTS}{text}")
}

const ZSH_HOSTS: &str = r#"(( $+functions[_ssh-eic_hosts] )) ||
_ssh-eic_hosts() {
    local -a hosts expl
    hosts=(${(f)"$(_call_program hosts ssh-eic list --names 2>/dev/null)"})
    _wanted hosts expl 'managed host' compadd -a hosts
}

"#;

fn zsh(text: &str) -> String {
    const END: &str = "if [ \"$funcstack[1]\" = ";
    let (functions, end) = text.rsplit_once(END).unwrap_or((text, ""));
    format!("{}{ZSH_HOSTS}{END}{end}", functions.replace(":_hosts'", ":_ssh-eic_hosts'"))
}

fn fish(text: &str, command: &Command) -> String {
    const HOSTS: &str = "(ssh-eic list --names 2>/dev/null)";
    with_hosts(command).fold(text.replace("(__fish_print_hostnames)", HOSTS), |text, name| {
        let condition = format!("__fish_ssh_eic_using_subcommand {name}");
        text + &format!("complete -c ssh-eic -n \"{condition}\" -f -a \"{HOSTS}\" -d 'Managed host'\n")
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_page_names_every_exit_code_once() {
        let codes: BTreeSet<u8> = Kind::ALL.iter().map(|kind| kind.exit_code()).collect();
        assert_eq!(codes.len(), Kind::ALL.len());
        let page = String::from_utf8(man().unwrap()).unwrap();
        let (_, section) = page.split_once(".SH EXIT STATUS\n").unwrap();
        let (section, _) = section.split_once(".SH ").unwrap();
        let told: Vec<&str> = section.split(".TP\n").skip(1).filter_map(|entry| entry.lines().next()).collect();
        let wanted: Vec<String> = [0].into_iter().chain(codes).map(|code| code.to_string()).collect();
        assert_eq!(told, wanted);
    }

    #[test]
    fn long_lines_are_broken_where_no_request_begins() {
        let long = format!("{} .x 'y {}", "word ".repeat(15), "word ".repeat(20));
        let text = folded(&format!(".TP\n{long}\n.nf\n{long}\n.fi\n"));
        assert!(text.contains(&format!(".nf\n{long}\n.fi")), "{text}");
        let lines: Vec<&str> = text.lines().take_while(|line| *line != ".nf").skip(1).collect();
        assert!(lines.len() > 1 && lines.iter().all(|line| !line.starts_with(['.', '\''])), "{text}");
        assert_eq!(lines.join(" "), long);
    }

    #[test]
    fn what_is_hidden_is_not_offered() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let text = completions(shell);
            assert!(!text.contains("detached") && !text.contains("worker"), "{shell:?}");
        }
    }
}
