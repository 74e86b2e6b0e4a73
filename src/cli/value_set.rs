//! The sets of values that completions offer for options.

use clap::ValueEnum;

/// Values that completions offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ValueSet {
    /// Profiles of ~/.aws/config
    Profiles,
    /// SSO sessions of ~/.aws/config
    SsoSessions,
    /// AWS Regions
    Regions,
    /// Sources of config.toml, and those that they became at the last sync
    Sources,
    /// Accounts of the last sync
    Accounts,
}

impl ValueSet {
    /// The values of an option, by its name without hyphens in front.
    #[must_use]
    pub fn of_option(name: &str) -> Option<Self> {
        match name {
            "profile" => Some(Self::Profiles),
            "sso-session" => Some(Self::SsoSessions),
            "region" => Some(Self::Regions),
            "source" => Some(Self::Sources),
            "account" => Some(Self::Accounts),
            _ => None,
        }
    }

    /// As it is typed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Profiles => "profiles",
            Self::SsoSessions => "sso-sessions",
            Self::Regions => "regions",
            Self::Sources => "sources",
            Self::Accounts => "accounts",
        }
    }
}
