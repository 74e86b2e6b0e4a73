//! What an opening is given and what it results in.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::connect::host_key_check::Setting;
use crate::connect::push::Job;
use crate::connect::queue::Queue;
use crate::connect::stream_relay::StreamSession;
use crate::connect::worker::Waiting;
use crate::domain::source::AddressKind;
use crate::net::Tcp;
use crate::store::endpoints::Network;

/// Destination, route and timeouts of one connection.
#[derive(Debug)]
pub struct Target {
    /// Address or name as ssh gave it; the instance's own id where ssh knows no address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Which address of the instance to use if AWS has to be asked.
    pub address: AddressKind,
    /// VPC and subnet, if the index has them.
    pub network: Option<Network>,
    /// The `-F` of the calling ssh, for a jump.
    pub ssh_config: Option<String>,
    /// The push and the route: instance, user, identity, connection options.
    pub job: Job,
    /// How the host key is checked before it is relayed; `None`: ssh alone checks it.
    pub host_keys: Option<Setting>,
    /// When the opening began.
    pub start: Instant,
    /// Of one attempt, until the server's version line.
    pub timeout: Duration,
    /// Of all attempts together: less than the time after which ssh ends the connection.
    pub limit: Option<Duration>,
    /// How often a connection that fails is tried: `ConnectionAttempts`.
    pub attempts: u32,
}

impl Target {
    /// The time left until ssh ends the connection, or until our own timeouts are over.
    #[must_use]
    pub fn time_left(&self) -> Duration {
        let limit = self.limit.unwrap_or_else(|| self.timeout.saturating_mul(self.attempts));
        limit.saturating_sub(self.start.elapsed())
    }
}

/// Started speculatively, before the config is read.
#[derive(Debug, Default)]
pub struct Speculative {
    /// A connection to the address that ssh gave.
    pub connection: Option<Tcp>,
    /// A worker without a request.
    pub worker: Option<Waiting>,
}

/// The connection of an open session.
#[derive(Debug)]
pub enum Session {
    /// A direct connection, non-blocking, and what the server gets first.
    Tcp(TcpStream, Queue),
    /// Any other stream.
    Stream(Box<StreamSession>),
}

/// How the opening ended.
#[derive(Debug)]
pub enum Outcome {
    /// Everything that was held has been passed on.
    Session {
        /// The connection.
        session: Session,
        /// What the client gets first.
        to_client: Queue,
        /// The instance had another address than the one that ssh gave.
        moved: bool,
    },
    /// The client, or the server during the handshake, has closed: nothing to report.
    Closed,
}
