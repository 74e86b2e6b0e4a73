//! What the library and the server say to each other: one JSON object a line over a Unix socket, which, unlike TCP,
//! works across network namespaces.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::identity::{Credential, SignIn};
use crate::model::{Change, Image, Instance};
use crate::proxy::{Proxy, ProxyRequest};
use crate::ssm::{SsmSession, SsmSwitches};
use crate::tunnel::{Tunnel, TunnelSwitches};
use crate::vpc::{Endpoint, SecurityGroup};

/// The control socket's name inside the sandbox's folder.
pub(crate) const SOCKET: &str = "control.sock";

/// One API call as the server saw it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Arrival, in Unix milliseconds.
    pub time_ms: i64,
    /// `ec2`, `ec2-instance-connect`, `sts`, `sso` or `sso-oidc`.
    pub service: String,
    /// Such as `DescribeInstances`.
    pub action: String,
    /// The region that the request was signed for.
    pub region: String,
    /// The caller's account; empty if the key is unknown.
    pub account: String,
    /// The access key; empty in unsigned requests.
    pub access_key_id: String,
    /// The form fields, or the JSON body.
    pub params: Value,
    /// HTTP status; 0: the connection was dropped.
    pub status: u16,
    /// The error's code, if it failed.
    pub error: Option<String>,
    /// The request id in the answer.
    pub request_id: String,
}

/// An answer forced by [`Switches::fail`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fail {
    /// HTTP status.
    #[serde(default)]
    pub status: u16,
    /// The error's code; `drop` closes the connection without an answer.
    pub code: String,
    /// The error's text; empty: one is made up.
    #[serde(default)]
    pub message: String,
    /// How often; `None`: until switched off.
    #[serde(default)]
    pub times: Option<u32>,
}

impl Fail {
    /// A failure of every call.
    #[must_use]
    pub fn new(status: u16, code: &str) -> Self {
        Self { status, code: code.to_owned(), message: String::new(), times: None }
    }
}

/// A limit set by [`Switches::throttle`]: the next `times` calls are refused, whenever they come. The token bucket depends
/// on the clock: it is for benchmarks and demonstrations, and a test that passes on a busy machine cannot use it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Throttle {
    /// Calls a second that succeed.
    pub rate_per_s: f64,
    /// Calls that succeed at once before the rate counts.
    pub burst: f64,
    /// How many calls are refused, independent of the rate.
    pub times: u32,
}

/// What can be made to go wrong. Every map's key, and every word of a list of actions, is `ACTION` or `ACTION@SCOPE`:
/// the action may be `*`; the scope is an account, a region, an access key, a role's ARN, an instance's id or an OS user.
///
/// Merging a new set into the old one: maps gain and replace entries, the rest is replaced where it is given.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switches {
    /// Milliseconds before the answer.
    pub latency_ms: BTreeMap<String, u64>,
    /// Actions whose calls are not answered until they are taken off this list.
    pub hold: Option<Vec<String>>,
    /// Actions that IAM denies.
    pub deny: Option<Vec<String>>,
    /// Regions that an organization's policy denies.
    pub denied_regions: Option<Vec<String>>,
    /// How Systems Manager sessions behave; a connection keeps what it was opened with.
    pub ssm: Option<SsmSwitches>,
    /// Regions that `DescribeRegions` lists as enabled.
    pub regions: Option<Vec<String>>,
    /// Forced failures.
    pub fail: BTreeMap<String, Fail>,
    /// Throttling.
    pub throttle: BTreeMap<String, Throttle>,
    /// Seconds that a pushed key is accepted; 60 by default.
    pub key_ttl_s: Option<f64>,
    /// Seconds by which the server's clock is ahead of the real one.
    pub clock_skew_s: Option<i64>,
    /// Access keys and SSO tokens that count as expired.
    pub expired: Option<Vec<String>>,
    /// The external id that a role requires, by role ARN.
    pub external_ids: BTreeMap<String, String>,
    /// `CreateToken` accepts a refresh token once and returns another one.
    pub rotate_refresh_tokens: Option<bool>,
    /// Seconds that an access token of `CreateToken` is valid; 8 hours by default.
    pub sso_token_s: Option<i64>,
    /// Actions whose every page has the same continuation token.
    pub repeat_next_token: Option<Vec<String>>,
    /// Actions whose response body does not end.
    pub endless_body: Option<Vec<String>>,
    /// How tunnels through endpoints behave; those that are open keep what they were opened with.
    pub tunnels: Option<TunnelSwitches>,
    /// Endpoints per page of `DescribeInstanceConnectEndpoints`, if the request asks for no fewer.
    pub endpoint_page: Option<usize>,
    /// Milliseconds that the `AuthorizedKeysCommand` of every sshd takes, for connections from now on. Without it the keys
    /// are in a file. [`crate::Sandbox::key_lookups`] counts its runs.
    pub key_command_ms: Option<u64>,
}

impl Switches {
    pub(crate) fn merge(&mut self, mut new: Self) {
        self.ssm = new.ssm.take().or(self.ssm.take());
        self.latency_ms.extend(new.latency_ms);
        self.fail.extend(new.fail);
        self.throttle.extend(new.throttle);
        self.external_ids.extend(new.external_ids);
        let Self { deny, denied_regions, regions, key_ttl_s, clock_skew_s, expired, tunnels, endpoint_page, .. } = new;
        self.hold = new.hold.or(self.hold.take());
        self.deny = deny.or(self.deny.take());
        self.denied_regions = denied_regions.or(self.denied_regions.take());
        self.regions = regions.or(self.regions.take());
        self.key_ttl_s = key_ttl_s.or(self.key_ttl_s);
        self.clock_skew_s = clock_skew_s.or(self.clock_skew_s);
        self.expired = expired.or(self.expired.take());
        self.rotate_refresh_tokens = new.rotate_refresh_tokens.or(self.rotate_refresh_tokens);
        self.sso_token_s = new.sso_token_s.or(self.sso_token_s);
        self.repeat_next_token = new.repeat_next_token.or(self.repeat_next_token.take());
        self.endless_body = new.endless_body.or(self.endless_body.take());
        self.tunnels = tunnels.or(self.tunnels.take());
        self.endpoint_page = endpoint_page.or(self.endpoint_page);
        self.key_command_ms = new.key_command_ms.or(self.key_command_ms);
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    Add(Vec<Instance>),
    Update { id: String, change: Box<Change> },
    Remove(String),
    Instances,
    Switches(Box<Switches>),
    ResetSwitches,
    Calls,
    SsmSessions,
    ClearCalls,
    Keys { id: String, user: String },
    ExpireKeys,
    Accept { id: String, user: String, key: String, seconds: f64 },
    AddCredential(Credential),
    AddImage(Image),
    AddSecurityGroup(SecurityGroup),
    AddEndpoint(Endpoint),
    SignIn(SignIn),
    Tunnels,
    AdvanceTunnels(u64),
    PingTunnels,
    AddProxy(Proxy),
    UpdateProxy { port: u16, proxy: Proxy },
    ProxyRequests(u16),
    ClearProxyRequests(u16),
    HostCa,
    Warm,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Response {
    Done,
    Ids(Vec<String>),
    Instances(Vec<Instance>),
    Calls(Vec<Call>),
    SsmSessions(Vec<SsmSession>),
    Keys(Vec<String>),
    Tunnels(Vec<Tunnel>),
    Address(SocketAddr),
    ProxyRequests(Vec<ProxyRequest>),
    Text(String),
    Error(String),
}

/// Sends one request to the sandbox in `dir` and waits for its answer.
pub(crate) fn ask(dir: &Path, request: &Request) -> io::Result<Response> {
    let mut stream = UnixStream::connect(dir.join(SOCKET))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    match serde_json::from_str(&answer)? {
        Response::Error(message) => Err(io::Error::other(message)),
        response => Ok(response),
    }
}
