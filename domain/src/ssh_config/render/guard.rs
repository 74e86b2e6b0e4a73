//! Which user names and ids may be in a shell command.
//!
//! ssh does not quote tokens (`%r`, `%n`, `%k`, `%h`), and a client before 9.6 does not look at the user name. Single
//! quotes are not enough: a quote ends them, and tcsh ends a command at a newline within them and runs the rest. The
//! generated commands therefore contain no user name where hook and proxy can read it from the command line of the calling
//! ssh ([`Settings::caller_is_readable`]); what follows is for the other systems and for files that other programs read.
//!
//! A pattern of `ssh_config` cannot contain a newline, so characters cannot be excluded one by one. What
//! patterns can say is which character is at which position: the criteria of one Match line are all required, so that one
//! criterion for each position admits exactly the names that consist of known characters. Positions are counted from both
//! ends, which makes the patterns shorter: every ssh reads them. The test that reads these lines is `ssh -G`.

use std::fmt::Write as _;

use super::{Settings, program};

/// The characters of a user name that EC2 Instance Connect accepts (`InstanceOSUser` in its API reference). `$` has no
/// meaning within single quotes.
const USER_CHARACTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@._-$";
/// The most characters of such a name.
const LONGEST_USER: usize = 32;
const HEX: &str = "0123456789abcdef";
/// Lengths of an instance id behind `i-`.
const ID_LENGTHS: [usize; 2] = [8, 17];

/// One position of a name, from 0.
#[derive(Clone, Copy)]
enum Position {
    FromStart(usize),
    FromEnd(usize),
}

impl Position {
    /// Positions that cover each character of a name of at most `longest` characters.
    fn covering(longest: usize) -> impl Iterator<Item = Self> {
        let from_start = longest.div_ceil(2);
        (0..from_start).map(Self::FromStart).chain((0..longest - from_start).map(Self::FromEnd))
    }

    /// The pattern of all names with this character here.
    fn pattern(self, c: char) -> String {
        match self {
            Self::FromStart(before) => format!("{}{c}*", any(before)),
            Self::FromEnd(after) => format!("*{c}{}", any(after)),
        }
    }

    /// Lengths of the names that do not have this position.
    fn lengths_without(self) -> impl Iterator<Item = usize> {
        let (Self::FromStart(longest) | Self::FromEnd(longest)) = self;
        1..=longest
    }
}

/// Any characters, that many.
fn any(count: usize) -> String {
    "?".repeat(count)
}

/// Patterns of the names that have a permitted character at `position`, or do not have the position.
fn user_patterns(position: Position) -> impl Iterator<Item = String> {
    position.lengths_without().map(any).chain(USER_CHARACTERS.chars().map(move |c| position.pattern(c)))
}

/// The pattern of all names that are too long.
fn too_long() -> String {
    format!("{}*", any(LONGEST_USER + 1))
}

/// Criteria of a Match line that hold for the user names that may stand in a shell command, and for `local`.
pub(super) fn safe_user(local: Option<&str>) -> String {
    let local = local.and_then(as_pattern);
    let mut criteria = String::new();
    for position in Position::covering(LONGEST_USER) {
        let patterns: Vec<String> = user_patterns(position).chain(local.clone()).collect();
        let _ = write!(criteria, "user \"{}\" ", patterns.join(","));
    }
    let length = local.map_or_else(
        || format!("*,!{}", too_long()),
        |local| {
            // A negation wins over every other pattern, so that a long local name needs the positive form.
            let fits = (1..=LONGEST_USER).map(any);
            fits.chain([local]).collect::<Vec<_>>().join(",")
        },
    );
    criteria + &format!("user \"{length}\"")
}

/// The local user's name as a pattern; none if it needs none, or cannot be one.
fn as_pattern(name: &str) -> Option<String> {
    let is_known = name.len() <= LONGEST_USER && name.chars().all(|c| USER_CHARACTERS.contains(c));
    (!is_known && is_writable(name)).then(|| name.to_owned())
}

/// Whether ssh can be told that this local user name is no danger: it becomes a pattern in double quotes, and stands
/// within single quotes in a shell command.
#[must_use]
pub fn is_writable(name: &str) -> bool {
    // A backslash at the end would end the quoting of fish.
    !name.is_empty()
        && !name.starts_with('!')
        && !name.ends_with('\\')
        && !name.contains("\\\\")
        && !name.chars().any(|c| c.is_control() || "'\"*?,".contains(c))
}

/// Blocks that refuse every other user name: for any host, so whatever includes them says for which. The command has no
/// user name in it; `target` are the tokens in its place. Until a User line is read, ssh assumes the local user's name,
/// which is no reason to refuse.
pub(crate) fn refusals(settings: &Settings, target: &str) -> String {
    let local = as_pattern(&settings.local_user).map(|name| format!(",!{name}")).unwrap_or_default();
    let proxy = refusal(settings, target);
    let mut out = String::new();
    for position in Position::covering(LONGEST_USER) {
        let patterns: Vec<String> = user_patterns(position).map(|pattern| format!("!{pattern}")).collect();
        let _ = write!(out, "Match user \"*,{}{local}\"\n{proxy}", patterns.join(","));
    }
    let _ = write!(out, "Match user \"{}{local}\"\n{proxy}", too_long());
    out
}

fn refusal(settings: &Settings, target: &str) -> String {
    format!("    ProxyCommand {} proxy --refused-user -- {target}\n", program(settings))
}

/// Criteria of a Match line that hold for `i-` and exactly 8 or 17 hexadecimal digits. `originalhost` ignores case.
pub(super) fn exact_id() -> String {
    let [short, long] = ID_LENGTHS.map(|length| format!("i-{}", any(length)));
    let mut criteria = vec![format!("{short},{long}")];
    // The first digits of both lengths, then the last ones of the long form.
    criteria.extend((0..ID_LENGTHS[0]).map(|before| digits(|digit| format!("i-{}{digit}*", any(before)))));
    let rest = ID_LENGTHS[1] - ID_LENGTHS[0];
    criteria.extend((0..rest).map(|after| format!("{short},{}", digits(|digit| format!("*{digit}{}", any(after))))));
    criteria.iter().map(|patterns| format!("originalhost \"{patterns}\"")).collect::<Vec<_>>().join(" ")
}

/// The pattern of each hexadecimal digit, as a list.
fn digits(pattern: impl Fn(char) -> String) -> String {
    HEX.chars().map(pattern).collect::<Vec<_>>().join(",")
}

/// The `ProxyCommand` of an id. Included in a Host block, which respects case.
pub(super) fn id_proxy(settings: &Settings) -> String {
    let id = exact_id();
    let program = program(settings);
    if settings.caller_is_readable {
        let user = super::flags(&[("--default-user", settings.fallback.0.to_string())]);
        return format!("Match {id}\n    ProxyCommand {program} proxy{user} -- %k %h %p\n");
    }
    let command = format!("    ProxyCommand {program} proxy -- %k %h %p '%r'\n");
    let user = safe_user(Some(&settings.local_user));
    format!("Match {id} {user}\n{command}Match {id}\n{}", refusal(settings, "%k %h %p"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::matches_list;
    use crate::ssh_config::read::lines;

    /// Whether all criteria of a Match line hold for this user name and this host.
    fn holds(line: &str, user: &str, host: &str) -> bool {
        let line = lines(line.as_bytes()).remove(0);
        line.arguments.chunks(2).all(|criterion| {
            let value = if criterion[0] == "user" { user } else { host };
            matches_list(criterion[1].split(','), value)
        })
    }

    fn is_refused(user: &str, local: &str) -> bool {
        let settings = Settings { local_user: local.to_owned(), ..crate::ssh_config::render::tests::settings() };
        let text = refusals(&settings, "%n");
        assert!(!text.contains("%r"));
        text.lines().filter(|line| line.starts_with("Match ")).any(|line| holds(line, user, ""))
    }

    #[test]
    fn a_name_is_refused_unless_each_character_is_permitted_and_it_is_short_enough() {
        let longest = "a".repeat(32);
        let criteria = format!("Match {}", safe_user(None));
        for user in ["a", "ec2-user", "a.b@c_d", "x$", longest.as_str()] {
            assert!(!is_refused(user, "alice") && holds(&criteria, user, ""), "{user:?}");
        }
        let late = format!("{longest}\nid");
        let last = format!("{}\n", &longest[1..]);
        for user in ["", "\n", "a\nid\nb", "a\n", "\na", "a\r", "a'b", "a\"b", "a\\b", "a b", "a\tb", "*", &late, &last]
        {
            assert!(is_refused(user, "alice") || user.is_empty(), "{user:?}");
            assert!(!holds(&criteria, user, ""), "{user:?}");
        }
    }

    #[test]
    fn the_local_user_is_refused_by_none_of_the_lines() {
        for local in ["CORP\\alice", "alice smith", "a-very-long-name-of-somebody@corp.example.com"] {
            let criteria = format!("Match {}", safe_user(Some(local)));
            assert!(!is_refused(local, local) && holds(&criteria, local, ""), "{local}");
            assert!(holds(&criteria, "ec2-user", "") && !holds(&criteria, "a\nb", ""), "{local}");
            assert!(is_refused(&format!("{local}\nid"), local), "{local}");
            assert!(!holds(&criteria, &format!("{local}\nid"), ""), "{local}");
        }
        assert!(is_refused("o'brien", "o'brien"), "it cannot be quoted");
    }

    #[test]
    fn a_user_name_stands_in_a_command_only_behind_criteria_and_the_other_command_refuses() {
        let settings = Settings { caller_is_readable: false, ..crate::ssh_config::render::tests::settings() };
        let text = id_proxy(&settings) + &refusals(&settings, "%n");
        let lines: Vec<&str> = text.lines().collect();
        let mut with_name = 0;
        for pair in lines.chunks(2) {
            assert!(pair[0].starts_with("Match ") && pair[1].starts_with("    ProxyCommand "), "{pair:?}");
            if pair[1].contains("%r") {
                assert_eq!(pair[0], format!("Match {} {}", exact_id(), safe_user(Some("alice"))));
                assert!(pair[1].ends_with(" proxy -- %k %h %p '%r'"), "{}", pair[1]);
                with_name += 1;
            } else {
                assert!(pair[1].contains(" proxy --refused-user -- %"), "{}", pair[1]);
            }
        }
        assert_eq!((with_name, lines.len()), (1, 2 * (2 + LONGEST_USER + 1)));
    }

    #[test]
    fn an_id_has_hexadecimal_digits_and_nothing_else() {
        let criteria = format!("Match {}", exact_id());
        for id in ["i-0abc12de", "i-0abc12def34567890"] {
            assert!(holds(&criteria, "", id), "{id}");
        }
        for id in [
            "i-0abc12d",
            "i-0abc12de0",
            "i-0abc\n2de",
            "i-\ntouch x",
            "i-0abc12def3456789\n",
            "i-0abc12d=",
            "i-0abc12d*",
            "j-0abc12de",
        ] {
            assert!(!holds(&criteria, "", id), "{id:?}");
        }
    }
}
