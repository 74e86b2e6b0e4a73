//! A fake AWS on loopback, with real sshd processes as instances.
//!
//! Integration tests use it as a library ([`Sandbox`]); `install.sh --demo` and developers use its binary. In both cases
//! one server process implements the AWS protocols on one HTTP port, listens on the address of every instance and starts
//! a real `sshd -i` for each connection.
//!
//! - `sandbox`: starts the server, sends requests to it, runs programs inside
//! - `options`: the options at its start
//! - `model`: instances and images, as tests describe them
//! - `guest`: an instance's host keys and console output
//! - `tunnel`: tunnels through an endpoint, as recorded, and their switches
//! - `proxy`: HTTP proxies between the clients and AWS
//! - `vpc`: security groups and EC2 Instance Connect Endpoints
//! - `identity`: access keys and SSO sign-ins
//! - `control`: the protocol between the library and the server, and the switches
//! - `home`: the temporary home folder and its AWS files
//! - `inside`: running programs inside
//! - `program`: paths of programs, and the current user
//! - `server`: the server process: state, control socket, network, sshd, key expiry
//! - `aws`: the AWS protocols: EC2 query, EIC JSON, STS, SSO
//! - `ssm`: Systems Manager sessions: the gateway and the agent
//! - `cli`: the command line
//! - `fleet`: the hosts that `demo` and `hand` have
//! - `demo`: ssh-eic at work, step by step
//! - `hand`: a shell inside, and commands for a running sandbox

mod aws;
pub mod cli;
mod control;
mod demo;
mod fleet;
mod guest;
mod hand;
mod home;
mod identity;
mod inside;
mod model;
mod options;
mod program;
mod proxy;
mod sandbox;
mod server;
mod ssm;
mod tunnel;
mod vpc;

pub use control::{Call, Fail, Switches, Throttle};
pub use guest::{Console, HostCertificate};
pub use identity::{Account, Credential, SignIn};
pub use model::{
    ACCOUNT, AMAZON_LINUX, Change, DEBIAN, Image, Instance, Network, REGION, RHEL, STAGING_ACCOUNT, STAGING_REGION,
    State, UBUNTU, WINDOWS,
};
pub use options::{Form, Options};
pub use proxy::{Proxy, ProxyRequest};
pub use sandbox::Sandbox;
pub use sandbox_macros::needs_namespaces;
pub use ssm::{SsmHandshake, SsmSession, SsmSwitches};
pub use tunnel::{Refusal, Tunnel, TunnelSwitches, Upgrade};
pub use vpc::{Endpoint, Rule, SecurityGroup};
