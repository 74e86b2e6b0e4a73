//! Where a session stands.

use std::time::Duration;

use super::action::{End, Failure};

/// The phases, in their order; each may be followed by `Ended`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    Handshake,
    /// The handshake is complete; data waits for the server's first bytes or this time.
    Settling(Duration),
    Open,
    /// The handshake was refused.
    Refusing {
        failure: Failure,
        until: Duration,
    },
    /// The flag was sent: waits for the close.
    Closing(Duration),
    Ended(End),
}
