//! What the switches make of a call: delay, forced failure, throttling, denial.

use std::time::Duration;

use super::dialect::{Fault, Service};
use super::{Context, sts};

/// Whether a switch's key, `ACTION` or `ACTION@SCOPE`, means this call.
fn means(context: &Context<'_>, key: &str, action: &str) -> bool {
    let (wanted, scope) = key.split_once('@').unwrap_or((key, ""));
    let param = |name: &str| context.params.get(name).map_or("", String::as_str);
    let caller = &context.caller;
    let scopes = [
        caller.account.as_str(),
        caller.region.as_str(),
        caller.access_key_id.as_str(),
        param("InstanceId"),
        param("Target"),
        param("InstanceOSUser"),
        param("RoleArn"),
        param("account_id"),
        param("instanceConnectEndpointId"),
    ];
    (wanted == "*" || wanted == action) && (scope.is_empty() || scopes.contains(&scope))
}

/// Waits for the configured latency, then accepts or fails the request; IAM is evaluated afterwards.
pub(super) fn pass(context: &Context<'_>, service: Service, action: &str) -> Result<(), Fault> {
    let delay = {
        let state = context.world.lock();
        let delays = state.switches.latency_ms.iter().filter(|(key, _)| means(context, key, action));
        delays.map(|(_, &ms)| ms).max().unwrap_or_default()
    };
    if delay > 0 {
        std::thread::sleep(Duration::from_millis(delay));
    }
    while context.world.lock().switches.hold.iter().flatten().any(|key| means(context, key, action)) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut guard = context.world.lock();
    let state = &mut *guard;
    for (key, fail) in &mut state.switches.fail {
        if fail.times == Some(0) || !means(context, key, action) {
            continue;
        }
        if let Some(times) = &mut fail.times {
            *times -= 1;
        }
        let message = if fail.message.is_empty() { "An internal error has occurred" } else { &fail.message };
        return Err(Fault::new(fail.status, &fail.code, message));
    }
    for (key, throttle) in &state.switches.throttle {
        if means(context, key, action) && state.counters.refuses(key, throttle) {
            return Err(service.throttled());
        }
    }
    Ok(())
}

/// What IAM and the organization's policies say.
pub(super) fn permit(context: &Context<'_>, service: Service, action: &str) -> Result<(), Fault> {
    let state = context.world.lock();
    let caller = &context.caller;
    let prefix = if service == Service::Oidc { "sso" } else { service.name() };
    let full = format!("{prefix}:{action}");
    let region_denied = state.switches.denied_regions.iter().flatten().any(|region| *region == caller.region);
    let who = format!("User: {} is not authorized to perform: {full}", caller.arn);
    if region_denied && service != Service::Sts {
        return Err(service.denied(&format!("{who} with an explicit deny in a service control policy")));
    }
    if !state.switches.deny.iter().flatten().any(|key| means(context, key, action)) {
        return Ok(());
    }
    let resource = match action {
        "SendSSHPublicKey" | "GetConsoleOutput" => context
            .params
            .get("InstanceId")
            .map(|id| format!(" on resource: arn:aws:ec2:{}:{}:instance/{id}", caller.region, caller.account)),
        super::tunnel::ACTION => context.params.get("instanceConnectEndpointId").map(|id| {
            format!(" on resource: arn:aws:ec2:{}:{}:instance-connect-endpoint/{id}", caller.region, caller.account)
        }),
        "StartSession" => context
            .params
            .get("Target")
            .map(|id| format!(" on resource: arn:aws:ec2:{}:{}:instance/{id}", caller.region, caller.account)),
        "AssumeRole" => context.params.get(sts::ROLE_ARN).map(|role| format!(" on resource: {role}")),
        _ => None,
    };
    let resource = resource.unwrap_or_default();
    let why = format!("because no identity-based policy allows the {full} action");
    Err(service.denied(&format!("{who}{resource} {why}")))
}
