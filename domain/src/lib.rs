//! What the project is about, as pure functions: values in, values out.
//!
//! Nothing here touches a file, the network, a process, the environment or a clock; a test reads the `use` lines to
//! keep it so.

pub mod address;
pub mod alias;
pub mod candidate;
pub mod config;
pub mod connection_options;
pub mod console;
pub mod described_instances;
pub mod diagnosis;
pub mod digest;
pub mod discovery;
pub mod duration;
pub mod editor;
pub mod endpoint;
pub mod fleet;
pub mod freshness;
pub mod handshake;
pub mod hashed_name;
pub mod host_certificate;
pub mod host_diff;
pub mod host_key;
pub mod host_trust;
pub mod http_response;
pub mod identity;
pub mod ids;
pub mod image;
pub mod ingress;
pub mod intent;
pub mod inventory;
pub mod kex;
pub mod known_hosts;
pub mod names;
pub mod pattern;
pub mod policy;
pub mod session_manager;
pub mod source;
pub mod ssh_client;
pub mod ssh_config;
pub mod ssh_words;
pub mod suggestion;
pub mod tag_filter;
pub mod text;
pub mod unread_changes;
pub mod upgrade;
pub mod websocket;
mod wire;
