//! Which accounts an SSO session reaches, and the role that the person holds in each (ListAccounts, ListAccountRoles of
//! IAM Identity Center).

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_sdk_sso::Client;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::aws::client::{self, RequestLimits};
use crate::aws::pages::Pages;
use crate::aws::profiles::Profiles;
use crate::aws::{failure, sso};
use crate::domain::diagnosis::Cause;
use crate::domain::identity::SsoRole;
use crate::domain::ids::is_account;
use crate::domain::pattern;
use crate::domain::source::Accounts;
use crate::domain::text::shell_word;
use crate::error::{Error, Kind, Result};

/// Requests to the portal at once: it throttles sooner than EC2.
const AT_ONCE: usize = 8;

/// A role in an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// What signs.
    pub role: SsoRole,
    /// The account's name.
    pub account_name: String,
}

/// What an SSO session offers in the accounts of a source.
#[derive(Debug, Default)]
pub struct Offer {
    /// In the order of the account ids, each account with the first of the wanted roles that it offers.
    pub held: Vec<Held>,
    /// Accounts whose roles could not be listed, and why.
    pub failed: Vec<(String, Error)>,
    /// All roles, wanted or not, with the number of accounts that offer them.
    pub roles: BTreeMap<String, usize>,
}

/// Lists the accounts that `wanted` selects and their roles.
///
/// # Errors
///
/// [`Kind::Credentials`] with the command that signs in; [`Kind::Config`] for a session that ~/.aws/config does not have;
/// else what the portal says.
pub async fn offer(wanted: &Accounts) -> Result<Offer> {
    let session = Profiles::load().await?.sso_session(&wanted.session)?;
    let config = client::config(None, Some(session.region.as_ref()), RequestLimits::QUERY).await?;
    let token: Arc<str> = sso::access_token(&session).await?.into();
    let client = Client::new(&config);
    let mut accounts = Vec::new();
    let (mut pages, mut next) = (Pages::new("sso:ListAccounts"), None);
    loop {
        let request = client.list_accounts().access_token(&*token).max_results(100).set_next_token(next.take());
        let page = request.send().await.map_err(|error| refused("sso:ListAccounts", &session.name, &error))?;
        for account in page.account_list.unwrap_or_default() {
            let (id, name) = (account.account_id.unwrap_or_default(), account.account_name.unwrap_or_default());
            let is = |patterns: &[String]| {
                patterns.iter().any(|one| pattern::matches(one, &id) || pattern::matches(one, &name))
            };
            if is(&wanted.only) && !is(&wanted.exclude) && is_account(&id) {
                accounts.push((id, name));
            }
        }
        next = pages.next(page.next_token)?;
        if next.is_none() {
            break;
        }
    }
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    for (account, name) in accounts {
        let (client, token, permits) = (client.clone(), Arc::clone(&token), Arc::clone(&permits));
        let (wanted, session) = (wanted.roles.clone(), session.name.clone());
        tasks.spawn(async move {
            let _permit = permits.acquire().await;
            match roles(&client, &token, &account, &session).await {
                Ok(offered) => {
                    let first = wanted.into_iter().find(|role| offered.contains(role));
                    let held = first.map(|role| Held { role: SsoRole { session, account, role }, account_name: name });
                    Ok((held, offered))
                }
                Err(error) => Err((account, error)),
            }
        });
    }
    let mut offer = Offer::default();
    while let Some(joined) = tasks.join_next().await {
        match joined.map_err(|error| Error::new(Kind::Bug, "a query ended early").because(error))? {
            Ok((held, roles)) => {
                offer.held.extend(held);
                for role in roles {
                    *offer.roles.entry(role).or_default() += 1;
                }
            }
            Err(one) => offer.failed.push(one),
        }
    }
    offer.held.sort_by(|a, b| a.role.account.cmp(&b.role.account));
    offer.failed.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(offer)
}

async fn roles(client: &Client, token: &str, account: &str, session: &str) -> Result<Vec<String>> {
    let mut roles = Vec::new();
    let (mut pages, mut next) = (Pages::new("sso:ListAccountRoles"), None);
    loop {
        let request = client.list_account_roles().access_token(token).account_id(account).max_results(100);
        let page = request.set_next_token(next.take()).send().await;
        let page = page.map_err(|error| refused("sso:ListAccountRoles", session, &error))?;
        roles.extend(page.role_list.unwrap_or_default().into_iter().filter_map(|role| role.role_name));
        next = pages.next(page.next_token)?;
        if next.is_none() {
            return Ok(roles);
        }
    }
}

fn refused<E>(action: &str, session: &str, error: &aws_sdk_sso::error::SdkError<E>) -> Error
where
    E: std::error::Error + Send + Sync + 'static,
{
    let status = error.raw_response().map(|response| response.status().as_u16());
    let told = match status {
        Some(401) => {
            Error::new(Kind::Credentials, format!("the SSO session {session:?} has expired or was signed out"))
                .hint(format!("aws sso login --sso-session {}", shell_word(session)))
                .cause(Cause::SsoExpired)
        }
        Some(403) => Error::new(Kind::Denied, format!("Identity Center denies {action} to the session {session:?}"))
            .hint("ask the administrator of Identity Center")
            .cause(Cause::RoleRefused),
        Some(status) => {
            Error::new(Kind::Unavailable, format!("{action}: Identity Center failed ({status})")).hint("try again")
        }
        None => Error::new(Kind::Unavailable, format!("{action}: Identity Center could not be reached"))
            .hint("check the network, VPN and HTTPS_PROXY; -v shows the details")
            .cause(Cause::AwsUnreachable),
    };
    told.because(failure::causes(error))
}
