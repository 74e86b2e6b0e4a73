//! EC2 Instance Connect Endpoints: listing those of a VPC, and the signed URL that opens a tunnel.

use std::fmt;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::ProvideCredentials;
use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{Ec2InstanceConnectEndpoint, Filter};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4;
use serde::{Deserialize, Serialize};

use crate::aws::credentials::{Session, described};
use crate::aws::failure;
use crate::aws::pages::Pages;
use crate::domain::endpoint::{AddressType, Endpoint, Names, USABLE_STATES};
use crate::error::{Error, Kind, Result};

const DESCRIBE: &str = "ec2:DescribeInstanceConnectEndpoints";
/// How long a URL can be used. AWS allows no more.
pub const URL_LIFETIME: Duration = Duration::from_mins(1);

/// A URL with a signature and perhaps a session token. It can be printed by nothing.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SignedUrl(String);

impl SignedUrl {
    /// The URL, for the connection only.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignedUrl(…)")
    }
}

/// The endpoints of a VPC that are in a usable state, all pages.
///
/// # Errors
///
/// As [`failure::explain`].
pub async fn of_vpc(session: &Session, vpc: &str) -> Result<Vec<Endpoint>> {
    list(session, vec![filter("vpc-id", &[vpc]), filter("state", &USABLE_STATES)]).await
}

/// The endpoints of a VPC in any state, all pages.
///
/// # Errors
///
/// As [`failure::explain`].
pub async fn in_any_state(session: &Session, vpc: &str) -> Result<Vec<Endpoint>> {
    list(session, vec![filter("vpc-id", &[vpc])]).await
}

fn filter(name: &str, values: &[&str]) -> Filter {
    let values = values.iter().map(|&value| value.to_owned()).collect();
    Filter::builder().name(name).set_values(Some(values)).build()
}

async fn list(session: &Session, filters: Vec<Filter>) -> Result<Vec<Endpoint>> {
    let client = Client::new(&session.config);
    let mut found = Vec::new();
    let (mut pages, mut next) = (Pages::new(DESCRIBE), None);
    loop {
        let page = client
            .describe_instance_connect_endpoints()
            .set_filters(Some(filters.clone()))
            .set_next_token(next.take())
            .send()
            .await
            .map_err(|error| failure::explain(DESCRIBE, "*", session, &error).error)?;
        found.extend(page.instance_connect_endpoints.unwrap_or_default().into_iter().filter_map(read));
        next = pages.next(page.next_token)?;
        if next.is_none() {
            return Ok(found);
        }
    }
}

fn read(described: Ec2InstanceConnectEndpoint) -> Option<Endpoint> {
    let public = described.public_dns_names.as_ref();
    let of_ipv4 = public.and_then(|names| names.ipv4.as_ref());
    let of_both = public.and_then(|names| names.dualstack.as_ref());
    let names = Names {
        ipv4: described.dns_name.or_else(|| of_ipv4.and_then(|names| names.dns_name.clone())),
        ipv4_fips: described.fips_dns_name.or_else(|| of_ipv4.and_then(|names| names.fips_dns_name.clone())),
        dualstack: of_both.and_then(|names| names.dns_name.clone()),
        dualstack_fips: of_both.and_then(|names| names.fips_dns_name.clone()),
    };
    // Ids are printed and become file names.
    let is_id = |id: &String| id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let printable = |text: Option<String>| text.filter(|text| text.bytes().all(|b| b.is_ascii_graphic()));
    Some(Endpoint {
        id: described.instance_connect_endpoint_id.filter(is_id)?,
        arn: printable(described.instance_connect_endpoint_arn).unwrap_or_default(),
        owner: printable(described.owner_id).unwrap_or_default(),
        vpc: described.vpc_id.filter(is_id).unwrap_or_default(),
        subnet: described.subnet_id.filter(is_id).unwrap_or_default(),
        state: described.state.map(|state| state.as_str().to_owned()).unwrap_or_default(),
        address_type: AddressType::parse(described.ip_address_type.as_ref().map_or("", |kind| kind.as_str())),
        names,
        security_groups: described.security_group_ids.unwrap_or_default().into_iter().filter(is_id).collect(),
        preserve_client_ip: described.preserve_client_ip.unwrap_or_default(),
    })
}

/// The DNS name of an endpoint under the session's FIPS and dual-stack settings.
///
/// # Errors
///
/// [`Kind::Unavailable`] if it has no such name.
pub fn host<'e>(session: &Session, endpoint: &'e Endpoint) -> Result<&'e str> {
    let fips = session.config.use_fips().unwrap_or_default();
    endpoint.names.select(fips, session.config.use_dual_stack().unwrap_or_default()).ok_or_else(|| {
        let kind = if fips { "FIPS name" } else { "DNS name" };
        Error::new(Kind::Unavailable, format!("{} has no {kind}", endpoint.id))
            .hint("unset use_fips_endpoint, or set another route for the host in config.toml")
    })
}

/// A URL that opens a tunnel to port 22 of an address within [`URL_LIFETIME`]. `max_duration` is in seconds.
///
/// # Errors
///
/// [`Kind::Credentials`] without credentials.
pub async fn open_tunnel_url(
    session: &Session,
    endpoint: &Endpoint,
    address: &IpAddr,
    max_duration: u16,
) -> Result<SignedUrl> {
    let host = host(session, endpoint)?;
    let missing = || Error::new(Kind::Credentials, format!("no AWS credentials for {}", described(&session.identity)));
    let provider = session.config.credentials_provider().ok_or_else(missing)?;
    let credentials = provider.provide_credentials().await.map_err(|error| missing().because(error))?;
    let query = [
        ("instanceConnectEndpointId", endpoint.id.clone()),
        ("maxTunnelDuration", max_duration.to_string()),
        ("privateIpAddress", address.to_string()),
        ("remotePort", "22".to_owned()),
    ];
    let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    let url = format!("https://{host}/openTunnel?{}", query.join("&"));
    presigned(url, &credentials.into(), &session.region, SystemTime::now()).map(SignedUrl)
}

fn presigned(
    mut url: String,
    identity: &aws_smithy_runtime_api::client::identity::Identity,
    region: &str,
    time: SystemTime,
) -> Result<String> {
    let failed = || Error::new(Kind::Unavailable, "the URL of the tunnel cannot be signed");
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(URL_LIFETIME);
    let params = v4::SigningParams::builder()
        .identity(identity)
        .region(region)
        .name("ec2-instance-connect")
        .time(time)
        .settings(settings)
        .build()
        .map_err(|error| failed().because(error))?;
    let request =
        SignableRequest::new("GET", &url, std::iter::empty(), SignableBody::Bytes(b"")).map_err(|_| failed())?;
    // Neither error is kept: it could contain the URL.
    let (instructions, _) = sign(request, &params.into()).map_err(|_| failed())?.into_parts();
    for (name, value) in instructions.params() {
        let _ = write!(url, "&{name}={}", encoded(value));
    }
    Ok(url)
}

/// Percent-encoded as in the canonical query of a signature.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut out, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;

    use super::*;

    #[test]
    fn a_signed_url_has_the_token_in_its_query_and_is_not_printed() {
        let credentials = Credentials::new("AKIDEXAMPLE", "secret", Some("a+b/c=".into()), None, "test");
        let url = "https://eice-1.example.com/openTunnel?privateIpAddress=fd00%3A%3A1".to_owned();
        let time = std::time::UNIX_EPOCH + Duration::from_hours(498_769);
        let url = SignedUrl(presigned(url, &credentials.into(), "eu-west-1", time).unwrap());
        for part in [
            "privateIpAddress=fd00%3A%3A1&",
            "X-Amz-Expires=60",
            "X-Amz-Security-Token=a%2Bb%2Fc%3D",
            "X-Amz-Credential=AKIDEXAMPLE%2F20261125%2Feu-west-1%2Fec2-instance-connect%2Faws4_request",
            "X-Amz-SignedHeaders=host",
            "X-Amz-Signature=",
        ] {
            assert!(url.expose().contains(part), "{part}: {}", url.expose());
        }
        assert_eq!(format!("{url:?}"), "SignedUrl(…)");
    }
}
