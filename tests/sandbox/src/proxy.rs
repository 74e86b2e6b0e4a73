//! HTTP proxies between the clients and AWS: how one behaves, and what it records.

use serde::{Deserialize, Serialize};

/// A proxy that implements CONNECT only, as corporate networks have. By default it speaks plain HTTP and accepts every
/// request without a password.
///
/// It connects AWS's own names, which do not resolve in a sandbox, to the fake AWS, and the names of EC2 Instance
/// Connect Endpoints to these, also while they do not resolve for clients.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Proxy {
    /// Clients speak TLS to the proxy; its certificate is signed by [`crate::Sandbox::ca`].
    pub tls: bool,
    /// User and password (Basic, RFC 7617); requests without them get 407.
    pub password: Option<(String, String)>,
    /// Refuses every CONNECT with this status.
    pub refuse: Option<u16>,
}

/// One request that a proxy received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyRequest {
    /// `CONNECT` from a correct client.
    pub method: String,
    /// `host:port`.
    pub target: String,
    /// The header `Proxy-Authorization`.
    pub authorization: Option<String>,
    /// Status of the response; 502 if the target refused the connection.
    pub status: u16,
}
