//! ssh-eic: plain `ssh` to private EC2 instances through EC2 Instance Connect.
//!
//! The map, from the top floor down; an upper floor may use a lower one, never the reverse, and commands never use
//! each other (a test reads the `use` lines).
//!
//! | floor | module | what it is for |
//! | --- | --- | --- |
//! | 6 | [`command`] | one subcommand each: read its name, know its job |
//! | 5 | [`connect`] | one connection: push once, reach the address, hold the handshake, carry the bytes |
//! | 5 | [`doctor`] | why a connection fails: checks in order, up to the first cause |
//! | 5 | [`discover`] | from the configured sources to the files that ssh reads |
//! | 4 | [`cli`] | the clap types |
//! | 3 | [`aws`] | AWS calls: the only module that knows the SDK |
//! | 3 | [`net`] | network connections of the proxy, non-blocking |
//! | 3 | [`store`] | our files on disk |
//! | 3 | [`sys`] | the operating system |
//! | 2 | [`ui`] | words on the terminal |
//! | 2 | [`error`] | the one error type and the exit codes |
//! | 1 | [`domain`] | pure: values in, values out |
//!
//! The way of one connection: ssh parses the config and runs [`command::match_hook`], then starts [`command::proxy`],
//! which opens it in [`connect::opening`] with the push in a [`connect::worker`], and carries it in [`connect::relay`].

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
