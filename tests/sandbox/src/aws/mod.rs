//! The fake AWS: service and action of a request, its caller, the effect of the switches, and the log.
//!
//! Systems Manager and the endpoint verify signatures; elsewhere the access key identifies the caller. Protocols, error
//! codes, statuses and messages are those of AWS.

mod caller;
mod console;
mod dialect;
mod ec2;
mod eic;
mod filter;
mod header_signature;
mod instances;
mod query_signature;
mod signature;
mod ssm;
mod sso;
mod sts;
mod switchboard;
mod tunnel;
mod vpc;
mod xml;

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::control::Call;
use crate::server::{Reply, Request, World};
use caller::Caller;
use dialect::{Fault, Service};
pub(crate) use ec2::base64;
pub(crate) use ssm::authorize_data_channel;
pub(crate) use tunnel::{Accepted, open as open_tunnel};

/// The file in the sandbox's folder with the actions that have arrived, one a line.
pub(crate) const ARRIVALS: &str = "arrivals";
/// The code of a forced failure that closes the connection instead of answering.
const DROP: &str = "drop";

/// The parameters of a call: the form fields, the query, or the JSON body's members.
type Params = BTreeMap<String, String>;

/// One request that is being processed.
struct Context<'a> {
    world: &'a World,
    caller: Caller,
    params: Params,
    request_id: String,
    now: Timestamp,
}

/// The time as this server believes it to be.
pub(crate) fn now(world: &World) -> Timestamp {
    let skew = world.lock().switches.clock_skew_s.unwrap_or_default();
    Timestamp::now().saturating_add(SignedDuration::from_secs(skew)).unwrap_or(Timestamp::MAX)
}

/// Answers one request, and logs it before the response is sent. `None`: drop the connection.
pub(crate) fn answer(world: &World, request: &Request) -> Option<Reply> {
    let arrival = Timestamp::now().as_millisecond();
    let (service, action, params) = classify(request);
    let now = now(world);
    let request_id = request_id(world);
    let identified = caller::identify(world, service, request, now);
    let caller = identified.as_ref().map_or_else(|_| caller::claimed(request), Clone::clone);
    let context = Context { world, caller, params, request_id, now };
    note_arrival(world, &action);
    let outcome = switchboard::pass(&context, service, &action).and_then(|()| identified.map(drop)).and_then(|()| {
        switchboard::permit(&context, service, &action)?;
        perform(&context, service, &action)
    });
    let (status, error) = match &outcome {
        Ok(_) => (200, None),
        Err(fault) if fault.code == DROP => (0, Some(fault.code.clone())),
        Err(fault) => (fault.status, Some(fault.code.clone())),
    };
    world.lock().calls.push(Call {
        time_ms: arrival,
        service: service.name().to_owned(),
        action: action.clone(),
        region: context.caller.region.clone(),
        account: context.caller.account.clone(),
        access_key_id: context.caller.access_key_id.clone(),
        params: context.params.iter().map(|(k, v)| (k.clone(), Value::from(v.as_str()))).collect(),
        status,
        error,
        request_id: context.request_id.clone(),
    });
    match outcome {
        Ok(body) => {
            let endless = world.lock().switches.endless_body.iter().flatten().any(|wanted| *wanted == action);
            Some(Reply { endless, ..service.success(&action, &context.request_id, body) })
        }
        Err(fault) if fault.code == DROP => None,
        Err(fault) => Some(service.failure(&fault, &context.request_id)),
    }
}

/// Notes an action before anything delays it: a call is logged only with its response. A failure shows in the test.
fn note_arrival(world: &World, action: &str) {
    let file = OpenOptions::new().append(true).create(true).open(world.dir.join(ARRIVALS));
    let _ = file.and_then(|mut file| file.write_all(format!("{action}\n").as_bytes()));
}

/// Service, action and parameters, from where each protocol keeps them.
fn classify(request: &Request) -> (Service, String, Params) {
    if let Some((service, action)) = sso::classify(request) {
        let mut params: Params = request.query().into_iter().collect();
        params.extend(json_members(&request.body));
        return (service, action.to_owned(), params);
    }
    if let Some(target) = request.header("x-amz-target") {
        let action = target.rsplit('.').next().unwrap_or_default().to_owned();
        let service = if target.starts_with("AmazonSSM.") { Service::Ssm } else { Service::Eic };
        return (service, action, json_members(&request.body));
    }
    let params: Params = request.query().into_iter().chain(request.form()).collect();
    let action = params.get("Action").cloned().unwrap_or_default();
    let scope = caller::Scope::of(request);
    let sts = match &scope {
        Some(scope) => scope.service == "sts",
        None => params.get("Version").is_some_and(|version| version == sts::VERSION),
    };
    (if sts { Service::Sts } else { Service::Ec2 }, action, params)
}

/// The members of a JSON object, those that are no text in their JSON form.
fn json_members(body: &[u8]) -> Params {
    let Ok(Value::Object(members)) = serde_json::from_slice(body) else { return Params::new() };
    let text = |value: Value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    members.into_iter().map(|(key, value)| (key, text(value))).collect()
}

fn perform(context: &Context<'_>, service: Service, action: &str) -> Result<String, Fault> {
    match service {
        Service::Ec2 => ec2::perform(context, action),
        Service::Eic => eic::perform(context, action),
        Service::Ssm => ssm::perform(context, action),
        Service::Sts => sts::perform(context, action),
        Service::Sso | Service::Oidc => sso::perform(context, action),
    }
}

/// A UUID-shaped id, unique within the sandbox.
fn request_id(world: &World) -> String {
    let n = world.lock().next_request();
    let random = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{:08x}-{:04x}-4{:03x}-a000-{n:012x}", random >> 32, random >> 16 & 0xffff, random & 0xfff)
}
