//! The operating system: processes, signals, descriptors, the clock. One outside effect a module.

pub mod caller;
pub mod clock;
pub mod descriptors;
pub mod detach;
pub mod environment;
pub mod limited;
pub mod limits;
pub mod local_network;
pub mod running_time;
pub mod signals;
pub mod ssh_client;
pub mod supervise;
