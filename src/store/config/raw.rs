//! The config as it is typed: the keys of every table, the defaults of `[defaults]`, and a user's file merged with the
//! machine-wide one. Every value keeps the line that sets it.

use super::table::{Located, Options, Place, Table, Tags};
use crate::domain::config::{Layout, PushMode};
use crate::domain::source::{AddressKind, Duplicates, HostKeys, KeyType};
use crate::error::Result;

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    TextOrList,
    List,
    /// 1 to 65535.
    Port,
    /// Pushes a second, 0.1 to 1000.
    Rate,
    Flag,
    /// A number with a unit, in quotes.
    Time,
    Tags,
    Options,
    /// One of these.
    Word(&'static [&'static str]),
    /// A table of its own.
    Table,
}

/// A key, what it takes, and an example that the parser accepts.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) form: Form,
    pub(super) example: &'static str,
}

const fn key(name: &'static str, form: Form, example: &'static str) -> Key {
    Key { name, form, example }
}

const ADDRESSES: Form = Form::Word(&["private", "ipv6", "public"]);
const HOST_KEYS: Form = Form::Word(&["accept-new", "console", "require-console"]);

const SOURCE: &[Key] = &[
    key("name", Form::Text, "name = \"prod\""),
    key("profile", Form::Text, "profile = \"prod\""),
    key("sso_session", Form::Text, "sso_session = \"corp\""),
    key("accounts", Form::List, "accounts = [\"prod-*\"]"),
    key("exclude_accounts", Form::List, "exclude_accounts = [\"sandbox-*\"]"),
    key("role", Form::TextOrList, "role = [\"SshUser\", \"ReadOnly\"]"),
    key("role_arn", Form::Text, "role_arn = \"arn:aws:iam::111122223333:role/ssh\""),
    key("external_id", Form::Text, "external_id = \"7f3a\""),
    key("role_session_name", Form::Text, "role_session_name = \"jane\""),
    key("account", Form::Text, "account = \"111122223333\""),
    key("regions", Form::List, "regions = [\"eu-west-1\"]"),
    key("tags", Form::Tags, "tags = { Environment = \"prod\", Role = [\"web\", \"db\"] }"),
    key("exclude", Form::Tags, "exclude = { Name = \"*-fw\" }"),
    key("states", Form::List, "states = [\"running\", \"stopped\"]"),
    key("alias", Form::Text, "alias = \"{Environment}-{Name}\""),
    key("user", Form::Text, "user = \"ubuntu\""),
    key("port", Form::Port, "port = 2222"),
    key("address", ADDRESSES, "address = \"ipv6\""),
    key("route", Form::Text, "route = \"direct\""),
    key("max_tunnel_duration", Form::Time, "max_tunnel_duration = \"1h\""),
    key("duplicates", Form::Word(&["list", "newest"]), "duplicates = \"newest\""),
    key("key_type", Form::Word(&["ed25519", "rsa"]), "key_type = \"rsa\""),
    key("host_keys", HOST_KEYS, "host_keys = \"accept-new\""),
];

/// Every table with its keys; the first is the top level.
pub(super) const TABLES: &[(&str, &[Key])] = &[
    (
        "",
        &[
            key("defaults", Form::Table, "[defaults]"),
            key("source", Form::Table, "[[source]]"),
            key("host", Form::Table, "[[host]]"),
            key("ssh", Form::Table, "[ssh]"),
            key("sync", Form::Table, "[sync]"),
            key("limits", Form::Table, "[limits]"),
        ],
    ),
    ("source", SOURCE),
    (
        "host",
        &[
            key("match", Form::TextOrList, "match = \"prod-db-*\""),
            key("user", Form::Text, "user = \"deploy\""),
            key("port", Form::Port, "port = 2222"),
            key("route", Form::Text, "route = \"direct\""),
            key("host_keys", HOST_KEYS, "host_keys = \"accept-new\""),
            key("options", Form::Options, "options = { ForwardAgent = \"yes\" }"),
        ],
    ),
    (
        "ssh",
        &[
            key("push", Form::Word(&["hook", "proxy", "auto"]), "push = \"auto\""),
            key("host_keys", HOST_KEYS, "host_keys = \"accept-new\""),
            key("known_hosts", Form::List, "known_hosts = [\"/etc/ssh-eic/known_hosts\"]"),
            key("hosts", Form::List, "hosts = [\"prod-*\"]"),
            key("layout", Form::Word(&["include", "inline"]), "layout = \"include\""),
            key("control_persist", Form::Time, "control_persist = \"10m\""),
            key("options", Form::Options, "options = { ServerAliveInterval = \"30\" }"),
        ],
    ),
    ("sync", &[key("refresh", Form::Time, "refresh = \"15m\"")]),
    (
        "limits",
        &[
            key("connect_timeout", Form::Time, "connect_timeout = \"8s\""),
            key("push_rate", Form::Rate, "push_rate = 5"),
            key("credential_cache", Form::Flag, "credential_cache = false"),
            key("push_log", Form::Flag, "push_log = false"),
        ],
    ),
    ("defaults", SOURCE),
];

/// The keys of a table.
pub(super) fn keys(table: &str) -> &'static [Key] {
    TABLES.iter().find(|(name, _)| *name == table).map_or(&[], |(_, keys)| keys)
}

/// The header of a table as it is written; `None` for the top level and unknown tables.
pub(super) fn header(table: &str) -> Option<&'static str> {
    TABLES[0].1.iter().find(|key| key.name == table).map(|key| key.example)
}

/// A key that may be missing.
pub(super) type Value<T> = Option<Located<T>>;

#[derive(Debug, Default, Clone)]
pub(super) struct Raw {
    pub(super) defaults: RawSource,
    pub(super) source: Vec<RawSource>,
    pub(super) host: Vec<RawHost>,
    pub(super) ssh: RawSsh,
    pub(super) refresh: Value<String>,
    pub(super) limits: RawLimits,
}

/// Defines a table's struct: the keys in order, each with the reader of [`Table`], and the merge over another one.
macro_rules! table {
    ($name:ident { $($field:ident: $type:ty = $read:ident,)* }) => {
        #[derive(Debug, Default, Clone)]
        pub(super) struct $name {
            /// The line of the table's header.
            pub(super) place: Option<Place>,
            $(pub(super) $field: Value<$type>,)*
        }

        impl $name {
            fn read(table: &Table<'_, '_>) -> Result<Self> {
                table.check_keys()?;
                Ok(Self { place: Some(table.place()), $($field: table.$read(stringify!($field))?,)* })
            }

            /// Fills keys that are missing.
            pub(super) fn over(self, other: &Self) -> Self {
                let other = other.clone();
                Self { place: self.place.or(other.place), $($field: self.$field.or(other.$field),)* }
            }
        }
    };
}

table!(RawSource {
    name: String = text,
    profile: String = text,
    sso_session: String = text,
    accounts: Vec<String> = list,
    exclude_accounts: Vec<String> = list,
    role: Vec<String> = text_or_list,
    role_arn: String = text,
    external_id: String = text,
    role_session_name: String = text,
    account: String = text,
    regions: Vec<String> = list,
    tags: Tags = tags,
    exclude: Tags = tags,
    states: Vec<String> = list,
    alias: String = text,
    user: String = text,
    port: u16 = port,
    address: AddressKind = word,
    route: String = text,
    max_tunnel_duration: String = text,
    duplicates: Duplicates = word,
    key_type: KeyType = word,
    host_keys: HostKeys = word,
});

table!(RawSsh {
    push: PushMode = word,
    host_keys: HostKeys = word,
    known_hosts: Vec<String> = list,
    hosts: Vec<String> = list,
    layout: Layout = word,
    control_persist: String = text,
    options: Options = options,
});

table!(RawLimits {
    connect_timeout: String = text,
    push_rate: f64 = rate,
    credential_cache: bool = flag,
    push_log: bool = flag,
});

/// A `[[host]]` table.
#[derive(Debug, Clone)]
pub(super) struct RawHost {
    pub(super) patterns: Located<Vec<String>>,
    pub(super) user: Value<String>,
    pub(super) port: Value<u16>,
    pub(super) route: Value<String>,
    pub(super) host_keys: Value<HostKeys>,
    pub(super) options: Value<Options>,
}

impl RawHost {
    fn read(table: &Table<'_, '_>) -> Result<Self> {
        table.check_keys()?;
        let patterns = table.text_or_list("match")?.ok_or_else(|| {
            table.place().error("this [[host]] has no match").hint("add a pattern of aliases: match = \"prod-db-*\"")
        })?;
        Ok(Self {
            patterns,
            user: table.text("user")?,
            port: table.port("port")?,
            route: table.text("route")?,
            host_keys: table.word("host_keys")?,
            options: table.options("options")?,
        })
    }
}

impl RawSource {
    /// The name that it has without any defaults.
    pub(super) fn own_name(&self) -> Option<String> {
        [&self.name, &self.profile, &self.sso_session].into_iter().flatten().next().map(|name| name.value.clone())
    }
}

impl Raw {
    /// Reads a whole file.
    pub(super) fn read(top: &Table<'_, '_>) -> Result<Self> {
        top.check_keys()?;
        let defaults = top.table("defaults")?.as_ref().map(RawSource::read).transpose()?.unwrap_or_default();
        let sync = top.table("sync")?;
        if let Some(sync) = &sync {
            sync.check_keys()?;
        }
        Ok(Self {
            defaults,
            source: top.tables("source")?.iter().map(RawSource::read).collect::<Result<_>>()?,
            host: top.tables("host")?.iter().map(RawHost::read).collect::<Result<_>>()?,
            ssh: top.table("ssh")?.as_ref().map(RawSsh::read).transpose()?.unwrap_or_default(),
            refresh: sync.map(|sync| sync.text("refresh")).transpose()?.flatten(),
            limits: top.table("limits")?.as_ref().map(RawLimits::read).transpose()?.unwrap_or_default(),
        })
    }

    /// A user's file over the machine-wide one: key by key, except that the machine's sources and hosts come after the
    /// user's, and a source of the user replaces one with the same name.
    pub(super) fn over(self, machine: Self) -> Self {
        let own: Vec<Option<String>> = self.source.iter().map(RawSource::own_name).collect();
        let further = machine.source.into_iter().filter(|source| !own.contains(&source.own_name()));
        Self {
            defaults: self.defaults.over(&machine.defaults),
            source: self.source.iter().cloned().chain(further).collect(),
            host: self.host.into_iter().chain(machine.host).collect(),
            ssh: self.ssh.over(&machine.ssh),
            refresh: self.refresh.or(machine.refresh),
            limits: self.limits.over(&machine.limits),
        }
    }
}
