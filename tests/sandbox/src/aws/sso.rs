//! IAM Identity Center: the portal that trades a bearer token for credentials, and the token's refresh.

use serde_json::{Value, json};

use super::dialect::{Fault, Service};
use super::{Context, sts};
use crate::identity::{Account, SignIn};
use crate::program::random_word;
use crate::server::Request;

const SESSION_S: i64 = 3600;
/// The most that `max_result` may ask for, and what a page has without it.
const MAX_PAGE: usize = 100;

/// The actions of the portal and of OIDC, by their paths.
pub(super) fn classify(request: &Request) -> Option<(Service, &'static str)> {
    match request.path() {
        "/federation/credentials" => Some((Service::Sso, "GetRoleCredentials")),
        "/assignment/accounts" => Some((Service::Sso, "ListAccounts")),
        "/assignment/roles" => Some((Service::Sso, "ListAccountRoles")),
        "/logout" => Some((Service::Sso, "Logout")),
        "/token" => Some((Service::Oidc, "CreateToken")),
        _ => None,
    }
}

pub(super) fn perform(context: &Context<'_>, action: &str) -> Result<String, Fault> {
    if action == "CreateToken" {
        return create_token(context);
    }
    let sign_in = signed_in(context)?;
    let param = |name: &str| context.params.get(name).map_or("", String::as_str);
    let account = || {
        let found = sign_in.accounts.iter().find(|account| account.id == param("account_id"));
        found.ok_or_else(|| Service::Sso.denied(""))
    };
    match action {
        "GetRoleCredentials" => role_credentials(context, account()?, param("role_name")),
        "ListAccounts" => {
            let list = sign_in.accounts.iter().map(|account| {
                let email = format!("{}@example.com", account.name);
                json!({"accountId": account.id, "accountName": account.name, "emailAddress": email})
            });
            page(context, "accountList", list.collect())
        }
        "ListAccountRoles" => {
            let account = account()?;
            let list = account.roles.iter().map(|role| json!({"roleName": role, "accountId": account.id}));
            page(context, "roleList", list.collect())
        }
        "Logout" => {
            context.world.lock().sign_ins.remove(&context.caller.access_key_id);
            Ok(String::new())
        }
        _ => Err(Service::Sso.unknown_action(action)),
    }
}

/// Whose token this is.
fn signed_in(context: &Context<'_>) -> Result<SignIn, Fault> {
    let token = &context.caller.access_key_id;
    let state = context.world.lock();
    let expired = state.switches.expired.iter().flatten().any(|known| known == token);
    let valid = |sign_in: &&SignIn| !expired && sign_in.expires.is_none_or(|at| at > context.now.as_second());
    let refused = || Fault::new(401, "UnauthorizedException", "Session token not found or invalid");
    state.sign_ins.get(token).filter(valid).cloned().ok_or_else(refused)
}

fn role_credentials(context: &Context<'_>, account: &Account, role: &str) -> Result<String, Fault> {
    if !account.roles.iter().any(|known| known == role) {
        return Err(Service::Sso.denied(""));
    }
    let reserved = format!("AWSReservedSSO_{role}_0123456789abcdef");
    let credential = sts::session_credential(context, &account.id, &reserved, "alice", SESSION_S)?;
    Ok(json!({"roleCredentials": {
        "accessKeyId": credential.access_key_id,
        "secretAccessKey": credential.secret_access_key,
        "sessionToken": credential.session_token,
        "expiration": credential.expires.unwrap_or_default() * 1000,
    }})
    .to_string())
}

fn page(context: &Context<'_>, name: &str, list: Vec<Value>) -> Result<String, Fault> {
    let number = |name: &str| context.params.get(name).map(|text| text.parse::<usize>());
    let invalid = || Fault::new(400, "InvalidRequestException", "Invalid request");
    let size = number("max_result").transpose().map_err(|_| invalid())?.unwrap_or(MAX_PAGE);
    if !(1..=MAX_PAGE).contains(&size) {
        return Err(invalid());
    }
    let start = number("next_token").transpose().map_err(|_| invalid())?.unwrap_or_default();
    let next = (start + size < list.len()).then(|| (start + size).to_string());
    let repeats = context.world.lock().switches.repeat_next_token.iter().flatten().any(|action| match name {
        "accountList" => action == "ListAccounts",
        _ => action == "ListAccountRoles",
    });
    let next = if repeats { Some(start.to_string()) } else { next };
    let items: Vec<Value> = list.into_iter().skip(start).take(size).collect();
    Ok(json!({name: items, "nextToken": next}).to_string())
}

/// The grant `refresh_token`: the same accounts under a new token.
fn create_token(context: &Context<'_>) -> Result<String, Fault> {
    let refresh = context.params.get("refreshToken").filter(|token| !token.is_empty());
    let mut state = context.world.lock();
    let refused = || Fault::new(400, "InvalidGrantException", "Invalid refresh token provided");
    let known = state.sign_ins.values().find(|sign_in| Some(&sign_in.refresh_token) == refresh).cloned();
    let mut renewed = known.ok_or_else(refused)?;
    let internal = |error: std::io::Error| Fault::new(500, "InternalServerException", error.to_string());
    renewed.access_token = random_word().map_err(internal)?;
    let lifetime = state.switches.sso_token_s.unwrap_or(8 * SESSION_S);
    renewed.expires = Some(context.now.as_second() + lifetime);
    if state.switches.rotate_refresh_tokens == Some(true) {
        let spent = std::mem::replace(&mut renewed.refresh_token, random_word().map_err(internal)?);
        for sign_in in state.sign_ins.values_mut().filter(|sign_in| sign_in.refresh_token == spent) {
            sign_in.refresh_token.clear();
        }
    }
    let body = json!({
        "accessToken": renewed.access_token,
        "tokenType": "Bearer",
        "expiresIn": lifetime,
        "refreshToken": renewed.refresh_token,
    });
    state.sign_ins.insert(renewed.access_token.clone(), renewed);
    Ok(body.to_string())
}
