//! One test binary: the real program, the real ssh, scp, sftp, rsync and git, against the sandbox.
//!
//! One file for each subcommand under its own name, and one for each kind of connection that needs several.

mod messages;
mod world;

mod attacks;
mod background;
mod burst;
mod ci;
mod clients;
mod config;
mod credentials;
mod doctor;
mod errors;
mod faults;
mod generate;
mod host_keys;
mod hostile;
mod init;
mod install;
mod inventory;
mod key_lookups;
mod keys;
mod layouts;
mod limits;
mod lingering;
mod list;
mod logout;
mod loopback;
mod match_hook;
mod names;
mod network;
mod openssh;
mod packaging;
mod picture;
mod policy;
mod proxy;
mod push;
mod real_world;
mod refusals;
mod remove;
mod route_settings;
mod routes;
mod second_aws;
mod session_manager;
mod sources;
mod suspended;
mod sync;
mod threat_model;
mod usage;
