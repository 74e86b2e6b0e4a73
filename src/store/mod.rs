//! Our files on disk: one module a file or kind of file, nothing but that file in each.

pub mod config;
pub mod credentials;
pub mod endpoints;
pub mod files;
pub mod host_keys;
pub mod images;
pub mod index;
pub mod keys;
pub mod known_hosts;
pub mod paths;
pub mod public_key;
pub mod pushes;
pub mod reach;
pub mod refresh;
pub mod routes;
pub mod ssh_config;
pub mod trusted;
pub mod tunnel_slots;
pub mod unread_changes;
pub mod writers;
