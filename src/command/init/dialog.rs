//! The questions of `init` without options on a terminal: which credentials, and the regions in which they have instances.
//!
//! A choice is a number of a list or its name. Nothing is written here.

use std::collections::BTreeMap;

use crate::aws::accounts;
use crate::aws::client;
use crate::aws::profiles::Profiles;
use crate::cli;
use crate::command::Context;
use crate::discover::discovery::{self, Discovery, DiscoveryRequest};
use crate::discover::failures;
use crate::domain::source::Accounts;
use crate::domain::text::{first_names, natural_order};
use crate::error::{Error, Kind, Result};
use crate::store::reach::Reach;
use crate::store::{config, ssh_config};
use crate::sys::environment::variable;
use crate::ui;

use super::first_config;

/// Names that are shown of a region.
const SHOWN: usize = 4;

/// Asks for the options. Those of the command line, which are none, if stdin and stderr are no terminal or there is
/// nothing to choose from.
///
/// # Errors
///
/// [`Kind::No`] if the user quits; errors of the credentials that the user chose.
pub(super) fn options(context: &Context) -> Result<Option<cli::Init>> {
    let none = Some(cli::Init::default());
    if !ui::can_ask() {
        return Ok(none);
    }
    let profiles = client::run(Profiles::load())?;
    let identities = identities(&profiles);
    if identities.is_empty() {
        return Ok(none);
    }
    let labels: Vec<String> = identities.iter().map(Identity::label).collect();
    let selected = identities.iter().position(|one| one.name() == Some(profiles.selected())).unwrap_or(0);
    let names: Vec<&str> = identities.iter().map(|one| one.name().unwrap_or_default()).collect();
    let chosen = &identities[choose_one("Find instances with:", &labels, &names, selected)?];
    let mut options = match chosen {
        Identity::Environment => cli::Init::default(),
        Identity::Profile(profile) => cli::Init { profile: Some(profile.clone()), ..cli::Init::default() },
        Identity::Session(session) => {
            cli::Init { sso_session: Some(session.clone()), roles: vec![role(session)?], ..cli::Init::default() }
        }
    };
    options.regions = regions(context, &options, &chosen.label())?;
    Ok(Some(options))
}

/// Credentials that a source can use.
enum Identity {
    /// Access keys or a web identity in environment variables.
    Environment,
    Profile(String),
    /// A role in each account of an SSO session.
    Session(String),
}

impl Identity {
    fn name(&self) -> Option<&str> {
        match self {
            Self::Environment => None,
            Self::Profile(name) | Self::Session(name) => Some(name),
        }
    }

    fn label(&self) -> String {
        match self {
            Self::Environment => "the credentials of the environment".to_owned(),
            Self::Profile(name) => format!("profile {name}"),
            Self::Session(name) => format!("SSO session {name}, all accounts"),
        }
    }
}

fn identities(profiles: &Profiles) -> Vec<Identity> {
    let in_environment =
        ["AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE"].iter().any(|name| variable(name).is_some());
    let mut all: Vec<Identity> = in_environment.then_some(Identity::Environment).into_iter().collect();
    all.extend(profiles.names().into_iter().map(Identity::Profile));
    all.extend(profiles.sso_sessions().into_iter().map(Identity::Session));
    all
}

/// The role of an SSO session, of those that its accounts offer.
fn role(session: &str) -> Result<String> {
    let every = vec!["*".to_owned()];
    let wanted = Accounts { session: session.to_owned(), only: every, exclude: Vec::new(), roles: Vec::new() };
    let offer = client::run(accounts::offer(&wanted))?;
    if offer.roles.is_empty() {
        return Err(match offer.failed.into_iter().next() {
            Some((_, error)) => error,
            None => Error::new(Kind::Denied, format!("the SSO session {session:?} offers you no role in any account"))
                .hint("ask the administrator of Identity Center"),
        });
    }
    let mut roles: Vec<(String, usize)> = offer.roles.into_iter().collect();
    roles.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let label = |(role, accounts): &(String, usize)| format!("{role} ({})", counted(*accounts, "account"));
    let labels: Vec<String> = roles.iter().map(label).collect();
    let names: Vec<&str> = roles.iter().map(|(role, _)| role.as_str()).collect();
    Ok(names[choose_one("With the role:", &labels, &names, 0)?].to_owned())
}

/// The regions that the user chooses of those with instances.
fn regions(context: &Context, options: &cli::Init, label: &str) -> Result<Vec<String>> {
    let mut found = discover(context, options, Some("all"))?;
    let denied = found.failed.iter().any(|failed| failed.error.kind == Kind::Denied);
    if found.fleet.hosts.is_empty() && denied {
        // A user who cannot list the regions can have instances in the region of the profile.
        found = discover(context, options, None)?;
    }
    let failed = failures::by_cause(found.failed);
    let mut by_region: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for host in &found.fleet.hosts {
        by_region.entry(&host.region).or_default().push(host.label());
    }
    if by_region.is_empty() {
        return Err(failed.into_iter().next().unwrap_or_else(|| {
            Error::new(Kind::NoHost, format!("{label}: there is no instance in any region, and nothing was written"))
                .hint("ssh-eic init --profile NAME --region REGION writes a config all the same")
        }));
    }
    failed.iter().for_each(ui::error);
    let names: Vec<&str> = by_region.keys().copied().collect();
    let width = names.iter().map(|name| name.len()).max().unwrap_or(0);
    let hosts = |names: &mut Vec<&str>| {
        names.sort_by(|a, b| natural_order(a, b));
        first_names(names.iter(), SHOWN)
    };
    let mut labels = Vec::new();
    for (region, mut found) in by_region.clone() {
        labels.push(format!("{region:<width$}  {:>5}  {}", found.len(), hosts(&mut found)));
    }
    let count = counted(found.fleet.hosts.len(), "instance");
    list(&format!("{label}: {count} in {}:", counted(names.len(), "region")), &labels);
    let path = context.paths.config.display();
    let question = match names.len() {
        1 => format!("Write {path} for this region? Enter for yes, q to quit"),
        _ => format!("Write {path} for which of these? Numbers, Enter for all, q to quit"),
    };
    loop {
        let typed = ask(&question)?;
        let words: Vec<&str> = typed.split([' ', ',']).filter(|word| !word.is_empty()).collect();
        if matches!(words.as_slice(), [] | ["all" | "y" | "yes"]) {
            return Ok(names.into_iter().map(str::to_owned).collect());
        }
        match words.iter().map(|word| position(word, &names)).collect::<std::result::Result<Vec<_>, _>>() {
            Ok(mut chosen) => {
                chosen.sort_unstable();
                chosen.dedup();
                return Ok(chosen.into_iter().map(|at| names[at].to_owned()).collect());
            }
            Err(message) => ui::warning(&message),
        }
    }
}

/// The hosts that a config for these options would have; in the region of the profile if `region` is `None`. Nothing is
/// written.
fn discover(context: &Context, options: &cli::Init, region: Option<&str>) -> Result<Discovery> {
    let regions = region.map(str::to_owned).into_iter().collect();
    let text = first_config::text(&cli::Init { regions, ..options.clone() });
    let config = config::parse(&text, &context.paths.config)?;
    let paths = &context.paths;
    discovery::discover(&DiscoveryRequest {
        paths,
        config: &config,
        only: None,
        accept_moves: false,
        keep: false,
        reach: &Reach::read(paths, &ssh_config::include_line(paths)?),
        index: None,
    })
}

/// Prints a list and asks for one entry, unless there is only one. `default` is the entry for an empty line.
fn choose_one(title: &str, labels: &[String], names: &[&str], default: usize) -> Result<usize> {
    if labels.len() == 1 {
        return Ok(0);
    }
    list(title, labels);
    loop {
        let typed = ask(&format!("Number or name [{}], q to quit", default + 1))?;
        match typed.as_str() {
            "" => return Ok(default),
            typed => match position(typed, names) {
                Ok(at) => return Ok(at),
                Err(message) => ui::warning(&message),
            },
        }
    }
}

fn list(title: &str, labels: &[String]) {
    ui::print_on_terminal(title);
    let width = labels.len().to_string().len() + 2;
    for (at, label) in labels.iter().enumerate() {
        ui::print_on_terminal(&format!("{:>width$}  {label}", at + 1));
    }
}

/// The position of an entry that is given by its number or its name.
fn position(typed: &str, names: &[&str]) -> std::result::Result<usize, String> {
    if let Some(at) = names.iter().position(|name| *name == typed) {
        return Ok(at);
    }
    match typed.parse::<usize>() {
        Ok(number) if (1..=names.len()).contains(&number) => Ok(number - 1),
        _ => Err(format!("{typed:?} is neither a number from 1 to {} nor a name in the list", names.len())),
    }
}

/// What the user typed, without spaces around it.
fn ask(question: &str) -> Result<String> {
    let typed = ui::ask(question)?.map(|line| line.trim().to_owned());
    match typed.as_deref() {
        None | Some("q" | "quit" | "n" | "no") => Err(Error::new(Kind::No, "nothing was written")),
        Some(typed) => Ok(typed.to_owned()),
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_given_by_its_number_or_its_name() {
        let names = ["prod", "2", "staging"];
        assert_eq!(position("1", &names), Ok(0));
        assert_eq!(position("2", &names), Ok(1));
        assert_eq!(position("staging", &names), Ok(2));
        for wrong in ["0", "4", "-1", "stagin"] {
            let message = format!("{wrong:?} is neither a number from 1 to 3 nor a name in the list");
            assert_eq!(position(wrong, &names), Err(message));
        }
    }
}
