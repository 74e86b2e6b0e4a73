//! One connection: pushing the key once, reaching the address, holding the handshake until the push has landed, and
//! carrying the bytes afterwards.
//!
//! Between the commands and the floors of single effects: hook, proxy and push share what is here.

pub mod console;
pub mod dial;
pub mod host_key_check;
pub mod last_words;
pub mod opening;
pub mod push;
pub mod queue;
pub mod relay;
pub mod target;
pub mod worker;
