//! One connection: pushing the key once, reaching the address, holding the handshake until the push has landed, and
//! carrying the bytes afterwards.
//!
//! Between the commands and the floors of single effects: hook, proxy and push share what is here.

pub mod console;
pub mod disconnect;
pub mod early_dial;
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
