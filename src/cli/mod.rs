//! The command line, as clap types: the one definition that help, man page and completions are made from.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum, ValueHint};

use crate::domain::source::{AddressKind, HostKeys, KeyType, Route};

mod column;
mod hook;
mod usage;
mod value_set;
mod values;

pub use column::Column;
pub use hook::hook_arguments;
pub use usage::{explain, unknown_subcommand};
pub use value_set::ValueSet;
use values::{account, age, endpoint, key_and_value, key_type, network, route, state, tunnel_duration, word};

/// The version, and which cryptographic module the build uses if it is not the default one.
pub const VERSION: &str = if cfg!(feature = "fips") {
    concat!(env!("CARGO_PKG_VERSION"), " (fips: aws-lc)")
} else {
    env!("CARGO_PKG_VERSION")
};

/// Plain ssh to private EC2 instances through EC2 Instance Connect.
#[derive(Debug, Parser)]
#[command(name = "ssh-eic", version = VERSION, propagate_version = false, infer_subcommands = false, max_term_width = 100)]
#[command(after_help = "Start with: ssh-eic init --profile NAME --region REGION\nThen: ssh YOUR-INSTANCE")]
pub struct Cli {
    /// What all commands take.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// What all commands take.
#[derive(Debug, Args)]
pub struct Global {
    /// Use this config file instead of ~/.config/ssh-eic/config.toml
    #[arg(long, global = true, help_heading = "Global options", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Keep everything under this folder (`SSH_EIC_HOME`)
    #[arg(long, global = true, help_heading = "Global options", value_name = "DIR", hide = true)]
    pub home: Option<PathBuf>,
    /// Keep the state folder under this one (`XDG_STATE_HOME`)
    #[arg(long = "state-home", global = true, help_heading = "Global options", value_name = "DIR", hide = true)]
    pub state: Option<PathBuf>,
    /// Print more details; twice: also times
    #[arg(short, long, global = true, help_heading = "Global options", action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Print errors only
    #[arg(short, long, global = true, help_heading = "Global options", conflicts_with = "verbose")]
    pub quiet: bool,
}

/// One variant for each file in `command/`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a first config file, set up ~/.ssh/config, and sync
    Init(Init),
    /// Find instances and rewrite the ssh config for them
    Sync(Sync),
    /// Show the managed hosts
    List(List),
    /// Check config.toml, or show where it is
    Config(Config),
    /// Find out why a connection fails, and what to do about it
    Doctor(Doctor),
    /// Push a key to an instance by hand, for scripts
    Push(Push),
    /// Print the managed hosts as a dynamic inventory for Ansible
    Inventory(Inventory),
    /// Print the least-privilege IAM policy that the config needs
    Policy(Policy),
    /// Delete the temporary credentials and keys that are kept between connections
    Logout,
    /// Remove everything that ssh-eic wrote; ~/.ssh/config is as it was before
    Remove(Remove),
    /// Print man pages or shell completions
    Generate(Generate),
    /// Look after a host's key; the Match exec hook, which ssh calls before each connection
    #[command(hide = true)]
    Match(Match),
    /// Carry a connection; the ProxyCommand, which ssh calls to reach an instance
    #[command(hide = true)]
    Proxy(Box<Proxy>),
    /// Print the values that an option can have, one a line, without a request; for the shell completions
    #[command(hide = true)]
    Values(Values),
    /// Ask AWS for another process of ours; for ssh-eic itself
    #[command(hide = true)]
    Worker(Worker),
}

/// Arguments of `worker`; none: a request is on stdin.
#[derive(Debug, Default, Args)]
pub struct Worker {
    /// Run the credential helper whose command is on stdin
    #[arg(long, conflicts_with = "refresh_sso_token")]
    pub credential_helper: bool,
    /// Refresh the access token of this SSO session, needed since so many milliseconds after 1970
    #[arg(long, num_args = 2, value_names = ["SESSION", "SINCE"], allow_hyphen_values = true)]
    pub refresh_sso_token: Option<Vec<String>>,
}

/// Arguments of `values`.
#[derive(Debug, Args)]
pub struct Values {
    /// Of which kind
    #[arg(value_enum)]
    pub of: ValueSet,
}

/// Arguments of `init`.
#[derive(Debug, Clone, Default, Args)]
pub struct Init {
    /// AWS profile to find instances with
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// AWS region to look in; may be given several times
    #[arg(long = "region", value_name = "REGION")]
    pub regions: Vec<String>,
    /// Only instances with this tag; may be given several times
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub tags: Vec<(String, String)>,
    /// IAM Identity Center session of ~/.aws/config: all accounts in which you hold the role
    #[arg(long, value_name = "NAME", conflicts_with = "profile", requires = "roles")]
    pub sso_session: Option<String>,
    /// Role (permission set) for --sso-session; may be given several times, the first one held counts
    #[arg(long = "role", value_name = "ROLE", requires = "sso_session")]
    pub roles: Vec<String>,
}

/// Arguments of `sync`.
#[derive(Debug, Args)]
pub struct Sync {
    /// Query only this source; may be given several times
    #[arg(long = "source", value_name = "NAME")]
    pub sources: Vec<String>,
    /// Do nothing if the last complete sync is younger, such as 10m
    #[arg(long, value_name = "AGE", value_parser = age)]
    pub if_older_than: Option<u64>,
    /// Show which hosts would change (=text: the files as a unified diff), write nothing; exit 1 if there is a difference
    #[arg(long, value_name = "FORMAT", value_enum, num_args = 0..=1, default_missing_value = "hosts")]
    #[arg(hide_possible_values = true, conflicts_with_all = ["if_older_than", "output"])]
    pub diff: Option<DiffFormat>,
    /// Write one self-contained file for `ssh -F`, paramiko or asyncssh, and change no other file; - is stdout
    #[arg(long, value_name = "FILE", conflicts_with = "if_older_than")]
    pub output: Option<PathBuf>,
    /// Allow names to move to instances of other accounts, and to earlier sources
    #[arg(long)]
    pub accept_moves: bool,
    /// Wait a moment, in the background; for ssh-eic itself
    #[arg(long, hide = true)]
    pub detached: bool,
}

/// What `sync --diff` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DiffFormat {
    /// Added, removed, renamed and changed hosts
    Hosts,
    /// The files as a unified diff
    Text,
}

/// Arguments of `config`.
#[derive(Debug, Args)]
pub struct Config {
    /// What to do
    #[command(subcommand)]
    pub action: ConfigAction,
}

/// What `config` can do.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum ConfigAction {
    /// Check config.toml without querying AWS: keys, values, ssh options, AWS profiles, names of regions
    Check,
    /// Print the config files in the order in which they are read, and whether they exist
    Path,
}

/// Arguments of `list`.
#[derive(Debug, Args)]
pub struct List {
    /// Part of a name, id, address, DNS name or tag value; with * or ?, a pattern for one of the first four; an exact one
    /// shows one host in full
    #[arg(value_hint = ValueHint::Hostname)]
    pub pattern: Option<String>,
    /// Only hosts in this state, such as running; may be given several times
    #[arg(long = "state", value_name = "STATE", value_parser = state)]
    pub states: Vec<String>,
    /// Only hosts with this tag; * and ? are wildcards in the value; may be given several times
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub tags: Vec<(String, String)>,
    /// Only hosts of this source; may be given several times
    #[arg(long = "source", value_name = "NAME")]
    pub sources: Vec<String>,
    /// Columns of the table, separated by commas, such as host,state,tag:Team
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = Column::parse, conflicts_with_all = ["json", "names"])]
    pub columns: Vec<Column>,
    /// Query AWS instead of the index; nothing is written
    #[arg(long)]
    pub live: bool,
    /// Print JSON
    #[arg(long, conflicts_with = "names")]
    pub json: bool,
    /// Print names only, one a line
    #[arg(long)]
    pub names: bool,
}

/// Arguments of `push`.
#[derive(Debug, Args)]
pub struct Push {
    /// An alias, instance id, private address or private DNS name
    #[arg(value_hint = ValueHint::Hostname)]
    pub host: String,
    /// The user on the instance [default: the host's]
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Your own public key, Ed25519 or RSA, instead of the one that connections use; - is stdin
    #[arg(long, value_name = "FILE")]
    pub public_key: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// The host that cannot be reached: a name, id, private address or private DNS name; left out: this machine only
    #[arg(value_hint = ValueHint::Hostname)]
    pub host: Option<String>,
    /// Also whether the credentials will last that long, such as 2h
    #[arg(long, value_name = "TIME", value_parser = age)]
    pub valid_for: Option<u64>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `inventory`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("asked").required(true).args(["list", "host"]))]
pub struct Inventory {
    /// Print all groups, and the variables of all hosts
    #[arg(long)]
    pub list: bool,
    /// Print the variables of one host: its name, a further name or its id
    #[arg(long, value_name = "HOST", value_hint = ValueHint::Hostname)]
    pub host: Option<String>,
    /// Also the hosts that are not running
    #[arg(long, conflicts_with = "host")]
    pub all_states: bool,
    /// Give each host all that ssh needs, for containers without our ssh config
    #[arg(long)]
    pub self_contained: bool,
}

/// Arguments of `remove`.
#[derive(Debug, Args)]
pub struct Remove {
    /// Also remove the config file and the push log
    #[arg(long)]
    pub all: bool,
}

/// Arguments of `match`.
#[derive(Debug, Args)]
pub struct Match {
    /// The host name as typed (%n)
    pub alias: String,
    /// The remote user (%r)
    pub user: Option<String>,
    /// Make a key of this type now and leave the push to the proxy, for a client that reads keys before it starts one
    #[arg(long, value_name = "TYPE", hide = true, value_parser = word::<KeyType>)]
    pub make_key: Option<KeyType>,
}

/// Arguments of `policy`.
#[derive(Debug, Args)]
pub struct Policy {
    /// Only what this account needs; may be given several times
    #[arg(long = "account", value_name = "ID", value_parser = account)]
    pub accounts: Vec<String>,
    /// Only from this network; may be given several times
    #[arg(long, value_name = "CIDR", value_parser = network)]
    pub source_ip: Vec<String>,
    /// Only through this interface endpoint; may be given several times
    #[arg(long, value_name = "ID", value_parser = endpoint)]
    pub source_vpce: Vec<String>,
}

/// Arguments of `generate`.
#[derive(Debug, Args)]
pub struct Generate {
    /// What to print
    #[command(subcommand)]
    pub what: Generated,
}

/// What can be generated.
#[derive(Debug, Subcommand)]
pub enum Generated {
    /// A man page
    Man {
        /// Which one
        #[arg(value_enum, default_value = "ssh-eic")]
        page: Page,
    },
    /// Completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// The shells that completions are written for.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Shell {
    /// bash, with the package bash-completion
    Bash,
    /// zsh
    Zsh,
    /// fish
    Fish,
}

/// The man pages.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Page {
    /// ssh-eic(1)
    #[value(name = "ssh-eic")]
    Program,
    /// ssh-eic-config(5)
    #[value(name = "ssh-eic-config")]
    Config,
}

/// Arguments of `proxy`.
#[derive(Debug, Args)]
pub struct Proxy {
    /// The instance id (%k)
    pub instance: String,
    /// The address to connect to (%h)
    pub host: String,
    /// The port (%p)
    pub port: u16,
    /// The remote user (%r)
    pub user: Option<String>,
    /// The instance's region
    #[arg(long, value_name = "REGION")]
    pub region: Option<String>,
    /// The source in config.toml whose credentials to use
    #[arg(long, value_name = "NAME", conflicts_with_all = ["profile", "role_arn", "sso_session"])]
    pub source: Option<String>,
    /// The AWS profile whose credentials to use
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// A role to assume
    #[arg(long, value_name = "ARN")]
    pub role_arn: Option<String>,
    /// What the role's trust policy asks for
    #[arg(long, value_name = "ID", requires = "role_arn")]
    pub external_id: Option<String>,
    /// The name of the role's session
    #[arg(long, value_name = "NAME", requires = "role_arn")]
    pub role_session_name: Option<String>,
    /// The IAM Identity Center session whose role to use
    #[arg(long, value_name = "NAME", requires_all = ["sso_account", "sso_role"], conflicts_with = "profile")]
    pub sso_session: Option<String>,
    /// The account of that role
    #[arg(long, value_name = "ID", requires = "sso_session")]
    pub sso_account: Option<String>,
    /// That role
    #[arg(long, value_name = "ROLE", requires = "sso_session")]
    pub sso_role: Option<String>,
    /// Whose name INSTANCE is, if it is the name of several
    #[arg(long, value_name = "NAMES", hide = true)]
    pub shared_by: Option<String>,
    /// Whose name INSTANCE was, and who wants it
    #[arg(long, value_name = "IDS", hide = true)]
    pub waits_for: Option<String>,
    /// The remote user, unless USER or the command line of the calling ssh names one, or the index another
    #[arg(long, value_name = "USER", hide = true)]
    pub default_user: Option<String>,
    /// Refuse: the user name is not one that may stand in a command
    #[arg(long, hide = true)]
    pub refused_user: bool,
    /// Write nothing on stderr unless it is ssh that called: asyncssh takes it for the server's words
    #[arg(long, hide = true)]
    pub in_band: bool,
    /// Refuse credentials of any other account
    #[arg(long, value_name = "ID", conflicts_with = "source")]
    pub account: Option<String>,
    /// Which of the instance's addresses HOST is: private, ipv6 or public
    #[arg(long, value_name = "KIND", conflicts_with = "source", value_parser = word::<AddressKind>)]
    pub address: Option<AddressKind>,
    /// How to reach the instance: direct, endpoint, ssm, auto or jump:HOST [default: direct]
    #[arg(long, value_name = "ROUTE", value_parser = route)]
    pub route: Option<Route>,
    /// How long an endpoint may keep the tunnel, such as 30m [default: 1h]
    #[arg(long, value_name = "TIME", value_parser = tunnel_duration)]
    pub max_tunnel_duration: Option<u16>,
    /// Which host keys to trust: accept-new, console or require-console [default: accept-new]
    #[arg(long, value_name = "MODE", value_parser = word::<HostKeys>)]
    pub host_keys: Option<HostKeys>,
    /// The type of the key: ed25519 or rsa
    #[arg(long, value_name = "TYPE", conflicts_with = "source", value_parser = key_type)]
    pub key_type: Option<KeyType>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        super::Cli::command().debug_assert();
    }
}
