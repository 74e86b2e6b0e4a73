//! From the config as it is typed to the one that the program works with.

use std::collections::BTreeMap;
use std::time::Duration;

use super::complaint::Complaint;
use super::raw::{OneOrMany, Raw, RawHost, RawSource, RawSsh};
use crate::domain::alias::Template;
use crate::domain::config::{Config, HostRule, Layout, PushMode};
use crate::domain::identity::Role;
use crate::domain::ids::{OsUser, is_account, is_region};
use crate::domain::source::{Accounts, AddressKind, Duplicates, Regions, Source, Who};
use crate::domain::{duration, render};
use crate::error::Result;

/// Options that are ours: with another value the host could not be reached, or another one would be.
const OURS: [(&str, &str); 16] = [
    ("host", "write a [[host]] table"),
    ("match", "write a [[host]] table"),
    ("include", "include the file in your own ssh config"),
    ("hostname", "it is the instance's address"),
    ("hostkeyalias", "it is the instance's id"),
    ("user", "set user beside options"),
    ("port", "set port beside options"),
    ("proxycommand", "it is what reaches the instance"),
    ("proxyjump", "it would go around what reaches the instance"),
    ("proxyusefdpass", "it is what reaches the instance"),
    ("controlpath", "it keeps instances apart; set control_persist in [ssh]"),
    ("controlmaster", "set control_persist in [ssh]"),
    ("identitiesonly", "it keeps the agent's keys from using up the tries"),
    ("pubkeyauthentication", "it is how the login works"),
    ("preferredauthentications", "it is how the login works"),
    ("canonicalizehostname", "put it into your own ssh config"),
];

pub(super) fn config(raw: Raw, complain: Complaint<'_>) -> Result<Config> {
    let written = if raw.source.is_empty() { vec![RawSource::default()] } else { raw.source };
    let mut sources: Vec<Source> = Vec::new();
    for (position, one) in written.into_iter().enumerate() {
        let complain = complain.in_table("source", position);
        let source = source(one.over(&raw.defaults), &complain)?;
        if sources.iter().any(|other| other.name == source.name) {
            let name = &source.name;
            return Err(complain.about("name", format!("two sources are named {name:?}; give one another name")));
        }
        sources.push(source);
    }
    let hosts = raw.host.into_iter().enumerate();
    let hosts =
        hosts.map(|(position, host)| rule(host, &complain.in_table("host", position))).collect::<Result<_>>()?;
    let duration = |key: &str, value: Option<String>, default: u64| match value {
        None => Ok(Duration::from_secs(default)),
        Some(value) => duration::seconds(&value)
            .map(Duration::from_secs)
            .ok_or_else(|| complain.about(key, format!("{key}: {value:?} is no time such as \"8s\" or \"15m\""))),
    };
    let refresh = match raw.sync.refresh.as_deref() {
        Some("off") => None,
        _ => Some(duration("refresh", raw.sync.refresh, 900)?),
    };
    let connect_timeout = duration("connect_timeout", raw.limits.connect_timeout, 8)?;
    if connect_timeout.is_zero() {
        return Err(complain.about("connect_timeout", "connect_timeout: it has to be 1s at least"));
    }
    let push_rate = raw.limits.push_rate.unwrap_or(20.0);
    if !(0.1..=1000.0).contains(&push_rate) {
        return Err(complain.about("push_rate", "push_rate: it has to be between 0.1 and 1000 a second"));
    }
    ssh(&raw.ssh, &complain)?;
    Ok(Config {
        sources,
        hosts,
        push: raw.ssh.push.unwrap_or(PushMode::Auto),
        known_hosts: raw.ssh.known_hosts.unwrap_or_default(),
        named: raw.ssh.hosts.unwrap_or_else(|| vec!["*".to_owned()]),
        layout: raw.ssh.layout.unwrap_or(Layout::Include),
        control_persist: raw.ssh.control_persist,
        options: raw.ssh.options.unwrap_or_default(),
        refresh,
        connect_timeout,
        push_rate,
        credential_cache: raw.limits.credential_cache.unwrap_or(true),
        push_log: raw.limits.push_log.unwrap_or(true),
        digest: String::new(),
    })
}

fn ssh(raw: &RawSsh, complain: &Complaint<'_>) -> Result<()> {
    if let Some(value) = &raw.control_persist
        && !matches!(value.as_str(), "yes" | "no")
        && duration::seconds(value).is_none()
    {
        return Err(complain.about("control_persist", format!("control_persist: {value:?} is no time such as \"10m\"")));
    }
    for path in raw.known_hosts.iter().flatten() {
        render::check_path(path)
            .map_err(|why| complain.about("known_hosts", format!("known_hosts: {path:?}: {why}")))?;
    }
    options(raw.options.as_ref(), complain)
}

/// Whether ssh takes the rest of it is for `ssh -G` to say, at sync.
fn options(options: Option<&BTreeMap<String, String>>, complain: &Complaint<'_>) -> Result<()> {
    for (keyword, value) in options.into_iter().flatten() {
        let lower = keyword.to_ascii_lowercase();
        if keyword.is_empty() || !keyword.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(complain.about("options", format!("options: {keyword:?} is no keyword of ssh_config")));
        }
        if let Some((_, instead)) = OURS.iter().find(|(ours, _)| *ours == lower) {
            return Err(complain
                .about("options", format!("options: {keyword} cannot be set here"))
                .hint(format!("{instead} ({keyword} is written by ssh-eic)")));
        }
        if value.trim().is_empty() || value.chars().any(char::is_control) {
            return Err(complain.about("options", format!("options: the value of {keyword} has to be one line")));
        }
    }
    Ok(())
}

fn rule(raw: RawHost, complain: &Complaint<'_>) -> Result<HostRule> {
    let patterns = raw.patterns.list();
    if patterns.iter().all(|pattern| pattern.trim().is_empty() || pattern.starts_with('!')) {
        return Err(complain.about("match", "match: it needs a pattern of aliases such as \"prod-db-*\""));
    }
    options(raw.options.as_ref(), complain)?;
    check_port(raw.port, complain)?;
    let user = raw.user.as_deref().map(|name| user(name, complain)).transpose()?;
    Ok(HostRule { patterns, user, port: raw.port, options: raw.options.unwrap_or_default() })
}

fn user(name: &str, complain: &Complaint<'_>) -> Result<OsUser> {
    OsUser::parse(name).ok_or_else(|| {
        complain.about("user", format!("user: {name:?} is not a user name that EC2 Instance Connect takes"))
    })
}

fn check_port(port: Option<u16>, complain: &Complaint<'_>) -> Result<()> {
    if port == Some(0) { Err(complain.about("port", "port: 0 is no port")) } else { Ok(()) }
}

fn source(raw: RawSource, complain: &Complaint<'_>) -> Result<Source> {
    let name = raw.own_name().unwrap_or_else(|| "default".to_owned());
    // Each of these becomes a word of a ProxyCommand.
    for (key, value) in [
        ("name", Some(&name)),
        ("profile", raw.profile.as_ref()),
        ("sso_session", raw.sso_session.as_ref()),
        ("role_arn", raw.role_arn.as_ref()),
        ("external_id", raw.external_id.as_ref()),
        ("role_session_name", raw.role_session_name.as_ref()),
    ] {
        let what = if key == "name" { "source name" } else { key };
        let checked = value.map_or(Ok(()), |value| render::check_word(value));
        checked.map_err(|why| complain.about(key, format!("{what} {:?}: {why}", value.map_or("", |v| v))))?;
    }
    let alias = raw.alias.as_deref().unwrap_or("{Name}");
    let alias = Template::parse(alias).map_err(|why| complain.about("alias", format!("alias {alias:?}: {why}")))?;
    let user = match raw.user.as_deref() {
        None | Some("auto") => None,
        Some(name) => Some(user(name, complain)?),
    };
    check_port(raw.port, complain)?;
    let key_type = raw.key_type.unwrap_or_default();
    if let Some(why) = key_type.refused() {
        return Err(complain.about("key_type", format!("key_type: {why}")).hint("write rsa, or leave it out"));
    }
    if let Some(account) = raw.account.as_deref().filter(|account| !is_account(account)) {
        return Err(complain.about("account", format!("account: {account:?} is not an account id of 12 digits")));
    }
    let states = raw.states.clone().unwrap_or_else(|| vec!["running".to_owned(), "stopped".to_owned()]);
    for state in &states {
        if !["pending", "running", "stopping", "stopped", "shutting-down"].contains(&state.as_str()) {
            return Err(complain
                .about("states", format!("states: {state:?} is not a state of an instance that can be reached")));
        }
    }
    if raw.role_arn.is_none() && (raw.external_id.is_some() || raw.role_session_name.is_some()) {
        return Err(complain.about("external_id", "external_id and role_session_name need a role_arn"));
    }
    Ok(Source {
        of: name.clone(),
        name,
        who: who(&raw, complain)?,
        account_name: String::new(),
        regions: regions(raw.regions, complain)?,
        role: raw.role_arn.map(|arn| Role { arn, external_id: raw.external_id, session_name: raw.role_session_name }),
        account: raw.account,
        tags: lists(raw.tags),
        exclude: lists(raw.exclude),
        states,
        alias,
        user,
        port: raw.port.unwrap_or(22),
        address: raw.address.unwrap_or(AddressKind::Private),
        duplicates: raw.duplicates.unwrap_or(Duplicates::List),
        key_type,
    })
}

fn who(raw: &RawSource, complain: &Complaint<'_>) -> Result<Who> {
    let Some(session) = &raw.sso_session else {
        for (key, given) in [
            ("accounts", raw.accounts.is_some()),
            ("exclude_accounts", raw.exclude_accounts.is_some()),
            ("role", raw.role.is_some()),
        ] {
            if given {
                return Err(complain.about(key, format!("{key} needs an sso_session")).hint(match key {
                    "role" => "to assume a role on top of a profile, set role_arn",
                    _ => "to refuse credentials of other accounts, set account",
                }));
            }
        }
        return Ok(match &raw.profile {
            None => Who::Ambient,
            Some(profile) if profile.contains(['*', '?']) => Who::Profiles(profile.clone()),
            Some(profile) => Who::Profile(profile.clone()),
        });
    };
    if raw.profile.is_some() {
        return Err(complain.about("sso_session", "profile and sso_session are two ways to sign in: name one of them"));
    }
    let roles = raw.role.clone().map(OneOrMany::list).unwrap_or_default();
    if roles.iter().all(|role| role.trim().is_empty()) {
        return Err(complain
            .about("sso_session", "sso_session needs a role: the name of a permission set")
            .hint("role = \"SshUser\", or a list of which the first one that you hold in an account counts"));
    }
    let only = raw.accounts.clone().unwrap_or_else(|| vec!["*".to_owned()]);
    let exclude = raw.exclude_accounts.clone().unwrap_or_default();
    Ok(Who::Accounts(Accounts { session: session.clone(), only, exclude, roles }))
}

fn regions(regions: Option<Vec<String>>, complain: &Complaint<'_>) -> Result<Regions> {
    let Some(regions) = regions.filter(|regions| !regions.is_empty()) else { return Ok(Regions::OfProfile) };
    if regions == ["all"] {
        return Ok(Regions::All);
    }
    for region in &regions {
        if region == "all" {
            return Err(complain.about("regions", "regions: \"all\" stands alone: [\"all\"]"));
        }
        if !is_region(region) {
            return Err(complain.about("regions", format!("regions: {region:?} is not a region such as \"eu-west-1\"")));
        }
    }
    Ok(Regions::Named(regions))
}

fn lists(tags: Option<BTreeMap<String, OneOrMany>>) -> BTreeMap<String, Vec<String>> {
    tags.unwrap_or_default().into_iter().map(|(key, value)| (key, value.list())).collect()
}
