//! EC2 Instance Connect, JSON 1.1: validates a push as AWS does and lets the key in.

use std::time::Duration;

use serde_json::json;

use super::Context;
use super::dialect::{Fault, Service};
use crate::model::State;

const DEFAULT_TTL_S: f64 = 60.0;

pub(super) fn perform(context: &Context<'_>, action: &str) -> Result<String, Fault> {
    match action {
        "SendSSHPublicKey" => push(context),
        _ => Err(Service::Eic.unknown_action(action)),
    }
}

fn push(context: &Context<'_>) -> Result<String, Fault> {
    let param = |name: &str| context.params.get(name).map_or("", String::as_str);
    let (id, user, key) = (param("InstanceId"), param("InstanceOSUser"), param("SSHPublicKey"));
    validate(id, user, key)?;
    let (ttl, is_taken) = {
        let state = context.world.lock();
        let caller = &context.caller;
        let instance = state.fleet.get(id).filter(|i| i.account == caller.account && i.region == caller.region);
        let Some(instance) = instance else {
            let message = format!("The instance ID '{id}' does not exist");
            return Err(Fault::new(400, "EC2InstanceNotFoundException", message));
        };
        if instance.state != State::Running {
            let message = format!("The instance {id} is not in the running state");
            return Err(Fault::new(400, "EC2InstanceStateInvalidException", message));
        }
        (state.switches.key_ttl_s.unwrap_or(DEFAULT_TTL_S), instance.instance_connect)
    };
    let ttl = Duration::try_from_secs_f64(ttl).unwrap_or(Duration::ZERO);
    // AWS does not notice an instance that does not look up keys.
    if is_taken {
        let accepted = context.world.keys.push(id, user, key.trim_end(), ttl);
        accepted.map_err(|error| Fault::new(500, "ServiceException", error.to_string()))?;
    }
    Ok(json!({"RequestId": context.request_id, "Success": true}).to_string())
}

fn validate(id: &str, user: &str, key: &str) -> Result<(), Fault> {
    let invalid = |what: &str| Err(Fault::new(400, "InvalidArgsException", what));
    if !is_instance_id(id) {
        return invalid("Provided instanceID is invalid");
    }
    if !is_os_user(user) {
        return invalid("Provided instanceOSUser is invalid");
    }
    let known_type = key.starts_with("ssh-ed25519 ") || key.starts_with("ssh-rsa ");
    if !(80..=4096).contains(&key.len()) || !known_type || key.trim_end().contains(['\n', '\r']) {
        return invalid("Provided public key is invalid");
    }
    Ok(())
}

/// `^i-[a-f0-9]+$`, 10 to 32 characters.
fn is_instance_id(id: &str) -> bool {
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    (10..=32).contains(&id.len()) && id.strip_prefix("i-").is_some_and(|rest| rest.chars().all(hex))
}

/// `[A-Za-z_][A-Za-z0-9@._-]{0,30}[A-Za-z0-9$_-]?`, or digits first if a letter or one of `@._-` follows them.
fn is_os_user(user: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || "@._-".contains(c);
    let Some(last) = user.chars().last() else { return false };
    if user.len() > 32 {
        return false;
    }
    let body = &user[..user.len() - last.len_utf8()];
    let begins = user.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let digits_first = user.starts_with(|c: char| c.is_ascii_digit()) && !user.chars().all(|c| c.is_ascii_digit());
    (begins || digits_first) && body.chars().all(inner) && (inner(last) || (last == '$' && !body.is_empty()))
}
