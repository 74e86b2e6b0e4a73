//! Why a stream is closed, as values.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use rustix::io::Errno;

use crate::domain::upgrade::Refusal;
use crate::domain::websocket::Violation;
use crate::error::{Error, reason};

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The TCP connection.
    Connect,
    /// CONNECT at the proxy.
    Proxy,
    /// The TLS handshake.
    Tls,
    /// The websocket upgrade.
    Upgrade,
    /// Open.
    Open,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connecting",
            Self::Proxy => "the proxy's response",
            Self::Tls => "the TLS handshake",
            Self::Upgrade => "the websocket upgrade",
            Self::Open => "the connection",
        })
    }
}

/// Why a stream is closed. Its `Display` is for people only.
#[derive(Debug, Clone, PartialEq)]
pub enum Closed {
    /// The remote ended its stream in order (TCP end of stream, or the answer to our close frame).
    Ended,
    /// No address to connect to.
    NoAddress,
    /// No TCP connection; the last address that was tried.
    Connect {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: Errno,
    },
    /// An established connection failed.
    Broken {
        /// How far it had come.
        stage: Stage,
        /// Why.
        error: Errno,
    },
    /// A timeout of this stage.
    TimedOut(Stage),
    /// The proxy refused CONNECT.
    Proxy {
        /// Its host and port, without user or password.
        name: String,
        /// The HTTP status: 407 if it requires a password, 403 if it does not allow the destination.
        status: u16,
    },
    /// What was received at this stage is not HTTP.
    NotHttp(Stage),
    /// TLS failed: a certificate that is not trusted, an alert.
    Tls(rustls::Error),
    /// The host is not a name that TLS can verify, or a header cannot be sent.
    BadRequest,
    /// The server did not open the websocket.
    Refused(Box<Refusal>),
    /// The server broke the websocket protocol.
    Protocol(Violation),
    /// A close frame.
    ByPeer {
        /// Its code, if any.
        code: Option<u16>,
        /// Its reason; empty if there is none.
        reason: String,
    },
    /// The connection ended without a close frame, or in the middle of a stage.
    Cut(Stage),
    /// No frame arrived within the keep-alive timeout.
    NoPong,
    /// The child process ended.
    Exited {
        /// Its exit code; none if it was killed by a signal.
        code: Option<i32>,
        /// The last line that it wrote to stderr.
        last_line: Option<String>,
    },
    /// The route reports its own error.
    Failed(Box<Error>),
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = |error: &Errno| reason(&io::Error::from(*error));
        match self {
            Self::Ended => f.write_str("closed the connection"),
            Self::NoAddress => f.write_str("the name has no address"),
            Self::Connect { address, error } => {
                write!(f, "{} port {}: {}", address.ip(), address.port(), words(error))
            }
            Self::Broken { stage, error } => write!(f, "{stage} failed: {}", words(error)),
            Self::TimedOut(stage) => write!(f, "{stage} timed out"),
            Self::Proxy { name, status: 407 } => write!(f, "proxy {name} requires a user and a password (407)"),
            Self::Proxy { name, status } => write!(f, "proxy {name} refused the connection ({status})"),
            Self::NotHttp(stage) => write!(f, "{stage} is not HTTP"),
            Self::Tls(error) => write!(f, "TLS: {error}"),
            Self::BadRequest => f.write_str("a host or header that cannot be sent"),
            Self::Refused(refusal) => {
                let message = refusal.message.as_deref().unwrap_or("no reason given");
                write!(f, "refused with {}", refusal.status)?;
                if let Some(code) = &refusal.code {
                    write!(f, " {code}")?;
                }
                write!(f, ": {message}")?;
                refusal.request_id.as_ref().map_or(Ok(()), |id| write!(f, " (request id {id})"))
            }
            Self::Protocol(violation) => write!(f, "the server broke the websocket protocol: {violation}"),
            Self::ByPeer { code, reason } if reason.is_empty() => match code {
                Some(code) => write!(f, "closed with code {code}"),
                None => f.write_str("closed without a reason"),
            },
            Self::ByPeer { reason, .. } => f.write_str(reason),
            Self::Cut(stage) => write!(f, "{stage} was cut"),
            Self::NoPong => f.write_str("no response to pings"),
            Self::Exited { last_line: Some(line), .. } => f.write_str(line),
            Self::Exited { code: Some(code), .. } => write!(f, "exited with {code}"),
            Self::Exited { code: None, .. } => f.write_str("was killed"),
            Self::Failed(error) => f.write_str(&error.message),
        }
    }
}
