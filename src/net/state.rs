//! The state of a stream, which every kind of stream reports.

use crate::net::closed::Closed;

/// The state of a stream.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// Not open yet; what is sent waits in the queue.
    Connecting,
    /// Open.
    Open,
    /// Nothing more arrives; what has been received can still be taken.
    Closed(Closed),
}
