//! Everything that the server knows, behind one lock; what concerns the network follows each change before it is answered.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Instant;

use jiff::Timestamp;

use super::fleet::Fleet;
use super::keys::Keys;
use super::network::{Acceptor, Net};
use super::sshd::{Children, Prepared};
use super::tls::{self, Tls};
use super::{endpoint, namespace, sshd};
use crate::control::{Call, Switches, Throttle};
use crate::guest::Console;
use crate::identity::{Credential, SignIn};
use crate::model::{Change, Image, Instance, Network, State as InstanceState, images};
use crate::options::Form;
use crate::proxy::{Proxy, ProxyRequest};
use crate::ssm::{Sessions, gateway};
use crate::tunnel::Tunnel;
use crate::vpc::{Endpoint, EndpointNames, SecurityGroup};
use crate::{home, program};

/// The server's state and its sockets.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) dir: PathBuf,
    pub(crate) keys: Keys,
    pub(crate) form: Form,
    pub(super) net: Net,
    pub(super) children: Children,
    pub(super) prepared: Prepared,
    pub(super) user: String,
    /// Where the AWS APIs are served.
    aws: OnceLock<SocketAddr>,
    tls: Mutex<Option<Tls>>,
    /// Where the endpoints are served, once there is one.
    tunnels: Mutex<Option<SocketAddr>>,
    /// For threads that are started by a request.
    own: OnceLock<Weak<World>>,
    state: Mutex<State>,
}

/// What AWS would know.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) fleet: Fleet,
    pub(crate) images: HashMap<String, Image>,
    pub(crate) security_groups: BTreeMap<String, SecurityGroup>,
    pub(crate) endpoints: BTreeMap<String, Endpoint>,
    pub(crate) credentials: HashMap<String, Credential>,
    pub(crate) sign_ins: HashMap<String, SignIn>,
    pub(crate) calls: Vec<Call>,
    pub(crate) switches: Switches,
    pub(crate) counters: Counters,
    pub(crate) tunnels: Vec<Tunnel>,
    /// The proxies and their requests, by port.
    pub(super) proxies: BTreeMap<u16, (Proxy, Vec<ProxyRequest>)>,
    /// Seconds that tests have added to the clock of the tunnels.
    pub(super) tunnel_clock: u64,
    /// Pings that tests have requested from every open tunnel.
    pub(super) tunnel_pings: u64,
    /// How many connections were reset, by instance.
    refused: HashMap<String, u32>,
    pub(crate) ssm: Sessions,
    serial: u64,
    requests: u64,
}

impl State {
    /// Counts one more connection to an instance; whether it is to be reset.
    pub(super) fn refuses_connection(&mut self, instance: &Instance) -> bool {
        let refused = self.refused.entry(instance.id.clone()).or_default();
        let refuse = *refused < instance.refuse_first;
        *refused += u32::from(refuse);
        refuse
    }
}

impl World {
    pub(super) fn new(dir: PathBuf, form: Form) -> io::Result<(Self, Acceptor)> {
        sshd::check(form)?;
        sshd::furnish(&dir)?;
        let (net, acceptor) = Net::new()?;
        let state = State {
            images: images().into_iter().map(|image| (image.id.clone(), image)).collect(),
            security_groups: [SecurityGroup::default()].into_iter().map(|group| (group.id.clone(), group)).collect(),
            credentials: home::credentials(&dir)?.into_values().map(|c| (c.access_key_id.clone(), c)).collect(),
            ..State::default()
        };
        let world = Self {
            keys: Keys::new(dir.join("instances")),
            dir,
            form,
            net,
            children: Children::default(),
            prepared: Prepared::default(),
            user: program::user_name()?,
            aws: OnceLock::new(),
            tls: Mutex::default(),
            tunnels: Mutex::default(),
            own: OnceLock::new(),
            state: Mutex::new(state),
        };
        world.net.reconcile(form, &[])?;
        Ok((world, acceptor))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The authority and the TLS configuration, made at the first use.
    pub(super) fn tls(&self) -> io::Result<Tls> {
        let mut tls = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        match &*tls {
            Some(tls) => Ok(tls.clone()),
            None => Ok(tls.insert(tls::furnish(&self.dir)?).clone()),
        }
    }

    pub(super) fn set_aws_address(&self, address: SocketAddr) {
        let _ = self.aws.set(address);
    }

    pub(super) fn aws_address(&self) -> Option<SocketAddr> {
        self.aws.get().copied()
    }

    /// The address of all endpoints, once there is one.
    pub(super) fn endpoints_address(&self) -> Option<SocketAddr> {
        *self.tunnels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an endpoint, serves it and lets its names resolve.
    pub(super) fn add_endpoint(self: &Arc<Self>, endpoint: Endpoint) -> io::Result<()> {
        let mut address = self.tunnels.lock().unwrap_or_else(PoisonError::into_inner);
        if address.is_none() {
            *address = Some(endpoint::listen(self, self.tls()?.config)?);
        }
        drop(address);
        self.lock().endpoints.insert(endpoint.id.clone(), endpoint);
        self.write_hosts()
    }

    /// The names of an endpoint; in the loopback form, where nothing resolves them, its address and port.
    pub(crate) fn endpoint_names(&self, endpoint: &Endpoint) -> EndpointNames {
        match (self.form, self.endpoints_address()) {
            (Form::Loopback, Some(address)) => EndpointNames::all(&address.to_string()),
            _ => EndpointNames::of(endpoint),
        }
    }

    /// Makes /etc/hosts agree with the endpoints and the switches.
    pub(super) fn write_hosts(&self) -> io::Result<()> {
        if self.form == Form::Loopback {
            return Ok(());
        }
        let state = self.lock();
        let unresolved = state.switches.tunnels.as_ref().is_some_and(|tunnels| tunnels.unresolved);
        let endpoints = state.endpoints.values().filter(|_| !unresolved);
        let names: Vec<String> = endpoints.flat_map(|endpoint| EndpointNames::of(endpoint).into_all()).collect();
        namespace::write_hosts(&self.dir, &names, endpoint::ADDRESS.into())
    }

    /// Lets requests start threads that hold the world.
    pub(super) fn set_own(&self, own: &Arc<Self>) {
        let _ = self.own.set(Arc::downgrade(own));
    }

    /// Starts the gateway of Systems Manager sessions, once.
    pub(crate) fn ensure_gateway(&self) -> io::Result<()> {
        let own = self.own.get().and_then(Weak::upgrade).ok_or_else(|| io::Error::other("the server ends"))?;
        let config = self.tls()?.config;
        let mut state = self.lock();
        if state.ssm.gateway.is_none() {
            state.ssm.gateway = Some(gateway::listen(&own, config)?);
        }
        Ok(())
    }

    pub(super) fn add(&self, mut new: Vec<Instance>) -> io::Result<Vec<String>> {
        let mut state = self.lock();
        let mut taken = HashSet::with_capacity(new.len());
        for instance in &mut new {
            state.complete(instance);
            if state.fleet.get(&instance.id).is_some() || !taken.insert(instance.id.clone()) {
                return Err(io::Error::other(format!("instance {} is there already", instance.id)));
            }
        }
        if self.form == Form::Loopback {
            new.iter_mut().try_for_each(|instance| self.give_port(instance))?;
        }
        self.route(&new)?;
        let ids = new.iter().map(|instance| instance.id.clone()).collect();
        for instance in new {
            state.fleet.push(instance);
        }
        self.net.reconcile(self.form, state.fleet.all())?;
        Ok(ids)
    }

    /// Plays an instance on a port of 127.0.0.1 and says so in its tags. One that is away needs none, which leaves
    /// room for more instances than there are ports.
    fn give_port(&self, instance: &mut Instance) -> io::Result<()> {
        if instance.network == Network::Away {
            return Ok(());
        }
        instance.address = "127.0.0.1".into();
        instance.listen = self.net.reserve(&instance.id)?;
        instance.tags.insert("ssh-eic:port".into(), instance.listen.to_string());
        instance.tags.entry("ssh-eic:user".into()).or_insert_with(|| self.user.clone());
        Ok(())
    }

    /// Makes the instances' addresses local where they are not.
    fn route(&self, instances: &[Instance]) -> io::Result<()> {
        if self.form == Form::Loopback {
            return Ok(());
        }
        let all = instances.iter().flat_map(|i| [&i.address, &i.public_address, &i.ipv6]).map(String::as_str);
        let furnished = |address: &str| ["10.", "127.", "fd"].iter().any(|prefix| address.starts_with(prefix));
        namespace::add_addresses(all.filter(|address| address.parse::<IpAddr>().is_ok() && !furnished(address)))
    }

    pub(super) fn update(&self, id: &str, change: Change) -> io::Result<()> {
        let mut state = self.lock();
        let instance = state.fleet.get_mut(id).ok_or_else(|| unknown(id))?;
        let Change { state: new_state, address, public_address, ipv6, network, image, console, tags, listen, .. } =
            change;
        set(&mut instance.instance_connect, change.instance_connect);
        set(&mut instance.platform, change.platform);
        if let Some(new) = new_state {
            instance.state = new;
            instance.transition = Timestamp::now().as_second();
        }
        if self.form == Form::Namespaces {
            set(&mut instance.address, address);
            set(&mut instance.listen, listen);
        }
        set(&mut instance.public_address, public_address);
        set(&mut instance.ipv6, ipv6);
        set(&mut instance.network, network);
        set(&mut instance.image, image);
        set(&mut instance.console, console);
        change.console_output.is_some().then(|| instance.console_output.clone_from(&change.console_output));
        change.console_snapshot.is_some().then(|| instance.console_snapshot.clone_from(&change.console_snapshot));
        change.host_certificate.is_some().then(|| instance.host_certificate.clone_from(&change.host_certificate));
        if change.reboot {
            (instance.console, instance.console_output, instance.console_snapshot) = (Console::Silent, None, None);
        }
        if self.form == Form::Loopback && instance.address != "127.0.0.1" {
            self.give_port(instance)?;
        }
        for (key, value) in tags {
            match value {
                Some(value) => instance.tags.insert(key, value),
                None => instance.tags.remove(&key),
            };
        }
        let instance = instance.clone();
        self.route(std::slice::from_ref(&instance))?;
        self.net.reconcile(self.form, state.fleet.all())?;
        drop(state);
        if instance.state != InstanceState::Running || change.reboot {
            self.children.kill(id);
        }
        if change.new_host_key || change.host_certificate.is_some() {
            sshd::update_host_keys(self, &instance, change.new_host_key)?;
        }
        Ok(())
    }

    pub(super) fn remove(&self, id: &str) -> io::Result<()> {
        let mut state = self.lock();
        if !state.fleet.remove(id) {
            return Err(unknown(id));
        }
        self.net.reconcile(self.form, state.fleet.all())?;
        drop(state);
        self.children.kill(id);
        sshd::forget(self, id);
        Ok(())
    }
}

fn set<T>(field: &mut T, new: Option<T>) {
    if let Some(new) = new {
        *field = new;
    }
}

fn unknown(id: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no instance {id}"))
}

impl State {
    /// The instance at an address, running ones first.
    pub(super) fn at(&self, address: IpAddr, port: u16) -> Option<&Arc<Instance>> {
        let address = address.to_string();
        let here = |i: &&Arc<Instance>| {
            i.listen == port
                && i.network != Network::Away
                && i.state != InstanceState::Terminated
                && [&i.address, &i.public_address, &i.ipv6].contains(&&address)
        };
        let mut found = self.fleet.all().iter().filter(here);
        let first = found.clone().next();
        found.find(|i| i.state == InstanceState::Running).or(first)
    }

    /// The proxy on a port, and its requests.
    pub(super) fn proxy(&mut self, port: u16) -> io::Result<&mut (Proxy, Vec<ProxyRequest>)> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("no proxy on port {port}"));
        self.proxies.get_mut(&port).ok_or_else(missing)
    }

    /// A number that no request has had.
    pub(crate) fn next_request(&mut self) -> u64 {
        self.requests += 1;
        self.requests
    }

    /// Fills in what a test left open.
    fn complete(&mut self, instance: &mut Instance) {
        self.serial += 1;
        let serial = self.serial;
        if instance.id.is_empty() {
            // Odd multiplication is a bijection: ids look random, differ early and are the same in every run.
            instance.id = format!("i-0{:016x}", serial.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        }
        if instance.address.is_empty() {
            instance.address = format!("10.{}.{}.{}", 64 + (serial >> 16 & 63), serial >> 8 & 255, serial & 255);
        }
        if instance.availability_zone.is_empty() {
            instance.availability_zone = format!("{}a", instance.region);
        }
        let now = Timestamp::now().as_second();
        for time in [&mut instance.launched, &mut instance.transition] {
            if *time == 0 {
                *time = now;
            }
        }
    }
}

/// How far throttling switches have been used up.
#[derive(Debug, Default)]
pub(crate) struct Counters(HashMap<String, (Instant, f64, u32)>);

impl Counters {
    pub(super) fn forget(&mut self, key: &str) {
        self.0.remove(key);
    }

    /// Whether one more call is to be refused.
    pub(crate) fn refuses(&mut self, key: &str, throttle: &Throttle) -> bool {
        let burst = throttle.burst.max(1.0);
        let now = Instant::now();
        let (last, tokens, refused) = self.0.entry(key.to_owned()).or_insert((now, burst, 0));
        if *refused < throttle.times {
            *refused += 1;
            return true;
        }
        if throttle.rate_per_s <= 0.0 {
            return false;
        }
        *tokens = (*tokens + now.duration_since(*last).as_secs_f64() * throttle.rate_per_s).min(burst);
        *last = now;
        let refuse = *tokens < 1.0;
        if !refuse {
            *tokens -= 1.0;
        }
        refuse
    }
}
