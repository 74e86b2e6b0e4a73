//! Systems Manager, JSON 1.1: the four calls about sessions, and who may open a data channel.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::caller;
use super::dialect::{Fault, Service};
use super::{Context, header_signature, now, request_id};
use crate::control::Call;
use crate::model::State;
use crate::server::{Request, World};
use crate::ssm::{Entry, SsmSession, SsmSwitches};

const DOCUMENT: &str = "AWS-StartSSHSession";
const OPEN: &str = "OpenDataChannel";

pub(super) fn perform(context: &Context<'_>, action: &str) -> Result<String, Fault> {
    match action {
        "StartSession" => start(context),
        "ResumeSession" => resume(context),
        "TerminateSession" => Ok(terminate(context)),
        "GetConnectionStatus" => Ok(status(context)),
        _ => Err(Service::Ssm.unknown_action(action)),
    }
}

fn param<'a>(context: &'a Context<'_>, name: &str) -> &'a str {
    context.params.get(name).map_or("", String::as_str)
}

fn switches(context: &Context<'_>) -> SsmSwitches {
    context.world.lock().switches.ssm.clone().unwrap_or_default()
}

/// Whether the instance's agent is connected, as far as the caller can know.
fn is_connected(context: &Context<'_>, target: &str) -> bool {
    let not_connected = switches(context).not_connected;
    let state = context.world.lock();
    let caller = &context.caller;
    let instance = state.fleet.get(target).filter(|i| i.account == caller.account && i.region == caller.region);
    instance.is_some_and(|i| i.state == State::Running) && !not_connected.iter().any(|id| id == target)
}

fn start(context: &Context<'_>) -> Result<String, Fault> {
    let (target, document) = (param(context, "Target"), param(context, "DocumentName"));
    let caller = &context.caller;
    if document != DOCUMENT {
        return Err(Fault::new(400, "InvalidDocument", format!("Document {document} does not exist.")));
    }
    if switches(context).deny_document {
        let resource = format!("arn:aws:ssm:{}::document/{DOCUMENT}", caller.region);
        let sentence =
            format!("User: {} is not authorized to perform: ssm:StartSession on resource: {resource}", caller.arn);
        return Err(Service::Ssm.denied(&sentence));
    }
    let parameters: Value = serde_json::from_str(param(context, "Parameters")).unwrap_or_default();
    let port = parameters["portNumber"][0].as_str().filter(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let port = port.ok_or_else(|| Fault::new(400, "ValidationException", "portNumber is invalid"))?;
    if context.params.get("Reason").is_some_and(|reason| reason.is_empty() || reason.len() > 256) {
        return Err(Fault::new(400, "ValidationException", "Reason has a length of 1 to 256"));
    }
    if !is_connected(context, target) {
        return Err(Fault::new(400, "TargetNotConnected", format!("{target} is not connected.")));
    }
    let internal = |error: std::io::Error| Fault::new(500, "InternalServerError", error.to_string());
    context.world.ensure_gateway().map_err(internal)?;
    let number = context.world.lock().next_request();
    let name = caller.arn.rsplit('/').next().unwrap_or("user");
    let id = format!("{name}-{:017x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let record = SsmSession {
        id: id.clone(),
        instance: target.to_owned(),
        port: port.to_owned(),
        access_key_id: caller.access_key_id.clone(),
        ..SsmSession::default()
    };
    let entry =
        Entry { record, token: String::new(), target: String::new(), generation: 0, agent: std::sync::Arc::default() };
    context.world.lock().ssm.all.insert(id.clone(), entry);
    issue(context, &id)
}

/// A new URL and token for a session; those before are no longer valid.
fn issue(context: &Context<'_>, id: &str) -> Result<String, Fault> {
    let mut state = context.world.lock();
    let number = state.next_request();
    let gateway = state.ssm.gateway;
    let (Some(entry), Some(gateway)) = (state.ssm.all.get_mut(id), gateway) else { return Err(unknown(id)) };
    entry.token = format!("token/{number}/of+{id}==");
    entry.target = format!("/v1/data-channel/{id}?role=publish_subscribe&cell-number=AAE{number}+a/b+c==");
    let url = format!("wss://{gateway}{}", entry.target);
    Ok(json!({"SessionId": id, "StreamUrl": url, "TokenValue": entry.token}).to_string())
}

fn unknown(id: &str) -> Fault {
    Fault::new(400, "DoesNotExistException", format!("Session {id} does not exist."))
}

fn resume(context: &Context<'_>) -> Result<String, Fault> {
    let (id, switches) = (param(context, "SessionId"), switches(context));
    {
        let mut state = context.world.lock();
        let entry = state.ssm.all.get_mut(id).filter(|_| !switches.refuse_resume).ok_or_else(|| unknown(id))?;
        if entry.record.is_terminated || entry.record.ended.is_some() {
            return Err(unknown(id));
        }
        if switches.resume_without_token {
            return Ok(json!({"SessionId": id}).to_string());
        }
        entry.record.resumed += 1;
    }
    issue(context, id)
}

fn terminate(context: &Context<'_>) -> String {
    let id = param(context, "SessionId");
    if let Some(entry) = context.world.lock().ssm.all.get_mut(id) {
        entry.record.is_terminated = true;
        entry.record.ended.get_or_insert_default();
    }
    json!({"SessionId": id}).to_string()
}

fn status(context: &Context<'_>) -> String {
    let target = param(context, "Target");
    let status = if is_connected(context, target) { "connected" } else { "notconnected" };
    json!({"Target": target, "Status": status}).to_string()
}

/// Decides about an upgrade and logs it: the session's id, or status and text of the refusal.
pub(crate) fn authorize_data_channel(world: &World, request: &Request) -> Result<String, (u16, String)> {
    let outcome = authorize(world, request);
    let claimed = caller::claimed(request);
    let request_id = request_id(world);
    world.lock().calls.push(Call {
        time_ms: Timestamp::now().as_millisecond(),
        service: "ssmmessages".to_owned(),
        action: OPEN.to_owned(),
        region: claimed.region,
        account: claimed.account,
        access_key_id: claimed.access_key_id,
        params: json!({"path": request.path()}),
        status: outcome.as_ref().map_or_else(|(status, _)| *status, |_| 101),
        error: outcome.as_ref().err().map(|(_, text)| text.clone()),
        request_id,
    });
    outcome
}

fn authorize(world: &World, request: &Request) -> Result<String, (u16, String)> {
    let caller = caller::identify(world, Service::Ssm, request, now(world)).map_err(|fault| (403, fault.message))?;
    let state = world.lock();
    let key = state.credentials.get(&caller.access_key_id).ok_or((403, "unknown access key".to_owned()))?;
    header_signature::verify(request, key, &caller.region, "ssmmessages").map_err(|why| (403, why))?;
    if state.switches.deny.iter().flatten().any(|denied| denied == OPEN) {
        return Err((403, format!("not authorized to perform: ssmmessages:{OPEN}")));
    }
    if let Some(status) = state.switches.ssm.as_ref().and_then(|ssm| ssm.refuse_upgrade) {
        return Err((status, "refused".to_owned()));
    }
    let session = state.ssm.all.values().find(|entry| entry.target == request.target);
    let session = session.ok_or((400, "no session has this URL".to_owned()))?;
    if session.record.ended.is_some() {
        return Err((400, "the session is over".to_owned()));
    }
    Ok(session.record.id.clone())
}
