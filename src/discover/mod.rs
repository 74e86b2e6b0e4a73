//! From the configured sources to the files that ssh reads: query AWS, assign names, prove the config, write it.
//!
//! `sync`, `init`, `list --live` and the refresh of a connection share it.

pub mod background;
mod client;
pub mod config_check;
mod consoles;
pub mod discovery;
pub mod expand;
pub mod failures;
pub mod locate;
pub mod proof;
pub mod query;
pub mod report;
pub mod sync;
pub mod sync_request;

#[cfg(test)]
mod tests;
