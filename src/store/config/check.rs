//! From the config as it is typed to the one that the program works with.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::raw::{Raw, RawHost, RawSource, RawSsh, Value};
use super::table::{Located, Options};
use crate::domain::alias::Template;
use crate::domain::config::{Config, HostRule, Layout, PushMode};
use crate::domain::connection_options::{LONGEST_TUNNEL, parse_tunnel_duration};
use crate::domain::duration;
use crate::domain::identity::Role;
use crate::domain::ids::{OsUser, is_account, is_region};
use crate::domain::source::{Accounts, AddressKind, Duplicates, HostKeys, LISTED_STATES, Regions, Route, Source, Who};
use crate::domain::ssh_config::{options, render};
use crate::error::{Error, Result};

pub(super) fn config(raw: Raw) -> Result<Config> {
    let written = if raw.source.is_empty() { vec![RawSource::default()] } else { raw.source };
    let host_keys = raw.ssh.host_keys.as_ref().map(|mode| mode.value).unwrap_or_default();
    let mut sources: Vec<Source> = Vec::new();
    for one in written {
        let place = one.name.as_ref().or(one.profile.as_ref()).map(|name| name.place.clone()).or(one.place.clone());
        let source = source(one.over(&raw.defaults), host_keys)?;
        if sources.iter().any(|other| other.name == source.name)
            && let Some(place) = place
        {
            let name = &source.name;
            return Err(place
                .error(format!("two sources are named {name:?}"))
                .hint("set another name for one of them"));
        }
        sources.push(source);
    }
    let refresh = match raw.refresh {
        Some(refresh) if refresh.value == "off" => None,
        refresh => Some(time("refresh", refresh, 900).map_err(|error| Error {
            hints: vec!["write a number with a unit, or \"off\": refresh = \"15m\"".to_owned()],
            ..error
        })?),
    };
    let connect_timeout = raw.limits.connect_timeout;
    let place = connect_timeout.as_ref().map(|timeout| timeout.place.clone());
    let connect_timeout = time("connect_timeout", connect_timeout, 8)?;
    if let Some(place) = place.filter(|_| connect_timeout.is_zero()) {
        return Err(place.error("connect_timeout must be at least 1s: connect_timeout = \"8s\""));
    }
    ssh(&raw.ssh)?;
    Ok(Config {
        sources,
        hosts: raw.host.into_iter().map(rule).collect::<Result<_>>()?,
        push: raw.ssh.push.map_or(PushMode::Auto, |push| push.value),
        known_hosts: raw.ssh.known_hosts.map(|paths| paths.value).unwrap_or_default(),
        named: raw.ssh.hosts.map_or_else(|| vec!["*".to_owned()], |hosts| hosts.value),
        layout: raw.ssh.layout.map_or(Layout::Include, |layout| layout.value),
        control_persist: raw.ssh.control_persist.map(|time| time.value),
        options: plain(raw.ssh.options),
        refresh,
        connect_timeout,
        push_rate: raw.limits.push_rate.map_or(20.0, |rate| rate.value),
        credential_cache: raw.limits.credential_cache.is_none_or(|flag| flag.value),
        push_log: raw.limits.push_log.is_none_or(|flag| flag.value),
        digest: String::new(),
    })
}

fn time(key: &str, value: Value<String>, default_seconds: u64) -> Result<Duration> {
    let Some(Located { value, place }) = value else { return Ok(Duration::from_secs(default_seconds)) };
    let seconds = duration::seconds(&value);
    seconds.map(Duration::from_secs).ok_or_else(|| {
        place
            .error(format!("{key}: {value:?} is not a time"))
            .hint(format!("write a number with a unit: {key} = \"15m\""))
    })
}

fn plain(options: Value<Options>) -> BTreeMap<String, String> {
    let options = options.map(|options| options.value).unwrap_or_default();
    options.into_iter().map(|(keyword, value)| (keyword, value.value)).collect()
}

fn ssh(raw: &RawSsh) -> Result<()> {
    if let Some(Located { value, place }) = &raw.control_persist
        && !matches!(value.as_str(), "yes" | "no")
        && duration::seconds(value).is_none()
    {
        return Err(place.error(format!("control_persist: {value:?} is not a time")).hint("control_persist = \"10m\""));
    }
    for path in raw.known_hosts.iter().flat_map(|paths| &paths.value) {
        let place = raw.known_hosts.as_ref().map(|paths| &paths.place);
        let checked = render::check_path(path);
        let checked =
            if Path::new(path).is_absolute() { checked } else { Err("it is not an absolute path".to_owned()) };
        if let (Err(reason), Some(place)) = (checked, place) {
            return Err(place.error(format!("known_hosts: {path:?}: {reason}")));
        }
    }
    options(raw.options.as_ref())
}

/// Values are left to `ssh -G`, at sync; so are keywords that are neither known nor similar to a known one.
fn options(options: Option<&Located<Options>>) -> Result<()> {
    for (keyword, Located { value, place }) in options.into_iter().flat_map(|options| &options.value) {
        if keyword.is_empty() || !keyword.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(place.error(format!("options: {keyword:?} is not a keyword of ssh_config")));
        }
        if let Some(instead) = options::find(keyword).and_then(|option| option.refused) {
            return Err(place.error(format!("options: {keyword} cannot be set here")).hint(instead));
        }
        if let Some(near) = options::correction(keyword) {
            return Err(place.error(format!("unknown ssh option {keyword}; did you mean {near}?")));
        }
        if value.trim().is_empty() || value.chars().any(char::is_control) {
            return Err(place.error(format!("options: the value of {keyword} must be one line")));
        }
    }
    Ok(())
}

fn rule(raw: RawHost) -> Result<HostRule> {
    let Located { value: patterns, place } = raw.patterns;
    if patterns.iter().all(|pattern| pattern.trim().is_empty() || pattern.starts_with('!')) {
        return Err(place.error("match needs a pattern of aliases: match = \"prod-db-*\""));
    }
    options(raw.options.as_ref())?;
    Ok(HostRule {
        patterns,
        user: raw.user.as_ref().map(user).transpose()?,
        port: raw.port.map(|port| port.value),
        route: raw.route.as_ref().map(route).transpose()?,
        host_keys: raw.host_keys.map(|mode| mode.value),
        options: plain(raw.options),
    })
}

fn user(name: &Located<String>) -> Result<OsUser> {
    OsUser::parse(&name.value).ok_or_else(|| {
        name.place.error(format!("user: {:?} is not a user name that EC2 Instance Connect accepts", name.value))
    })
}

fn route(text: &Located<String>) -> Result<Route> {
    Route::parse(&text.value).map_err(|reason| text.place.error(format!("route: {reason}")))
}

fn source(raw: RawSource, default_host_keys: HostKeys) -> Result<Source> {
    let name = raw.own_name().unwrap_or_else(|| "default".to_owned());
    // Each of these becomes a word of a ProxyCommand.
    for (key, value) in [
        ("source name", &raw.name),
        ("profile", &raw.profile),
        ("sso_session", &raw.sso_session),
        ("role_arn", &raw.role_arn),
        ("external_id", &raw.external_id),
        ("role_session_name", &raw.role_session_name),
    ] {
        if let Some(Located { value, place }) = value {
            render::check_word(value).map_err(|reason| place.error(format!("{key} {value:?}: {reason}")))?;
        }
    }
    let alias = match &raw.alias {
        None => Template::default(),
        Some(Located { value, place }) => {
            Template::parse(value).map_err(|reason| place.error(format!("alias {value:?}: {reason}")))?
        }
    };
    let key_type = raw.key_type.as_ref().map(|key_type| key_type.value).unwrap_or_default();
    if let (Some(reason), Some(key_type)) = (key_type.refused(), &raw.key_type) {
        return Err(key_type.place.error(format!("key_type: {reason}")).hint("write rsa, or leave it out"));
    }
    if let Some(Located { value, place }) = raw.account.as_ref().filter(|account| !is_account(&account.value)) {
        return Err(place.error(format!("account: {value:?} is not an account id of 12 digits")));
    }
    if let Some(Located { value, place }) = &raw.role_arn
        && !is_role_arn(value)
    {
        return Err(place.error("role_arn must be an ARN: arn:aws:iam::111122223333:role/NAME"));
    }
    if let Some(Located { value, place }) = &raw.states
        && let Some(state) = value.iter().find(|state| !LISTED_STATES.contains(&state.as_str()))
    {
        return Err(
            place.error(format!("states: {state:?} is not an instance state; one of {}", LISTED_STATES.join(", ")))
        );
    }
    if let (None, Some(other)) = (&raw.role_arn, raw.external_id.as_ref().or(raw.role_session_name.as_ref())) {
        return Err(other.place.error("external_id and role_session_name need a role_arn"));
    }
    let max_tunnel_duration = match raw.max_tunnel_duration.clone() {
        None => LONGEST_TUNNEL,
        Some(Located { value, place }) => parse_tunnel_duration(&value).ok_or_else(|| {
            place.error("max_tunnel_duration must be between 1s and 1h: max_tunnel_duration = \"1h\"")
        })?,
    };
    Ok(Source {
        of: name.clone(),
        name,
        who: who(&raw)?,
        account_name: String::new(),
        regions: regions(raw.regions)?,
        role: raw.role_arn.map(|arn| Role {
            arn: arn.value,
            external_id: raw.external_id.map(|id| id.value),
            session_name: raw.role_session_name.map(|name| name.value),
        }),
        account: raw.account.map(|account| account.value),
        tags: raw.tags.map(|tags| tags.value).unwrap_or_default(),
        exclude: raw.exclude.map(|tags| tags.value).unwrap_or_default(),
        states: raw.states.map_or_else(|| vec!["running".to_owned(), "stopped".to_owned()], |states| states.value),
        alias,
        user: raw.user.as_ref().filter(|name| name.value != "auto").map(user).transpose()?,
        port: raw.port.map_or(22, |port| port.value),
        address: raw.address.map_or(AddressKind::Private, |address| address.value),
        route: raw.route.as_ref().map(route).transpose()?.unwrap_or(Route::Direct),
        max_tunnel_duration,
        host_keys: raw.host_keys.map_or(default_host_keys, |mode| mode.value),
        duplicates: raw.duplicates.map_or(Duplicates::List, |duplicates| duplicates.value),
        key_type,
    })
}

/// `arn:PARTITION:iam::ACCOUNT:role/PATH/NAME`.
fn is_role_arn(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    matches!(parts.as_slice(), ["arn", partition, "iam", "", account, name]
        if !partition.is_empty() && is_account(account) && name.starts_with("role/") && name.len() > 5)
}

fn who(raw: &RawSource) -> Result<Who> {
    let Some(session) = &raw.sso_session else {
        for (key, place) in [
            ("accounts", raw.accounts.as_ref().map(|value| &value.place)),
            ("exclude_accounts", raw.exclude_accounts.as_ref().map(|value| &value.place)),
            ("role", raw.role.as_ref().map(|value| &value.place)),
        ] {
            if let Some(place) = place {
                return Err(place.error(format!("{key} needs an sso_session")).hint(match key {
                    "role" => "to assume a role with the identity of a profile, set role_arn",
                    _ => "to reject credentials of other accounts, set account",
                }));
            }
        }
        return Ok(match raw.profile.as_ref().map(|profile| profile.value.clone()) {
            None => Who::Ambient,
            Some(profile) if profile.contains(['*', '?']) => Who::Profiles(profile),
            Some(profile) => Who::Profile(profile),
        });
    };
    if raw.profile.is_some() {
        return Err(session.place.error("profile and sso_session cannot be combined: set one of them"));
    }
    let roles = raw.role.as_ref().map(|role| role.value.clone()).unwrap_or_default();
    if roles.iter().all(|role| role.trim().is_empty()) {
        return Err(session
            .place
            .error("sso_session needs a role: the name of a permission set")
            .hint("role = \"SshUser\"; in a list, the first role that you hold in an account is used"));
    }
    Ok(Who::Accounts(Accounts {
        session: session.value.clone(),
        only: raw.accounts.as_ref().map_or_else(|| vec!["*".to_owned()], |accounts| accounts.value.clone()),
        exclude: raw.exclude_accounts.as_ref().map(|accounts| accounts.value.clone()).unwrap_or_default(),
        roles,
    }))
}

fn regions(regions: Value<Vec<String>>) -> Result<Regions> {
    let Some(Located { value: regions, place }) = regions.filter(|regions| !regions.value.is_empty()) else {
        return Ok(Regions::OfProfile);
    };
    if regions == ["all"] {
        return Ok(Regions::All);
    }
    for region in &regions {
        if region == "all" {
            return Err(place.error("regions: \"all\" cannot be combined with others: regions = [\"all\"]"));
        }
        if !is_region(region) {
            return Err(place.error(format!("regions: {region:?} is not a region name such as \"eu-west-1\"")));
        }
    }
    Ok(Regions::Named(regions))
}
