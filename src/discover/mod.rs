//! From the configured sources to the files that ssh reads: ask AWS, name the hosts, prove the config, write it.
//!
//! Between the commands and the floors of single effects: `sync`, `init` and the refresh of a connection share it.

mod consoles;
pub mod expand;
pub mod failures;
pub mod fleet;
pub mod locate;
pub mod proof;
pub mod query;
pub mod survey;
pub mod sync;
pub mod tell;
