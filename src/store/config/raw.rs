//! The config as it is typed: every key of the contract, the defaults of `[defaults]`, and the refusal of what is
//! promised and not built yet.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::complaint::Complaint;
use super::{AddressKind, KeyType, PushMode};
use crate::error::Result;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    #[serde(default)]
    pub(super) defaults: RawSource,
    #[serde(default)]
    pub(super) source: Vec<RawSource>,
    pub(super) host: Option<toml::Value>,
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
    pub(super) duplicates: Option<String>,
    pub(super) key_type: Option<KeyType>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSsh {
    pub(super) push: Option<PushMode>,
    pub(super) host_keys: Option<String>,
    pub(super) known_hosts: Option<Vec<String>>,
    pub(super) hosts: Option<Vec<String>>,
    pub(super) layout: Option<String>,
    pub(super) control_persist: Option<String>,
    pub(super) options: Option<toml::Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSync {
    pub(super) refresh: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
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

/// What the contract promises and this version does not do yet is refused where a config asks for it.
pub(super) fn refuse_unbuilt(raw: &Raw, complain: &Complaint<'_>) -> Result<()> {
    let unbuilt = |key: &str, what: &str| {
        Err(complain.about(key, format!("{what} is not supported by this version")).hint("leave it out for now"))
    };
    if raw.host.is_some() {
        return Err(complain.about("[[host]]", "[[host]] is not supported by this version"));
    }
    if raw.ssh.options.is_some() {
        return unbuilt("options", "[ssh] options");
    }
    if raw.ssh.hosts.as_ref().is_some_and(|hosts| hosts.len() != 1 || hosts[0] != "*") {
        return unbuilt("hosts", "hosts other than [\"*\"]");
    }
    for (key, value, built) in [("host_keys", &raw.ssh.host_keys, "accept-new"), ("layout", &raw.ssh.layout, "include")]
    {
        match value.as_deref() {
            None => {}
            Some(value) if value == built => {}
            Some(value) => return unbuilt(key, &format!("{key} = {value:?}")),
        }
    }
    if raw.limits.credential_cache == Some(true) {
        return unbuilt("credential_cache", "the credential cache");
    }
    for source in raw.source.iter().chain([&raw.defaults]) {
        for (key, asked) in [
            ("sso_session", source.sso_session.is_some()),
            ("accounts", source.accounts.is_some()),
            ("exclude_accounts", source.exclude_accounts.is_some()),
            ("role", source.role.is_some()),
        ] {
            if asked {
                return unbuilt(key, key);
            }
        }
        if source.regions.as_ref().is_some_and(|regions| regions.iter().any(|region| region == "all")) {
            return unbuilt("regions", "regions = [\"all\"]");
        }
        if source.profile.as_ref().is_some_and(|profile| profile.contains(['*', '?'])) {
            return unbuilt("profile", "a pattern of profiles");
        }
        if source.user.as_deref() == Some("auto") {
            return unbuilt("user", "finding the user by the image (user = \"auto\")");
        }
        for (key, value, built) in [("route", &source.route, "direct"), ("duplicates", &source.duplicates, "list")] {
            if let Some(value) = value.as_deref()
                && value != built
            {
                return unbuilt(key, &format!("{key} = {value:?}"));
            }
        }
    }
    Ok(())
}
