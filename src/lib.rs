//! ssh-eic: plain `ssh` to private EC2 instances through EC2 Instance Connect.
//!
//! The modules in the order of their layers, from the top. A layer uses those below it, never those above it or beside
//! it, and commands never use each other (tests/repository/src/layers.rs).
//!
//! | layer | purpose |
//! | --- | --- |
//! | `run` | parses the command line, runs the subcommand, prints its error |
//! | [`command`] | the subcommands, one file each |
//! | [`doctor`] | `ssh-eic doctor`: checks in the order of a connection, up to the first cause of a failure |
//! | [`connect`] | one connection: push the key, connect to the address, then relay the bytes |
//! | [`discover`] | from the configured sources to the files that ssh reads |
//! | [`cli`] | the types of the command line |
//! | [`aws`] | requests to AWS; only this layer uses the SDK |
//! | [`net`], [`store`] | network connections of the proxy, non-blocking; the program's files |
//! | [`sys`] | the operating system |
//! | [`ui`] | messages, colour and progress on the terminal |
//! | [`error`] | the error type and the exit codes |
//! | [`domain`] | pure code: no files, network, processes, environment or clock |
//!
//! A connection: ssh parses the config and runs [`command::match_hook`], then starts [`command::proxy`],
//! which opens it in [`connect::opening`], with the push in a [`connect::worker`], and relays it in [`connect::relay`].

pub mod aws;
pub mod cli;
pub mod command;
pub mod connect;
pub mod discover;
pub mod doctor;
pub use domain;
pub mod error;
pub mod net;
mod run;
pub mod store;
pub mod sys;
pub mod ui;

pub use run::run;
