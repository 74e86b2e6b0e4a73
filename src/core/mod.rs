//! What the project is about, as pure functions: values in, values out.
//!
//! Nothing here touches a file, the network, a process, the environment or a clock; a test reads the `use` lines to
//! keep it so.

pub mod alias;
pub mod digest;
pub mod duration;
pub mod fleet;
pub mod freshness;
pub mod handshake;
pub mod identity;
pub mod ids;
pub mod image;
pub mod intent;
pub mod inventory;
pub mod names;
pub mod own_config;
pub mod pattern;
pub mod policy;
pub mod render;
pub mod splice;
pub mod standalone;
