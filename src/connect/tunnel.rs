//! Preparing a tunnel through an EC2 Instance Connect Endpoint, in a worker process: signing in, the endpoint of the
//! instance's VPC, the signed URL, and the addresses of the first hop.
//!
//! Not here: the slot and the tunnel itself, which belong to the proxy process (`opening`).

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::aws::client::{self, RequestLimits};
use crate::aws::credentials::{self, Session};
use crate::aws::endpoints::{self, SignedUrl};
use crate::aws::{instances, profiles};
use crate::connect::first_hop::Websocket;
use crate::connect::push::{self, Job};
use crate::domain::endpoint::{self, Endpoint, Unusable};
use crate::domain::fleet::Instance;
use crate::domain::freshness;
use crate::domain::source::AddressKind;
use crate::domain::upgrade::Url;
use crate::error::{Error, Kind, Result};
use crate::net::{self, Closed, Destination, Mode, Timeouts, Tunnel, trust};
use crate::store::endpoints::{self as known, Network};
use crate::store::paths::Paths;
use crate::sys::clock;
use crate::ui;

/// The only port of SSH that an endpoint opens.
pub const PORT: u16 = 22;
/// The part of a URL's lifetime that is left for the connection to the endpoint.
const CONNECTING: Duration = Duration::from_secs(20);

/// A tunnel to prepare.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TunnelRequest {
    /// Instance, identity, region, cache.
    pub job: Job,
    /// The address; none: as AWS describes the instance.
    pub address: Option<IpAddr>,
    /// Which address of the instance is meant.
    pub kind: AddressKind,
    /// VPC and subnet, if the index has them.
    pub network: Option<Network>,
    /// `maxTunnelDuration` in seconds.
    pub max_duration: u16,
    /// What was cached was refused: neither the known endpoints nor cached credentials are used.
    pub refresh: bool,
}

/// A tunnel that can be opened now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PreparedTunnel {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// The instance's address.
    pub address: IpAddr,
    /// Can be used for [`endpoints::URL_LIFETIME`] from `signed`.
    pub url: SignedUrl,
    /// When the URL was signed, in milliseconds since 1970.
    pub signed: u64,
    /// Of the URL's host, or of the proxy on the way.
    pub hop: Vec<IpAddr>,
    /// The profile's own file of trusted certificates.
    pub ca_bundle: Option<PathBuf>,
    /// The endpoint or the credentials came from the cache.
    pub cached: bool,
}

impl PreparedTunnel {
    /// Begins to open the tunnel; `timeout` is for each step on the way. The inner error is the first step's.
    ///
    /// # Errors
    ///
    /// A URL, a proxy or certificates that cannot be used.
    pub fn start(&self, timeout: Duration, now: Instant) -> Result<std::result::Result<Tunnel, Closed>> {
        let url = Url::parse(self.url.expose())
            .ok_or_else(|| Error::new(Kind::Unavailable, "AWS returned an endpoint without a usable DNS name"))?;
        let proxy = Websocket::Tunnel.proxy_for(&url.host)?;
        let destination = Destination { url, proxy, addresses: self.hop.clone(), headers: Vec::new() };
        let config = net::config(trust::roots(self.ca_bundle.as_deref())?)?;
        let timeouts = Timeouts { connect: timeout, upgrade: timeout };
        Ok(Tunnel::start(destination, &config, Mode::Bytes, timeouts, now))
    }

    /// Whether the URL will still be accepted after the connection to the endpoint has been made. By the wall clock: in a
    /// suspended machine the URL expires all the same.
    #[must_use]
    pub fn is_usable(&self, now: u64) -> bool {
        let limit = endpoints::URL_LIFETIME.saturating_sub(CONNECTING).as_millis();
        freshness::is_younger(self.signed, now, u64::try_from(limit).unwrap_or(u64::MAX))
    }
}

/// What became of a [`TunnelRequest`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TunnelAnswer {
    /// It can be opened.
    Prepared(Box<PreparedTunnel>),
    /// The VPC has no endpoint that can be used; the error says why.
    NoEndpoint(Box<Error>),
}

/// Prepares a tunnel.
///
/// # Errors
///
/// Of AWS, of the resolver; [`Kind::Config`] for a proxy that cannot be used.
pub fn prepare(paths: &Paths, request: &TunnelRequest) -> Result<TunnelAnswer> {
    client::run(prepare_now(paths, request))
}

async fn prepare_now(paths: &Paths, request: &TunnelRequest) -> Result<TunnelAnswer> {
    let job = &request.job;
    let timeouts = RequestLimits { max_attempts: 2, ..RequestLimits::PUSH };
    let sign_in = || credentials::open(&job.identity, job.region.as_deref(), timeouts, job.cache.as_deref());
    let mut session = sign_in().await?;
    if request.refresh
        && let Some(cache_file) = session.cache_file.take()
    {
        cache_file.forget(&session.access_key);
        session = sign_in().await?;
    }
    let instance = Place::of(paths, request, &session).await?;
    let account = session.account.as_deref().or(job.identity.account.as_deref());
    let now = clock::now();
    let vpc = &instance.network.vpc;
    let cached = if request.refresh { None } else { known::of_vpc(paths, vpc, account, now) };
    let is_cached = cached.is_some() || session.cache_file.is_some();
    let list = if let Some(list) = cached {
        list
    } else {
        let list = endpoints::of_vpc(&session, vpc).await?;
        if let Err(error) = known::keep(paths, vpc, account, &list, now) {
            ui::verbose(|| error.message);
        }
        list
    };
    let endpoint = match endpoint::select(&list, &instance.network.subnet, Some(instance.address), account) {
        Ok(endpoint) => endpoint,
        Err(unusable) => {
            return Ok(TunnelAnswer::NoEndpoint(Box::new(no_endpoint(job, &session, &instance.network, &unusable))));
        }
    };
    let signed = clock::now();
    let url = endpoints::open_tunnel_url(&session, endpoint, &instance.address, request.max_duration).await?;
    let parsed = Url::parse(url.expose())
        .ok_or_else(|| Error::new(Kind::Unavailable, format!("AWS returned no usable DNS name for {}", endpoint.id)))?;
    Ok(TunnelAnswer::Prepared(Box::new(PreparedTunnel {
        hop: Websocket::Tunnel.first_hop(parsed)?,
        endpoint: endpoint.clone(),
        address: instance.address,
        url,
        signed,
        ca_bundle: profiles::ca_bundle(job.identity.profile.as_deref()).await,
        cached: is_cached,
    })))
}

/// Where an instance is inside of AWS.
struct Place {
    network: Network,
    address: IpAddr,
}

impl Place {
    /// From the index, the cache or AWS.
    async fn of(paths: &Paths, request: &TunnelRequest, session: &Session) -> Result<Self> {
        let job = &request.job;
        let network = request.network.clone().or_else(|| known::network(paths, &job.id));
        if let (Some(network), Some(address), false) = (network, request.address, request.refresh) {
            return Ok(Self { network, address });
        }
        let described = instances::by_id(session, &job.id).await;
        let described = match described {
            Err(failure) if failure.error.kind == Kind::NoHost => None,
            described => described.map_err(|failure| failure.error)?,
        };
        let instance = described.ok_or_else(|| push::not_there(job, &session.region))?;
        if instance.state != "running" {
            return Err(push::not_running(&instance, &job.label, &session.region, &job.identity));
        }
        let network = Network { vpc: instance.vpc.clone(), subnet: instance.subnet.clone() };
        if let Err(error) = known::keep_network(paths, &job.id, &network) {
            ui::verbose(|| error.message);
        }
        let address = address_of(&instance, request.kind).ok_or_else(|| {
            let kind = if request.kind == AddressKind::Ipv6 { "IPv6" } else { "private" };
            Error::new(Kind::Unreachable, format!("{} has no {kind} address", job.name()))
                .hint("set address in config.toml to one that it has")
        })?;
        Ok(Self { network, address })
    }
}

/// The address that an endpoint connects to: never the public one.
fn address_of(instance: &Instance, kind: AddressKind) -> Option<IpAddr> {
    let text = if kind == AddressKind::Ipv6 { &instance.ipv6 } else { &instance.private_ip };
    text.as_deref()?.parse().ok()
}

fn no_endpoint(job: &Job, session: &Session, network: &Network, unusable: &Unusable) -> Error {
    let Network { vpc, subnet } = network;
    let message = match unusable {
        Unusable::NoEndpoint => format!("{}: {unusable} in {vpc}", job.name()),
        _ => format!("{}: {unusable}", job.name()),
    };
    let create = format!(
        "aws ec2 create-instance-connect-endpoint --subnet-id {subnet} --region {}{} creates one",
        session.region,
        job.identity.flag()
    );
    let error = Error::new(Kind::Unavailable, message);
    let error = match unusable {
        Unusable::AddressType { .. } => error.hint("set address in config.toml to the family that it reaches"),
        _ => error.hint(create),
    };
    error.hint("or set another route for the host in config.toml")
}
