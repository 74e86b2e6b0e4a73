//! AWS: who we are there, which instances there are, and pushing a key. The only floor that knows the SDK.

pub mod accounts;
mod chain;
pub mod client;
pub mod console;
pub mod credentials;
pub mod endpoints;
pub mod failure;
pub mod images;
pub mod instances;
pub mod kept;
mod limit;
pub mod network;
mod pages;
mod process;
pub mod profiles;
pub mod push;
pub mod regions;
pub mod session_manager;
pub mod sso;
pub mod standing;
mod trust;
