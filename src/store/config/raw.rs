//! The config as it is typed: every key of the contract, the defaults of `[defaults]`, a user's file over a machine's,
//! and the refusal of what is promised and not built yet.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::complaint::Complaint;
use crate::domain::config::{Layout, PushMode};
use crate::domain::source::{AddressKind, Duplicates, KeyType};
use crate::error::Result;

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    #[serde(default)]
    pub(super) defaults: RawSource,
    #[serde(default)]
    pub(super) source: Vec<RawSource>,
    #[serde(default)]
    pub(super) host: Vec<RawHost>,
    #[serde(default)]
    pub(super) ssh: RawSsh,
    #[serde(default)]
    pub(super) sync: RawSync,
    #[serde(default)]
    pub(super) limits: RawLimits,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSource {
    pub(super) name: Option<String>,
    pub(super) profile: Option<String>,
    pub(super) sso_session: Option<String>,
    pub(super) accounts: Option<Vec<String>>,
    pub(super) exclude_accounts: Option<Vec<String>>,
    pub(super) role: Option<OneOrMany>,
    pub(super) role_arn: Option<String>,
    pub(super) external_id: Option<String>,
    pub(super) role_session_name: Option<String>,
    pub(super) account: Option<String>,
    pub(super) regions: Option<Vec<String>>,
    pub(super) tags: Option<BTreeMap<String, OneOrMany>>,
    pub(super) exclude: Option<BTreeMap<String, OneOrMany>>,
    pub(super) states: Option<Vec<String>>,
    pub(super) alias: Option<String>,
    pub(super) user: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) address: Option<AddressKind>,
    pub(super) route: Option<String>,
    pub(super) duplicates: Option<Duplicates>,
    pub(super) key_type: Option<KeyType>,
}

/// What a person would have put in a Host block.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHost {
    #[serde(rename = "match")]
    pub(super) patterns: OneOrMany,
    pub(super) user: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) route: Option<String>,
    pub(super) host_keys: Option<String>,
    pub(super) options: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub(super) fn list(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSsh {
    pub(super) push: Option<PushMode>,
    pub(super) host_keys: Option<String>,
    pub(super) known_hosts: Option<Vec<String>>,
    pub(super) hosts: Option<Vec<String>>,
    pub(super) layout: Option<Layout>,
    pub(super) control_persist: Option<String>,
    pub(super) options: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSync {
    pub(super) refresh: Option<String>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimits {
    pub(super) connect_timeout: Option<String>,
    pub(super) push_rate: Option<f64>,
    pub(super) credential_cache: Option<bool>,
    pub(super) push_log: Option<bool>,
}

impl RawSource {
    /// Fills what is not written from `[defaults]`.
    pub(super) fn over(self, defaults: &Self) -> Self {
        let defaults = defaults.clone();
        Self {
            name: self.name.or(defaults.name),
            profile: self.profile.or(defaults.profile),
            sso_session: self.sso_session.or(defaults.sso_session),
            accounts: self.accounts.or(defaults.accounts),
            exclude_accounts: self.exclude_accounts.or(defaults.exclude_accounts),
            role: self.role.or(defaults.role),
            role_arn: self.role_arn.or(defaults.role_arn),
            external_id: self.external_id.or(defaults.external_id),
            role_session_name: self.role_session_name.or(defaults.role_session_name),
            account: self.account.or(defaults.account),
            regions: self.regions.or(defaults.regions),
            tags: self.tags.or(defaults.tags),
            exclude: self.exclude.or(defaults.exclude),
            states: self.states.or(defaults.states),
            alias: self.alias.or(defaults.alias),
            user: self.user.or(defaults.user),
            port: self.port.or(defaults.port),
            address: self.address.or(defaults.address),
            route: self.route.or(defaults.route),
            duplicates: self.duplicates.or(defaults.duplicates),
            key_type: self.key_type.or(defaults.key_type),
        }
    }
}

impl Raw {
    /// A user's file over a machine's: key by key, except that sources and hosts of the machine come behind the user's,
    /// and a source of the user's replaces one of the same name.
    pub(super) fn over(self, machine: Self) -> Self {
        let name = |source: &RawSource| source.own_name();
        let own: Vec<Option<String>> = self.source.iter().map(name).collect();
        let further = machine.source.into_iter().filter(|source| !own.contains(&source.own_name()));
        Self {
            defaults: self.defaults.over(&machine.defaults),
            source: self.source.iter().cloned().chain(further).collect(),
            host: self.host.into_iter().chain(machine.host).collect(),
            ssh: RawSsh {
                push: self.ssh.push.or(machine.ssh.push),
                host_keys: self.ssh.host_keys.or(machine.ssh.host_keys),
                known_hosts: self.ssh.known_hosts.or(machine.ssh.known_hosts),
                hosts: self.ssh.hosts.or(machine.ssh.hosts),
                layout: self.ssh.layout.or(machine.ssh.layout),
                control_persist: self.ssh.control_persist.or(machine.ssh.control_persist),
                options: self.ssh.options.or(machine.ssh.options),
            },
            sync: RawSync { refresh: self.sync.refresh.or(machine.sync.refresh) },
            limits: RawLimits {
                connect_timeout: self.limits.connect_timeout.or(machine.limits.connect_timeout),
                push_rate: self.limits.push_rate.or(machine.limits.push_rate),
                credential_cache: self.limits.credential_cache.or(machine.limits.credential_cache),
                push_log: self.limits.push_log.or(machine.limits.push_log),
            },
        }
    }
}

impl RawSource {
    /// The name that it has without any defaults.
    pub(super) fn own_name(&self) -> Option<String> {
        self.name.clone().or_else(|| self.profile.clone()).or_else(|| self.sso_session.clone())
    }
}

/// What the contract promises and this version does not do yet is refused where a config asks for it.
pub(super) fn refuse_unbuilt(raw: &Raw, complain: &Complaint<'_>) -> Result<()> {
    let check = |complain: &Complaint<'_>, key: &str, value: Option<&String>, built: &str| match value {
        Some(value) if value != built => Err(complain
            .about(key, format!("{key} = {value:?} is not supported by this version"))
            .hint("leave it out for now")),
        _ => Ok(()),
    };
    check(complain, "host_keys", raw.ssh.host_keys.as_ref(), "accept-new")?;
    for (position, host) in raw.host.iter().enumerate() {
        let complain = complain.in_table("host", position);
        check(&complain, "host_keys", host.host_keys.as_ref(), "accept-new")?;
        check(&complain, "route", host.route.as_ref(), "direct")?;
    }
    for (position, source) in raw.source.iter().enumerate() {
        check(&complain.in_table("source", position), "route", source.route.as_ref(), "direct")?;
    }
    check(complain, "route", raw.defaults.route.as_ref(), "direct")
}
