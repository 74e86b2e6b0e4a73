//! AWS: who we are there, which instances there are, and pushing a key. The only floor that knows the SDK.

pub mod accounts;
pub mod client;
pub mod credentials;
pub mod failure;
pub mod images;
pub mod instances;
pub mod kept;
pub mod network;
pub mod profiles;
pub mod push;
pub mod regions;
pub mod session_manager;
pub mod standing;
mod trust;
