//! `OpenTunnel`: who may open a tunnel through an endpoint, to which instance. The bytes are relayed elsewhere.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::caller::{Caller, Scope};
use super::dialect::{Fault, Service};
use super::{Context, DROP, now, query_signature, request_id, switchboard};
use crate::control::Call;
use crate::model::{Instance, State};
use crate::options::Form;
use crate::server::{Reply, Request, World};
use crate::tunnel::Tunnel;
use crate::vpc::Endpoint;

/// The action's name in policies, switches and the call log.
pub(super) const ACTION: &str = "OpenTunnel";
/// Concurrent connections per endpoint (the service's quota).
const LIMIT: usize = 20;

/// A tunnel that may be opened: its number among the records, and the instance if the endpoint can reach its sshd.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) index: usize,
    pub(crate) instance: Option<Arc<Instance>>,
    pub(crate) max_duration: u64,
}

/// Decides about one request and logs it. `Err(None)`: drop the connection.
pub(crate) fn open(world: &World, request: &Request) -> Result<Accepted, Option<Reply>> {
    let arrival = Timestamp::now().as_millisecond();
    let scope = Scope::of(request);
    let caller = scope.map_or_else(Caller::default, |scope| Caller {
        access_key_id: scope.access_key_id,
        region: scope.region,
        ..Caller::default()
    });
    let params = request.query().into_iter().collect();
    let mut context = Context { world, caller, params, request_id: request_id(world), now: now(world) };
    let outcome = switchboard::pass(&context, Service::Eic, ACTION).and_then(|()| authorize(&mut context, request));
    // A signed URL is a secret: the log holds the tunnel's own parameters only.
    let shown = context.params.iter().filter(|(name, _)| !name.starts_with("X-Amz-"));
    world.lock().calls.push(Call {
        time_ms: arrival,
        service: Service::Eic.name().to_owned(),
        action: ACTION.to_owned(),
        region: context.caller.region.clone(),
        account: context.caller.account.clone(),
        access_key_id: context.caller.access_key_id.clone(),
        params: shown.map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect(),
        status: outcome.as_ref().map_or_else(|fault| if fault.code == DROP { 0 } else { fault.status }, |_| 101),
        error: outcome.as_ref().err().map(|fault| fault.code.clone()),
        request_id: context.request_id.clone(),
    });
    outcome.map_err(|fault| (fault.code != DROP).then(|| refusal(&fault, &context.request_id)))
}

fn refusal(fault: &Fault, request_id: &str) -> Reply {
    // The tunnel's codes have no suffix: AccessDenied, not AccessDeniedException.
    let code = fault.code.strip_suffix("Exception").unwrap_or(&fault.code);
    Reply {
        status: fault.status,
        headers: vec![
            ("x-amzn-RequestId", request_id.to_owned()),
            ("content-type", "application/json".to_owned()),
            ("connection", "close".to_owned()),
        ],
        body: json!({ "ErrorCode": code, "Message": fault.message }).to_string(),
        endless: false,
    }
}

fn authorize(context: &mut Context<'_>, request: &Request) -> Result<Accepted, Fault> {
    if request.path() != "/openTunnel" {
        return Err(Fault::new(404, "ResourceNotFound", "there is only /openTunnel here"));
    }
    let param = |name: &str| context.params.get(name).map_or("", String::as_str);
    let invalid = |name: &str| Fault::new(400, "InvalidParameter", format!("the value of {name} is invalid"));
    let id = param("instanceConnectEndpointId").to_owned();
    let endpoint = context.world.lock().endpoints.get(&id).cloned();
    let endpoint = endpoint.ok_or_else(|| invalid("instanceConnectEndpointId"))?;
    let host = request.header("host").unwrap_or_default();
    let host = host.strip_suffix(":443").unwrap_or(host);
    if !context.world.endpoint_names(&endpoint).contains(host) {
        return Err(Fault::new(400, "InvalidParameter", format!("{host} is not a name of {id}")));
    }
    let credential = context.world.lock().credentials.get(&context.caller.access_key_id).cloned();
    let unknown =
        || Fault::new(403, "UnrecognizedClientException", "the security token included in the request is invalid");
    let credential = credential.ok_or_else(unknown)?;
    query_signature::verify(request, &credential, &endpoint.region, context.now)
        .map_err(|(code, text)| Fault::new(403, code, text))?;
    let switched = context.world.lock().switches.expired.iter().flatten().any(|key| *key == credential.access_key_id);
    if switched || credential.expires.is_some_and(|expires| expires <= context.now.as_second()) {
        return Err(Fault::new(403, "ExpiredTokenException", "the security token included in the request is expired"));
    }
    let address = param("privateIpAddress").parse::<IpAddr>().map_err(|_| invalid("privateIpAddress"))?;
    let port: u16 = param("remotePort").parse().map_err(|_| invalid("remotePort"))?;
    let max_duration = match context.params.get("maxTunnelDuration") {
        None => 3600,
        Some(text) => {
            text.parse().ok().filter(|s| (1..=3600).contains(s)).ok_or_else(|| invalid("maxTunnelDuration"))?
        }
    };
    context.caller.account.clone_from(&credential.account);
    context.caller.arn.clone_from(&credential.arn);
    context.caller.user_id.clone_from(&credential.user_id);
    switchboard::permit(context, Service::Eic, ACTION).map_err(|fault| Fault { status: 403, ..fault })?;
    if credential.account != endpoint.account {
        return Err(Fault::new(403, "AccessDenied", format!("{id} belongs to another account")));
    }
    let form = context.world.form;
    if !matches!(port, 22 | 3389) && form == Form::Namespaces {
        return Err(invalid("remotePort"));
    }
    if !endpoint.accepts(address) {
        return Err(invalid("privateIpAddress"));
    }
    let instance = find(context.world, &endpoint, address, port).ok_or_else(|| invalid("privateIpAddress"))?;
    let tunnel = Tunnel {
        endpoint: id,
        instance: instance.id.clone(),
        address: param("privateIpAddress").to_owned(),
        port,
        max_duration,
        access_key_id: credential.access_key_id,
        ..Tunnel::default()
    };
    record(context.world, tunnel, instance)
}

/// The instance in the endpoint's VPC, the running one first. All instances of the loopback form have one address and
/// differ by port; 22 means the first of them.
fn find(world: &World, endpoint: &Endpoint, address: IpAddr, port: u16) -> Option<Arc<Instance>> {
    let state = world.lock();
    let has = |text: &str| text.parse::<IpAddr>().is_ok_and(|own| own == address);
    let mut found: Vec<_> = state
        .fleet
        .all()
        .iter()
        .filter(|i| i.vpc == endpoint.vpc && i.region == endpoint.region && i.state != State::Terminated)
        .filter(|i| has(&i.address) || has(&i.ipv6))
        .filter(|i| world.form == Form::Namespaces || port == 22 || i.listen == port)
        .cloned()
        .collect();
    found.sort_by_key(|i| i.state != State::Running);
    found.into_iter().next()
}

/// Counts the tunnel and records it, or refuses the one that is too many.
fn record(world: &World, mut tunnel: Tunnel, instance: Arc<Instance>) -> Result<Accepted, Fault> {
    let mut state = world.lock();
    let open = state.tunnels.iter().filter(|t| t.closed.is_none() && t.endpoint == tunnel.endpoint).count();
    let switches = state.switches.tunnels.clone().unwrap_or_default();
    if open >= switches.limit.unwrap_or(LIMIT) {
        let message = format!("{} has reached its limit of concurrent connections", tunnel.endpoint);
        return Err(Fault::new(429, "TooManyConnections", message));
    }
    tunnel.concurrent = open + 1;
    let listens = world.form == Form::Loopback || instance.listen == tunnel.port;
    let reachable = instance.state == State::Running && listens && !switches.unreachable.contains(&instance.id);
    let max_duration = tunnel.max_duration;
    state.tunnels.push(tunnel);
    Ok(Accepted { index: state.tunnels.len() - 1, instance: reachable.then_some(instance), max_duration })
}
