//! STS, query XML: the caller's identity, and assuming a role.

use super::Context;
use super::dialect::{Fault, Service};
use super::xml::Xml;
use crate::identity::Credential;
use crate::program::random_word;
use crate::server::Request;

pub(super) const VERSION: &str = "2011-06-15";
pub(super) const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";
pub(super) const ROLE_ARN: &str = "RoleArn";
const DEFAULT_DURATION_S: i64 = 3600;

/// Whether the action is one that carries a token instead of a signature.
pub(super) fn is_unsigned(request: &Request) -> bool {
    request.form().iter().any(|(key, value)| key == "Action" && value == "AssumeRoleWithWebIdentity")
}

/// The document around a result.
pub(super) fn wrap(action: &str, request_id: &str, result: &str) -> String {
    format!(
        "<{action}Response xmlns=\"{NAMESPACE}\"><{action}Result>{result}</{action}Result>\
         <ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata></{action}Response>"
    )
}

pub(super) fn perform(context: &Context<'_>, action: &str) -> Result<String, Fault> {
    match action {
        "GetCallerIdentity" => Ok(caller_identity(context)),
        "AssumeRole" | "AssumeRoleWithWebIdentity" => assume_role(context, action),
        _ => Err(Service::Sts.unknown_action(action)),
    }
}

fn caller_identity(context: &Context<'_>) -> String {
    let mut xml = Xml::new();
    xml.text("Arn", &context.caller.arn);
    xml.text("UserId", &context.caller.user_id);
    xml.text("Account", &context.caller.account);
    xml.finish()
}

fn assume_role(context: &Context<'_>, action: &str) -> Result<String, Fault> {
    let param = |name: &str| context.params.get(name).map_or("", String::as_str);
    let (role, session) = (param(ROLE_ARN), param("RoleSessionName"));
    let Some((account, name)) = parse_role(role) else {
        return Err(Fault::new(400, "ValidationError", format!("{role} is invalid")));
    };
    if let Some(wanted) = context.world.lock().switches.external_ids.get(role)
        && wanted != param("ExternalId")
    {
        let who = &context.caller.arn;
        let sentence = format!("User: {who} is not authorized to perform: sts:{action} on resource: {role}");
        return Err(Service::Sts.denied(&sentence));
    }
    let duration = param("DurationSeconds").parse().unwrap_or(DEFAULT_DURATION_S);
    let credential = session_credential(context, account, name, session, duration)?;
    let mut xml = Xml::new();
    xml.element("Credentials", |xml| {
        xml.text("AccessKeyId", &credential.access_key_id);
        xml.text("SecretAccessKey", &credential.secret_access_key);
        xml.text("SessionToken", credential.session_token.as_deref().unwrap_or_default());
        xml.text("Expiration", &iso(credential.expires.unwrap_or_default()));
    });
    xml.element("AssumedRoleUser", |xml| {
        xml.text("AssumedRoleId", &credential.user_id);
        xml.text("Arn", &credential.arn);
    });
    Ok(xml.finish())
}

/// Account and name of a role.
fn parse_role(arn: &str) -> Option<(&str, &str)> {
    let (account, path) = arn.strip_prefix("arn:aws:iam::")?.split_once(":role/")?;
    Some((account, path.rsplit('/').next()?))
}

/// Makes a fresh session of a role and lets it in.
pub(super) fn session_credential(
    context: &Context<'_>,
    account: &str,
    role: &str,
    session: &str,
    duration_s: i64,
) -> Result<Credential, Fault> {
    let random = || random_word().map_err(|error| Fault::new(500, "InternalFailure", error.to_string()));
    let credential = Credential {
        access_key_id: format!("ASIA{}", random()?),
        secret_access_key: random()?,
        session_token: Some(format!("session-of-{account}-{role}-{}", random()?)),
        account: account.to_owned(),
        arn: format!("arn:aws:sts::{account}:assumed-role/{role}/{session}"),
        user_id: format!("AROA{account}{role}:{session}"),
        expires: Some(context.now.as_second() + duration_s),
    };
    let mut state = context.world.lock();
    state.credentials.insert(credential.access_key_id.clone(), credential.clone());
    Ok(credential)
}

/// Unix seconds in ISO 8601.
pub(super) fn iso(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).unwrap_or_default().to_string()
}
