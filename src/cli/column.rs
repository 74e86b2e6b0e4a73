//! The columns of `list`.

use std::fmt;

use crate::domain::suggestion::nearest;

/// A column of the table of hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Column {
    /// The alias.
    Host,
    /// The instance id.
    Instance,
    /// The address, with the port unless it is 22.
    Address,
    /// The OS user.
    User,
    /// The state of the instance.
    State,
    /// How the instance is reached.
    Route,
    /// The source in config.toml.
    Source,
    /// The account id.
    Account,
    /// The region.
    Region,
    /// The availability zone.
    Az,
    /// The VPC id.
    Vpc,
    /// The image id.
    Image,
    /// The private DNS name.
    Dns,
    /// When the instance was launched.
    Launched,
    /// How the host key came to be trusted.
    HostKey,
    /// The value of a tag.
    Tag(String),
}

impl Column {
    /// The columns without `--columns`.
    pub const DEFAULT: [Self; 7] =
        [Self::Host, Self::Instance, Self::Address, Self::User, Self::State, Self::Source, Self::Region];

    /// The columns other than tags, with their names.
    const NAMED: [(&str, Self); 15] = [
        ("host", Self::Host),
        ("instance", Self::Instance),
        ("address", Self::Address),
        ("user", Self::User),
        ("state", Self::State),
        ("route", Self::Route),
        ("source", Self::Source),
        ("account", Self::Account),
        ("region", Self::Region),
        ("az", Self::Az),
        ("vpc", Self::Vpc),
        ("image", Self::Image),
        ("dns", Self::Dns),
        ("launched", Self::Launched),
        ("host-key", Self::HostKey),
    ];

    /// Parses a column name or `tag:KEY`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Some(key) = text.strip_prefix("tag:").filter(|key| !key.is_empty()) {
            return Ok(Self::Tag(key.to_owned()));
        }
        let found = Self::NAMED.into_iter().find(|(name, _)| *name == text);
        found.map(|(_, column)| column).ok_or_else(|| {
            if let Some(near) = nearest(text, Self::NAMED.iter().map(|(name, _)| *name)) {
                return format!("did you mean {near}?");
            }
            let names: Vec<&str> = Self::NAMED.iter().map(|(name, _)| *name).collect();
            format!("write one or more of {}, tag:KEY", names.join(", "))
        })
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Tag(key) = self {
            return write!(f, "tag:{key}");
        }
        f.write_str(Self::NAMED.iter().find(|(_, column)| column == self).map_or("", |(name, _)| name))
    }
}
