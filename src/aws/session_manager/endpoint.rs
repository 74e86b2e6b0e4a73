//! Where the service is: an endpoint that the user configured, else the regional host name.

use aws_types::service_config::ServiceConfigKey;

use crate::aws::credentials::Session;
use crate::domain::policy::partition;
use crate::error::{Error, Kind, Result};

/// The domains of a partition's services and of its dual-stack endpoints, which some partitions do not have.
const DOMAINS: [(&str, &str, Option<&str>); 8] = [
    ("aws", "amazonaws.com", Some("api.aws")),
    ("aws-cn", "amazonaws.com.cn", Some("api.amazonwebservices.com.cn")),
    ("aws-us-gov", "amazonaws.com", Some("api.aws")),
    ("aws-iso", "c2s.ic.gov", None),
    ("aws-iso-b", "sc2s.sgov.gov", None),
    ("aws-iso-e", "cloud.adc-e.uk", None),
    ("aws-iso-f", "csp.hci.ic.gov", None),
    ("aws-eusc", "amazonaws.eu", Some("api.amazonwebservices.eu")),
];

/// The endpoint that is configured for `ssm`, by the environment or the profile, as the SDK's own clients read it.
fn configured(session: &Session) -> Option<String> {
    let key = ServiceConfigKey::builder().service_id("SSM").env("AWS_ENDPOINT_URL").profile("endpoint_url").build();
    let of_service = session.config.service_config().zip(key.ok()).and_then(|(config, key)| config.load_config(key));
    of_service.or_else(|| session.config.endpoint_url().map(str::to_owned))
}

/// The URL of the service.
pub(super) fn of(session: &Session) -> String {
    configured(session).unwrap_or_else(|| {
        let is_fips = session.config.use_fips().unwrap_or_default();
        regional(&session.region, is_fips, session.config.use_dual_stack().unwrap_or_default())
    })
}

fn regional(region: &str, is_fips: bool, is_dual_stack: bool) -> String {
    let partition = partition(region);
    let (_, domain, dual_stack) = DOMAINS.iter().find(|(name, ..)| *name == partition).unwrap_or(&DOMAINS[0]);
    let dual_stack = dual_stack.filter(|_| is_dual_stack);
    // In GovCloud the plain endpoint is the validated one (botocore's rules for ssm).
    let service = if is_fips && (partition != "aws-us-gov" || dual_stack.is_some()) { "ssm-fips" } else { "ssm" };
    format!("https://{service}.{region}.{}", dual_stack.unwrap_or(domain))
}

/// Refuses a stream URL outside AWS, to which the token would go. With a configured endpoint any host is accepted,
/// since the user chose another service.
///
/// # Errors
///
/// [`Kind::Unavailable`] naming the host.
pub fn check_stream_url(session: &Session, url: &str) -> Result<()> {
    if is_acceptable(url, configured(session).is_some()) {
        return Ok(());
    }
    let host: String = host(url).unwrap_or_default().chars().filter(char::is_ascii_graphic).take(100).collect();
    Err(Error::new(Kind::Unavailable, format!("AWS returned a data channel on the unexpected host {host:?}"))
        .hint("check that no proxy changes the responses of AWS"))
}

fn host(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("wss://").or_else(|| url.strip_prefix("ws://"))?;
    let authority = rest.split(['/', '?', '#']).next()?;
    (!authority.contains('@')).then(|| authority.rsplit_once(':').map_or(authority, |(host, _)| host))
}

fn is_acceptable(url: &str, is_configured: bool) -> bool {
    let Some(host) = host(url).filter(|_| url.bytes().all(|byte| byte.is_ascii_graphic())) else { return false };
    if is_configured {
        return !host.is_empty();
    }
    let is_data_channel = host.split('.').any(|label| label == "ssmmessages" || label.starts_with("ssmmessages-"));
    let is_aws = DOMAINS.iter().any(|(_, domain, dual_stack)| {
        [Some(*domain), *dual_stack]
            .into_iter()
            .flatten()
            .any(|domain| host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')))
    });
    url.starts_with("wss://") && is_data_channel && is_aws
}

#[cfg(test)]
mod tests {
    use super::{is_acceptable, regional};

    #[test]
    fn host_names_of_partitions_fips_and_dual_stack() {
        let host = |region, is_fips, is_dual_stack| regional(region, is_fips, is_dual_stack);
        assert_eq!(host("eu-west-1", false, false), "https://ssm.eu-west-1.amazonaws.com");
        assert_eq!(host("us-east-1", true, false), "https://ssm-fips.us-east-1.amazonaws.com");
        assert_eq!(host("us-east-1", true, true), "https://ssm-fips.us-east-1.api.aws");
        assert_eq!(host("eu-west-1", false, true), "https://ssm.eu-west-1.api.aws");
        assert_eq!(host("cn-north-1", false, false), "https://ssm.cn-north-1.amazonaws.com.cn");
        assert_eq!(host("cn-north-1", false, true), "https://ssm.cn-north-1.api.amazonwebservices.com.cn");
        assert_eq!(host("us-gov-west-1", true, false), "https://ssm.us-gov-west-1.amazonaws.com");
    }

    #[test]
    fn a_token_goes_to_ssmmessages_of_aws_only() {
        let path = "/v1/data-channel/alice@example.com-0a1b?role=publish_subscribe&cell-number=AAE+a/b==";
        let is_ok = |host: &str| is_acceptable(&format!("{host}{path}"), false);
        assert!(is_ok("wss://ssmmessages.eu-west-1.amazonaws.com"));
        assert!(is_ok("wss://ssmmessages-fips.us-east-1.amazonaws.com:443"));
        assert!(is_ok("wss://ssmmessages.cn-north-1.amazonaws.com.cn"));
        for refused in [
            "ws://ssmmessages.eu-west-1.amazonaws.com",
            "wss://ssmmessages.eu-west-1.amazonaws.com.example.org",
            "wss://ssmmessages.eu-west-1.xamazonaws.com",
            "wss://example.org",
            "wss://ssmmessages.eu-west-1.amazonaws.com@example.org",
            "https://ssmmessages.eu-west-1.amazonaws.com",
            "",
        ] {
            assert!(!is_ok(refused), "{refused}");
        }
        assert!(is_acceptable("wss://127.0.0.1:4433/x", true) && is_acceptable("ws://127.0.0.1:80/x", true));
        assert!(!is_acceptable("wss://a/b\r\nx", true));
    }
}
