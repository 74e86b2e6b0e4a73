//! A stand-in for AWS on loopback, with instances played by the real sshd.
//!
//! Integration tests use it as a library ([`Sandbox`]), `install.sh --demo` and people use its binary. Whoever uses it,
//! there is one server process: it speaks the AWS wire protocols on one HTTP port, plays every instance's network
//! address and starts a real `sshd -i` for each connection.
//!
//! - `sandbox`: starting the server, talking to it, running programs inside
//! - `options`: what it is started with
//! - `model`: instances and images, as tests describe them
//! - `guest`: an instance's host keys and console output
//! - `tunnel`: tunnels through an endpoint, as recorded, and their switches
//! - `proxy`: HTTP proxies between the clients and AWS
//! - `vpc`: security groups and EC2 Instance Connect Endpoints
//! - `identity`: access keys and SSO sign-ins
//! - `control`: what the library and the server say to each other, and the switches
//! - `home`: the throw-away home folder and its AWS files
//! - `inside`: running programs inside
//! - `program`: where programs are, and who runs this
//! - `server`: the server process: state, control socket, network, sshd, key expiry
//! - `aws`: the AWS protocols: EC2 query, EIC JSON, STS, SSO
//! - `ssm`: Systems Manager sessions: the gateway and the agent
//! - `cli`: the command line
//! - `fleet`: the hosts that `demo` and `hand` have
//! - `demo`: ssh-eic at work, step by step
//! - `hand`: a shell inside, and orders to a running sandbox

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
