//! Requests to AWS: credentials, discovery of instances, and pushing a key. Only this layer uses the SDK.
//!
//! From the top: one file for each request (`push`, `instances`, …); `credentials`, which resolves an identity to a
//! `session`; its providers (`chain`, `sso`, `process`) and `credential_cache`; `client`, `profiles`; `failure`, which
//! translates errors of the SDK; `session`, `http`, `limit`, `timeout`, `instances_page`.

pub mod accounts;
pub mod caller_identity;
mod chain;
pub mod client;
pub mod console;
mod credential_cache;
pub mod credentials;
mod default_region;
pub mod endpoints;
pub mod failure;
mod http;
pub mod images;
pub mod instances;
mod instances_page;
mod limit;
pub mod network;
mod pages;
mod process;
pub mod profiles;
pub mod push;
pub mod regions;
mod session;
pub mod session_manager;
pub mod sso;
pub mod timeout;
mod trust;
