//! One connection: pushes the key once, connects to the address, holds the handshake until the push has succeeded, and
//! relays the bytes afterwards.
//!
//! Shared by the hook, the proxy and `ssh-eic push`.

pub mod console;
pub mod disconnect;
pub mod early_dial;
pub mod first_hop;
pub mod host_key_check;
pub mod jump;
pub mod opening;
pub mod push;
pub mod queue;
pub mod relay;
pub mod serve;
pub mod session_manager;
pub mod session_worker;
pub mod stream_relay;
pub mod target;
pub mod tunnel;
pub mod tunnel_check;
pub mod tunnel_errors;
pub mod worker;
