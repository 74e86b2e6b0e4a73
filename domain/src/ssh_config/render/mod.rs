//! The generated `ssh_config`: `main` is the file that the user's config includes, and includes the others in this order.
//!
//! `guard` rejects user names that must not reach a shell, if commands contain them (see [`guard`]), `hosts` holds all
//! routing in `Host` blocks, `hook` holds the `Match exec` lines, alone because other readers of `ssh_config` lose hosts behind a Match. Each has
//! an Include line of its own, because libssh reads the first path of a line only. The facts behind each line are in
//! section 5 of the contract: what a client of 8.7 or newer does with quotes, patterns and tokens.
//!
//! The same fleet gives the same bytes. Not here: aliases (`domain::alias`), writing (`store`), the Include (`edit`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::connection_options::ConnectionOptions;
use crate::fleet::Host;
use crate::ids::OsUser;
use crate::pattern;
use crate::source::HostKeys;
use crate::ssh_config::options::{self, Written};
use crate::text::{shell_word, single_quoted};

pub mod guard;

/// Names on one Host line; ssh's time for a line grows with the square of them.
const NAMES_A_LINE: usize = 100;
/// Bytes on one Host line, below what readers with fixed buffers take.
const BYTES_A_LINE: usize = 1000;
/// Bytes that a Unix socket path may have (`sun_path`, the smaller of Linux's and macOS's), less the random suffix of
/// 17 that ssh adds while it makes the socket.
const LONGEST_CONTROL_PATH: usize = 103 - 17;
/// Bytes of the user names that people type with `-l` or `user@`; a longer one would have too long a path.
const USUAL_USER: usize = 12;

/// What all blocks share.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The binary, absolute, as found on PATH.
    pub binary: String,
    /// Hidden flags that lead the hook and the proxy to other files than the default ones, quoted by us.
    pub flags: Vec<(String, String)>,
    /// Folder of keys, `known_hosts` and control sockets, absolute.
    pub folder: String,
    /// Further `known_hosts` files.
    pub known_hosts: Vec<String>,
    /// Write ControlMaster lines with this ControlPersist.
    pub control_persist: Option<String>,
    /// User and port of an id that the index does not know.
    pub fallback: (OsUser, u16),
    /// Options that the user wants for all hosts, before ours.
    pub options: BTreeMap<String, String>,
    /// Patterns of the aliases that get a block; the others are reached by id.
    pub hosts: Vec<String>,
    /// The user name that ssh assumes until a User line or the command line gives another one: the local user's.
    pub local_user: String,
    /// Whether hook and proxy can read the command line of the calling ssh exactly, so that they find the user name there
    /// and no command has to contain it (see [`guard`]).
    pub caller_is_readable: bool,
}

impl Settings {
    /// Whether ssh shall know the host by name.
    #[must_use]
    pub fn names(&self, host: &Host) -> bool {
        host.alias.as_ref().is_some_and(|alias| self.names_bare(alias))
    }

    /// The same of a name that several share.
    #[must_use]
    pub fn names_bare(&self, name: &str) -> bool {
        pattern::matches_list(self.hosts.iter().map(String::as_str), &name.to_ascii_lowercase())
    }
}

/// The generated files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// Includes `guard`, `hosts` and `hook`.
    pub main: String,
    /// Before the hosts: applies `users` to managed names, and `ids` to what looks like an id.
    pub guard: String,
    /// Refuses user names that must not reach a shell; for any host, so it is included by `guard` only.
    pub users: String,
    /// The `ProxyCommand` of an id.
    pub ids: String,
    /// All Host blocks.
    pub hosts: String,
    /// The Match lines.
    pub hook: String,
}

/// What distinguishes one block of shared options from another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OptionSet<'a> {
    source: &'a str,
    region: &'a str,
    user: &'a str,
    port: u16,
    connection: ConnectionOptions,
    options: &'a BTreeMap<String, String>,
}

impl<'a> OptionSet<'a> {
    /// The set that a host belongs to.
    #[must_use]
    pub fn of(host: &'a Host) -> Self {
        Self {
            source: &host.source,
            region: &host.region,
            user: host.user.as_str(),
            port: host.port,
            connection: ConnectionOptions::of_host(host),
            options: &host.options,
        }
    }

    /// The same without flags of the proxy, which no client reads. The mode of host keys is also an option of ssh.
    #[must_use]
    pub fn anywhere(self) -> Self {
        Self {
            region: "",
            connection: ConnectionOptions { host_keys: self.connection.host_keys, ..ConnectionOptions::default() },
            ..self
        }
    }
}

/// Refuses a path that cannot be written into `ssh_config` and a shell command at once.
///
/// # Errors
///
/// Names the character that stands in the way.
pub fn check_path(path: &str) -> Result<(), String> {
    // Quotes and backslashes end our quoting, `${` is expanded by ssh (8.4), globs by Include.
    let bad = path.chars().find(|c| c.is_control() || "'\"\\*?[".contains(*c));
    match bad {
        Some(c) => Err(format!("{c:?} in it cannot be written into ssh_config")),
        None if path.contains("${") => Err("\"${\" in it would be expanded by ssh".to_owned()),
        None if path.starts_with('/') => Ok(()),
        None => Err("it is not absolute".to_owned()),
    }
}

/// The line for the user's own config.
#[must_use]
pub fn include_line(folder: &str) -> String {
    include(folder, MAIN)
}

/// Includes one generated file.
fn include(folder: &str, name: &str) -> String {
    format!("Include {}", quoted(&percent_as_range(&format!("{folder}/{name}"))))
}

/// A path in an Include line. A client from 9.9 expands tokens there, an older one reads `%%` as two characters, and the
/// client may be upgraded after the line was written; both read a glob pattern, in which this range stands for `%` (and
/// its two neighbours in ASCII).
fn percent_as_range(path: &str) -> String {
    path.replace('%', PERCENT_RANGE)
}

/// What stands for `%` in the path of an Include line.
pub const PERCENT_RANGE: &str = "[$-&]";

/// Renders all files. `hosts` in the order that the files shall have; `bare` are the names that several hosts share, for
/// which the proxy lists the candidates.
#[must_use]
pub fn files(hosts: &[Host], bare: &[String], settings: &Settings) -> Files {
    let names: Vec<&str> = hosts
        .iter()
        .filter(|host| settings.names(host))
        .flat_map(all_spellings)
        .chain(bare.iter().map(String::as_str))
        .collect();
    let includes = ["guard", "hosts", "hook"].map(|name| include(&settings.folder, name) + "\n").concat();
    let ids = format!("Host {}\n    {}\n", id_patterns(), include(&settings.folder, "ids"));
    let has_user_names = !settings.caller_is_readable;
    let users = if names.is_empty() || !has_user_names {
        String::new()
    } else {
        format!("Match originalhost \"{}\"\n    {}\n", names.join(","), include(&settings.folder, "users"))
    };
    Files {
        main: format!("{HEADER}{includes}"),
        // Without the last line, libssh takes nothing of what follows: a Match stays in effect behind its file there.
        guard: format!("{HEADER}{users}{ids}Match all\n"),
        users: if has_user_names {
            format!("{HEADER}{}", guard::refusals(settings, "%n %h %p"))
        } else {
            format!("{HEADER}# Empty, because no command in these files contains a user name.\n")
        },
        ids: format!("{HEADER}{}", guard::id_proxy(settings)),
        hosts: host_blocks(hosts, bare, settings),
        hook: hook(hosts, settings),
    }
}

impl Files {
    /// Each with its name, in the order of [`FILES`].
    #[must_use]
    pub fn named(&self) -> [(&'static str, &str); 6] {
        let [main, guard, hosts, hook, users, ids] = FILES;
        [
            (main, &self.main),
            (guard, &self.guard),
            (hosts, &self.hosts),
            (hook, &self.hook),
            (users, &self.users),
            (ids, &self.ids),
        ]
    }

    /// What the user's config holds in the inline layout. It includes [`NESTED`], which only an Include can apply to
    /// some hosts.
    #[must_use]
    pub fn in_one(&self) -> String {
        [self.guard.as_str(), &self.hosts, &self.hook].concat()
    }

    /// The same files for a folder other than the one that they were rendered for.
    #[must_use]
    pub fn relocated(&self, from: &str, to: &str) -> Self {
        let relocate = |text: &str| {
            let moved = |text: String, name: &str| text.replace(&include(from, name), &include(to, name));
            FILES.into_iter().fold(text.to_owned(), moved)
        };
        Self { main: relocate(&self.main), guard: relocate(&self.guard), ..self.clone() }
    }
}

/// The file that the user's config includes.
const MAIN: &str = "main";

/// Names of the generated files.
pub const FILES: [&str; 6] = [MAIN, "guard", "hosts", "hook", "users", "ids"];

/// Those that both layouts need as files.
pub const NESTED: [&str; 2] = ["users", "ids"];

/// What each generated file begins with.
pub const HEADER: &str = "# Written by ssh-eic sync. Changes are overwritten: change config.toml instead.\n";

fn host_blocks(hosts: &[Host], bare_names: &[String], settings: &Settings) -> String {
    let mut out = HEADER.to_owned();
    for host in hosts.iter().filter(|host| settings.names(host)) {
        address(&mut out, host, &host.all_names().collect::<Vec<_>>());
    }
    let mut sets: BTreeMap<OptionSet<'_>, Vec<&str>> = BTreeMap::new();
    for host in hosts.iter().filter(|host| settings.names(host)) {
        sets.entry(OptionSet::of(host)).or_default().extend(host.all_names());
    }
    for (set, names) in &sets {
        for line in name_lines(names) {
            let _ = writeln!(out, "Host {line}");
            write_lines(&mut out, options(set.options, settings));
            write_lines(&mut out, login(set.user, set.port));
            let place = format!(" --region {} --source {}", word(set.region), word(set.source));
            let connection = flags(&set.connection.proxy_flags());
            let target = if settings.caller_is_readable {
                let user = flags(&[("--default-user", set.user.to_owned())]);
                format!("{place}{user}{connection} -- %k %h %p")
            } else {
                format!("{place}{connection} -- %k %h %p '%r'")
            };
            write_lines(&mut out, shared_as(settings, set.user, "%k", Some(&target), set.connection.host_keys));
        }
    }
    for line in name_lines(&bare_names.iter().map(String::as_str).collect::<Vec<_>>()) {
        bare(&mut out, &line, settings, " -- %n");
    }
    id_blocks(&mut out, hosts, settings);
    out
}

/// The head of a host's block.
pub(super) fn address(out: &mut String, host: &Host, names: &[&str]) {
    let _ = writeln!(out, "Host {}", names.join(" "));
    write_lines(out, addresses(host));
}

/// Where the host is and the name of its host key.
pub(super) fn addresses(host: &Host) -> [Line; 2] {
    let address = host.address.as_deref().unwrap_or(host.id.as_str());
    [("HostName".to_owned(), address.to_owned()), ("HostKeyAlias".to_owned(), host.id.to_string())]
}

/// Names without an address and without a way around our proxy, which says whose they are and connects to none.
pub(super) fn bare(out: &mut String, names: &str, settings: &Settings, target: &str) {
    let program = program(settings);
    let _ = write!(
        out,
        "Host {names}\n    ProxyCommand {program} proxy{target} %h %p\n    ProxyUseFdpass no\n    ControlPath none\n"
    );
}

/// Keyword and value of one line of a block.
pub(super) type Line = (String, String);

/// Writes lines into a block.
pub(super) fn write_lines(out: &mut String, lines: impl IntoIterator<Item = Line>) {
    for (keyword, value) in lines {
        let _ = writeln!(out, "    {keyword} {value}");
    }
}

/// The options of config.toml, which come first: those of a `[[host]]`, then those for all hosts.
pub(super) fn options(of_host: &BTreeMap<String, String>, settings: &Settings) -> Vec<Line> {
    let own: BTreeSet<String> = of_host.keys().map(|keyword| keyword.to_ascii_lowercase()).collect();
    let general = settings.options.iter().filter(|(keyword, _)| !own.contains(&keyword.to_ascii_lowercase()));
    of_host.iter().chain(general).map(|(keyword, value)| (keyword.clone(), value.clone())).collect()
}

/// User, port and further options of an id.
type Login<'a> = (&'a str, u16, &'a BTreeMap<String, String>, HostKeys);

/// An instance is reachable as its id, indexed or not; only what differs from the fallback needs its own lines.
fn id_blocks(out: &mut String, hosts: &[Host], settings: &Settings) {
    let (user, port) = &settings.fallback;
    let mut others: BTreeMap<Login<'_>, Vec<&str>> = BTreeMap::new();
    let checking = |host: &Host| strict_checking(host.host_keys);
    let differs = |host: &&Host| {
        (&host.user, host.port) != (user, *port) || !host.options.is_empty() || checking(host) != ACCEPT_NEW
    };
    for host in hosts.iter().filter(differs) {
        let host_keys = if checking(host) == ACCEPT_NEW { HostKeys::AcceptNew } else { host.host_keys };
        others.entry((host.user.as_str(), host.port, &host.options, host_keys)).or_default().push(host.id.as_str());
    }
    for ((user, port, of_host, host_keys), ids) in &others {
        for line in name_lines(ids) {
            let _ = writeln!(out, "Host {line}");
            write_lines(out, of_host.iter().map(|(keyword, value)| (keyword.clone(), value.clone())));
            write_lines(out, login(user, *port));
            if strict_checking(*host_keys) != ACCEPT_NEW {
                let _ = writeln!(out, "    StrictHostKeyChecking {}", strict_checking(*host_keys));
            }
        }
    }
    let _ = writeln!(out, "Host {}", id_patterns());
    write_lines(out, options(&BTreeMap::new(), settings));
    write_lines(out, login(user.as_str(), *port));
    // Without a ProxyCommand: a Host line cannot exclude a newline, so the one in `ids` is for exact ids.
    write_lines(out, shared_as(settings, user.as_str(), "%k", None, HostKeys::AcceptNew));
}

pub(super) fn login(user: &str, port: u16) -> [Line; 2] {
    [("User".to_owned(), user.to_owned()), ("Port".to_owned(), port.to_string())]
}

/// `StrictHostKeyChecking`: ssh may not accept an unknown key where the proxy does not.
fn strict_checking(mode: HostKeys) -> &'static str {
    match mode {
        HostKeys::AcceptNew | HostKeys::Console => ACCEPT_NEW,
        HostKeys::RequireConsole => "yes",
    }
}

const ACCEPT_NEW: &str = "accept-new";

/// The options that hosts share. `id` names the instance in paths: a token, or a literal. `target` has the arguments of the
/// proxy.
pub(super) fn shared_as(settings: &Settings, user: &str, id: &str, target: Option<&str>, mode: HostKeys) -> Vec<Line> {
    let Settings { folder, known_hosts, .. } = settings;
    let own = |name: &str| quoted(&percent_doubled(&format!("{folder}/{name}")));
    let key = quoted(&format!("{}/keys/{id}", percent_doubled(folder)));
    let control_path = control_path(folder, id, user.len());
    let known: Vec<String> = known_hosts.iter().map(|path| quoted(&percent_doubled(path))).collect();
    let known = [vec![own("known_hosts"), own("known_hosts.console")], known].concat().join(" ");
    let program = program(settings);
    let proxy = target.map(|target| format!("{program} proxy{target}"));
    let line = |option: &options::SshOption| {
        let value = match (option.written, option.keyword) {
            (Written::Nothing | Written::OfHost, _) => None,
            (Written::Fixed(value), _) => Some(value),
            (Written::Computed, "IdentityFile") => Some(key.as_str()),
            (Written::Computed, "ProxyCommand") => proxy.as_deref(),
            (Written::Computed, "ControlPath") => Some(control_path.as_str()),
            (Written::Computed, "UserKnownHostsFile") => Some(known.as_str()),
            (Written::Computed, "StrictHostKeyChecking") => Some(strict_checking(mode)),
            (Written::Computed, "ControlMaster") => settings.control_persist.as_ref().map(|_| "auto"),
            (Written::Computed, _) => settings.control_persist.as_deref(),
        };
        value.map(|value| (option.keyword.to_owned(), value.to_owned()))
    };
    options::OPTIONS.iter().filter_map(line).collect()
}

/// By instance, so that two instances with one private address never share a master.
fn control_path(folder: &str, id: &str, longest_user: usize) -> String {
    if !has_room_for_sockets(folder, longest_user) {
        // ssh would refuse to connect at all. There is no token that shortens %k, and %C knows the address only.
        return "none".to_owned();
    }
    quoted(&format!("{}/cm/{id}-%p-%r", percent_doubled(folder)))
}

/// Whether ssh could bind the socket of a master in that folder, for user names up to that many bytes.
#[must_use]
pub fn has_room_for_sockets(folder: &str, longest_user: usize) -> bool {
    folder.len() + "/cm/i-0123456789abcdef0-65535-".len() + longest_user.max(USUAL_USER) <= LONGEST_CONTROL_PATH
}

/// The names of a host, once for each spelling that `Match originalhost`, which ignores case, tells apart.
fn all_spellings(host: &Host) -> impl Iterator<Item = &str> {
    let alias = host.alias.as_deref().unwrap_or_default();
    host.all_names().filter(move |name| *name == alias || !name.eq_ignore_ascii_case(alias))
}

fn hook(hosts: &[Host], settings: &Settings) -> String {
    let mut out = HEADER.to_owned();
    let named = hosts.iter().filter(|host| settings.names(host));
    let aliases: Vec<&str> = named.flat_map(all_spellings).collect();
    let exec = format!("exec \"exec {} match -- '%n'", program(settings));
    if !aliases.is_empty() {
        // The hook takes the user name from the command line of the calling ssh, else from the index.
        let _ = writeln!(out, "Match originalhost \"{}\" {exec}\"", aliases.join(","));
    }
    let id = guard::exact_id();
    let _ = if settings.caller_is_readable {
        writeln!(out, "Match {id} {exec}\"")
    } else {
        writeln!(out, "Match {id} {} {exec} '%r'\"", guard::safe_user(None))
    };
    out
}

pub(super) fn program(settings: &Settings) -> String {
    let mut program = format!("'{}'", percent_doubled(&settings.binary));
    for (flag, value) in &settings.flags {
        let _ = write!(program, " {flag} '{}'", percent_doubled(value));
    }
    program
}

/// The program that a generated text names in its hook.
#[must_use]
pub fn named_program(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("exec \"exec '")?;
    rest.split_once('\'').map(|(path, _)| path.replace("%%", "%"))
}

/// `i-` with exactly 8 or 17 hexadecimal digits, as far as a Host line can say it: a `?` for each and a negation for every
/// other printable character that a pattern can name. What is left (`*`, `?`, `,`, `=`, a newline, bytes above ASCII)
/// reaches neither a shell ([`guard::exact_id`]) nor the parser of the proxy. Comma and equals sign would be ones that
/// ssh reads, but asyncssh cuts at them and is left with a `*`: every host of the user's would be one of ours to it (its
/// config.py, `parse` and `_match_host`).
fn id_patterns() -> String {
    let mut patterns = vec![format!("i-{}", "?".repeat(8)), format!("i-{}", "?".repeat(17))];
    for c in ('!'..='~').filter(|c| !matches!(c, '0'..='9' | 'a'..='f' | '*' | '?' | ',' | '=')) {
        let escaped = match c {
            // These have a meaning of their own in a Host line.
            '"' | '\'' | '\\' => format!("\\{c}"),
            _ => c.to_string(),
        };
        patterns.push(format!("!i-*{escaped}*"));
    }
    patterns.join(" ")
}

/// Names in lines of at most 100 and 1000 bytes, as given.
fn name_lines(names: &[&str]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut count = NAMES_A_LINE;
    for name in names {
        match lines.last_mut() {
            Some(line) if count < NAMES_A_LINE && "Host ".len() + line.len() + 1 + name.len() < BYTES_A_LINE => {
                line.push(' ');
                line.push_str(name);
                count += 1;
            }
            _ => {
                lines.push((*name).to_owned());
                count = 1;
            }
        }
    }
    lines
}

/// `ssh_config`'s double quotes, where a space asks for them, or a variable that may hold one.
fn quoted(path: &str) -> String {
    if path.contains([' ', '#', '=', '$']) { format!("\"{path}\"") } else { path.to_owned() }
}

fn percent_doubled(text: &str) -> String {
    text.replace('%', "%%")
}

/// One word of a shell command; `check_word` has seen to it that it has no quote.
pub(super) fn word(text: &str) -> String {
    // Whatever comes here has been checked; what has not must not end our quoting.
    let text: String = text.chars().filter(|c| !c.is_control() && !"'\"\\".contains(*c)).collect();
    if text.contains('%') { percent_doubled(&single_quoted(&text)) } else { shell_word(&text) }
}

/// Flags of the proxy, each with a space before it.
pub(super) fn flags(flags: &[(&str, String)]) -> String {
    flags.iter().fold(String::new(), |text, (flag, value)| text + " " + flag + " " + &word(value))
}

/// Refuses a word from the config that cannot be quoted into a ProxyCommand.
///
/// # Errors
///
/// Names the character that stands in the way.
pub fn check_word(text: &str) -> Result<(), String> {
    match text.chars().find(|c| c.is_control() || "'\"\\".contains(*c)) {
        Some(c) => Err(format!("{c:?} in it cannot be written into ssh_config")),
        None if text.is_empty() || text.starts_with('-') => Err("it is empty or starts with '-'".to_owned()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
