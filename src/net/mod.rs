//! Network connections of the proxy: a route's byte stream over TCP, a websocket tunnel or a child process.
//!
//! Everything here is non-blocking and has no thread of its own: the caller polls the descriptors that a stream
//! watches, then calls `advance`, so that several streams can race in one loop over poll(2). Queues are bounded: a
//! reader that is slow slows the sender.
//!
//! Not here: AWS and the signature of a URL (`aws`), what the bytes mean (`domain::handshake`), name resolution.

mod child;
mod closed;
pub mod proxy;
mod queue;
mod state;
mod stream;
mod tcp;
mod tls;
pub mod trust;
mod tunnel;
mod wire;

#[cfg(test)]
mod tests;

pub use child::Child;
pub use closed::{Closed, Stage};
pub use queue::Queue;
pub use state::State;
pub use stream::{Stream, Transport};
pub use tcp::Tcp;
pub use tls::{Config, config};
pub use tunnel::{Destination, KeepAlive, Message, Mode, Timeouts, Tunnel};
