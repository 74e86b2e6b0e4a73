//! Requests to the running server: changes of the fleet and of AWS, and records of what happened.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::Sandbox;
use crate::control::{Call, Request, Response, Switches, ask};
use crate::identity::Credential;
use crate::model::{Change, Image, Instance};
use crate::proxy::{Proxy, ProxyRequest};
use crate::ssm::SsmSession;
use crate::tunnel::Tunnel;
use crate::vpc::{Endpoint, SecurityGroup};

impl Sandbox {
    fn request(&self, request: &Request) -> io::Result<Response> {
        ask(&self.dir, request)
    }

    pub(super) fn send(&self, request: &Request) -> io::Result<()> {
        self.request(request).map(drop)
    }

    /// Adds an instance and returns its id.
    ///
    /// # Errors
    /// If the id is taken or its port cannot be opened.
    pub fn add(&self, instance: Instance) -> io::Result<String> {
        self.add_many(vec![instance])?.pop().ok_or_else(|| io::Error::other("no id came back"))
    }

    /// Adds many instances at once and returns their ids in the same order.
    ///
    /// # Errors
    /// As [`Sandbox::add`]; none is added then.
    pub fn add_many(&self, instances: Vec<Instance>) -> io::Result<Vec<String>> {
        match self.request(&Request::Add(instances))? {
            Response::Ids(ids) => Ok(ids),
            other => Err(unexpected(&other)),
        }
    }

    /// Changes an instance; what the network does has changed when this returns.
    ///
    /// # Errors
    /// If there is no such instance.
    pub fn update(&self, id: &str, change: Change) -> io::Result<()> {
        self.send(&Request::Update { id: id.into(), change: Box::new(change) })
    }

    /// Forgets an instance entirely, as EC2 does an hour after it was terminated.
    ///
    /// # Errors
    /// If there is no such instance.
    pub fn remove(&self, id: &str) -> io::Result<()> {
        self.send(&Request::Remove(id.into()))
    }

    /// All instances as they are now, with generated ids, addresses and tags.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn instances(&self) -> io::Result<Vec<Instance>> {
        match self.request(&Request::Instances)? {
            Response::Instances(instances) => Ok(instances),
            other => Err(unexpected(&other)),
        }
    }

    /// Merges switches into those that are set.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn switches(&self, switches: Switches) -> io::Result<()> {
        self.send(&Request::Switches(Box::new(switches)))
    }

    /// Ends the time of all pushed keys.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn expire_keys(&self) -> io::Result<()> {
        self.send(&Request::ExpireKeys)
    }

    /// Puts all switches back.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn reset_switches(&self) -> io::Result<()> {
        self.send(&Request::ResetSwitches)
    }

    /// Every API call so far, in the order of their answers.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn calls(&self) -> io::Result<Vec<Call>> {
        match self.request(&Request::Calls)? {
            Response::Calls(calls) => Ok(calls),
            other => Err(unexpected(&other)),
        }
    }

    /// The calls of `SendSSHPublicKey`, successful or not.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn pushes(&self) -> io::Result<Vec<Call>> {
        self.calls_of("SendSSHPublicKey")
    }

    /// The calls of one action, successful or not.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn calls_of(&self, action: &str) -> io::Result<Vec<Call>> {
        let mut calls = self.calls()?;
        calls.retain(|call| call.action == action);
        Ok(calls)
    }

    /// Every Systems Manager session so far, by id.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn ssm_sessions(&self) -> io::Result<Vec<SsmSession>> {
        match self.request(&Request::SsmSessions)? {
            Response::SsmSessions(sessions) => Ok(sessions),
            other => Err(unexpected(&other)),
        }
    }

    /// Empties the log of calls.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn clear_calls(&self) -> io::Result<()> {
        self.send(&Request::ClearCalls)
    }

    /// The public keys that the instance accepts for the user at this moment.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn keys(&self, id: &str, user: &str) -> io::Result<Vec<String>> {
        match self.request(&Request::Keys { id: id.into(), user: user.into() })? {
            Response::Keys(keys) => Ok(keys),
            other => Err(unexpected(&other)),
        }
    }

    /// Lets a public key in without any AWS call, for benchmarks against keys that were there before.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn accept_key(&self, id: &str, user: &str, key: &str, time: Duration) -> io::Result<()> {
        let (id, user, key) = (id.into(), user.into(), key.trim_end().into());
        self.send(&Request::Accept { id, user, key, seconds: time.as_secs_f64() })
    }

    /// Registers another access key.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn add_credential(&self, credential: Credential) -> io::Result<()> {
        self.send(&Request::AddCredential(credential))
    }

    /// Registers another image, or replaces one.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn add_image(&self, image: Image) -> io::Result<()> {
        self.send(&Request::AddImage(image))
    }

    /// Registers another security group, or replaces one.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn add_security_group(&self, group: SecurityGroup) -> io::Result<()> {
        self.send(&Request::AddSecurityGroup(group))
    }

    /// Registers another EC2 Instance Connect Endpoint, or replaces one.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn add_endpoint(&self, endpoint: Endpoint) -> io::Result<()> {
        self.send(&Request::AddEndpoint(endpoint))
    }

    /// Every tunnel that an endpoint opened, in the order of opening.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn tunnels(&self) -> io::Result<Vec<Tunnel>> {
        match self.request(&Request::Tunnels)? {
            Response::Tunnels(tunnels) => Ok(tunnels),
            other => Err(unexpected(&other)),
        }
    }

    /// Advances the clock by which open tunnels reach their `maxTunnelDuration`.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn advance_tunnels(&self, time: Duration) -> io::Result<()> {
        self.send(&Request::AdvanceTunnels(time.as_secs()))
    }

    /// Sends a ping through every open tunnel; its [`Tunnel::pongs`] shows the answer.
    ///
    /// # Errors
    /// If the server is gone.
    pub fn ping_tunnels(&self) -> io::Result<()> {
        self.send(&Request::PingTunnels)
    }

    /// Starts a CONNECT proxy and returns its address, which clients inside reach.
    ///
    /// # Errors
    /// If it cannot listen or the server is gone.
    pub fn add_proxy(&self, proxy: Proxy) -> io::Result<SocketAddr> {
        match self.request(&Request::AddProxy(proxy))? {
            Response::Address(address) => Ok(address),
            other => Err(unexpected(&other)),
        }
    }

    /// Changes how a proxy handles later requests; whether it speaks TLS stays.
    ///
    /// # Errors
    /// If there is no such proxy.
    pub fn update_proxy(&self, address: SocketAddr, proxy: Proxy) -> io::Result<()> {
        self.send(&Request::UpdateProxy { port: address.port(), proxy })
    }

    /// Every request that a proxy received, in the order of responses.
    ///
    /// # Errors
    /// If there is no such proxy.
    pub fn proxy_requests(&self, address: SocketAddr) -> io::Result<Vec<ProxyRequest>> {
        match self.request(&Request::ProxyRequests(address.port()))? {
            Response::ProxyRequests(requests) => Ok(requests),
            other => Err(unexpected(&other)),
        }
    }

    /// Empties a proxy's record of requests.
    ///
    /// # Errors
    /// If there is no such proxy.
    pub fn clear_proxy_requests(&self, address: SocketAddr) -> io::Result<()> {
        self.send(&Request::ClearProxyRequests(address.port()))
    }

    /// The public key of the authority that signs host certificates, for a `@cert-authority` line.
    ///
    /// # Errors
    /// If the authority cannot be made.
    pub fn host_ca(&self) -> io::Result<String> {
        match self.request(&Request::HostCa)? {
            Response::Text(key) => Ok(key),
            other => Err(unexpected(&other)),
        }
    }

    /// Makes the host keys of all instances now and not at their first connection, for benchmarks.
    ///
    /// # Errors
    /// If a key cannot be made.
    pub fn warm(&self) -> io::Result<()> {
        self.send(&Request::Warm)
    }
}

fn unexpected(response: &Response) -> io::Error {
    io::Error::other(format!("unexpected answer {response:?}"))
}
