//! The reader compared with the SDK's own parser, both behind the SDK's client, on the same HTTP responses.

use aws_credential_types::Credentials;
use aws_sdk_ec2::config::{BehaviorVersion, Config, Region};
use aws_sdk_ec2::{Client, types};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::date_time::Format;
use proptest::prelude::*;

use super::*;
use crate::aws::limit::LimitedClient;
use crate::domain::described_instances::{InstanceDescription, Tag};

/// Sends every request the same response.
#[derive(Debug, Clone)]
struct Response(u16, String);

impl HttpClient for Response {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Response {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        let status = self.0.try_into().expect("a status");
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(self.1.as_str()))))
    }
}

fn client(response: Response) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(Credentials::new("AKIA", "secret", None, None, "test"))
        .http_client(LimitedClient(SharedHttpClient::new(response)));
    Client::from_conf(config.build())
}

type SdkResult<T> = Result<T, SdkError<DescribeInstancesError, HttpResponse>>;

/// A response with this body, read by our reader and by the SDK's parser.
fn read_by_both(status: u16, body: &str) -> (SdkResult<Page>, SdkResult<DescribeInstancesOutput>) {
    let client = client(Response(status, body.to_owned()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("an event loop");
    runtime.block_on(async {
        let by_sdk = client.describe_instances().send().await;
        (send(client.describe_instances()).await, by_sdk)
    })
}

fn described(owner_id: Option<String>, instance: types::Instance) -> InstanceDescription {
    let tags = instance.tags.unwrap_or_default().into_iter().map(|tag| Tag { key: tag.key, value: tag.value });
    InstanceDescription {
        owner_id,
        instance_id: instance.instance_id,
        image_id: instance.image_id,
        state_name: instance.state.and_then(|state| state.name).map(|name| name.as_str().to_owned()),
        state_transition_reason: instance.state_transition_reason,
        private_dns_name: instance.private_dns_name,
        platform: instance.platform.map(|platform| platform.as_str().to_owned()),
        launch_time: instance.launch_time.map(|time| time.fmt(Format::DateTime).expect("a time")),
        availability_zone: instance.placement.and_then(|placement| placement.availability_zone),
        subnet_id: instance.subnet_id,
        vpc_id: instance.vpc_id,
        private_ip_address: instance.private_ip_address,
        public_ip_address: instance.public_ip_address,
        ipv6_address: instance.ipv6_address,
        tags: tags.collect(),
    }
}

fn page(output: DescribeInstancesOutput) -> Page {
    let instances = output.reservations.unwrap_or_default().into_iter().flat_map(|reservation| {
        let owner = reservation.owner_id;
        reservation.instances.unwrap_or_default().into_iter().map(move |instance| described(owner.clone(), instance))
    });
    Page { instances: instances.collect(), next_token: output.next_token }
}

/// Text with references, as both read it.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[ -%'-;=?-~äß€😀\n]{0,8}",
        prop::sample::select(vec!["&amp;", "&lt;", "&gt;", "&quot;", "&apos;", "&#228;", "&#x1F600;"])
            .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

fn element(name: &'static str, content: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    content.prop_map(move |content| format!("<{name}>{content}</{name}>"))
}

/// White space and elements that are not used, around the elements in any order.
fn shuffled(elements: impl Strategy<Value = Vec<String>>) -> impl Strategy<Value = String> {
    let unused = prop::sample::select(vec![
        "<other><item><instanceId>no</instanceId></item></other>",
        "<dnsName/>",
        "<publicIp a='>'>no</publicIp>",
        "<!-- </item> -->",
        " \n\t",
        "",
    ]);
    (elements.prop_shuffle(), prop::collection::vec(unused, 4)).prop_map(|(elements, unused)| {
        elements.iter().zip(unused.iter().cycle()).flat_map(|(element, unused)| [element.as_str(), unused]).collect()
    })
}

fn instance() -> impl Strategy<Value = String> {
    const TEXTS: [&str; 10] = [
        "instanceId",
        "imageId",
        "privateDnsName",
        "reason",
        "platform",
        "subnetId",
        "vpcId",
        "privateIpAddress",
        "ipAddress",
        "ipv6Address",
    ];
    let texts = prop::sample::subsequence(TEXTS.to_vec(), 0..=TEXTS.len())
        .prop_flat_map(|names| names.into_iter().map(|name| element(name, text())).collect::<Vec<_>>());
    let tag =
        element("item", shuffled((element("key", text()), element("value", text())).prop_map(|(k, v)| vec![k, v])));
    let tags = element("tagSet", prop::collection::vec(tag, 0..4).prop_map(|tags| tags.concat()));
    let state = element("instanceState", element("name", text()).prop_map(|name| format!("<code>16</code>{name}")));
    let placement = element("placement", element("availabilityZone", text()));
    let launched = (0i64..4_000_000_000).prop_map(|seconds| {
        let time = aws_smithy_types::DateTime::from_secs(seconds).fmt(Format::DateTime).expect("a time");
        format!("<launchTime>{time}</launchTime>")
    });
    let others = prop::collection::vec(prop_oneof![state, placement], 0..3);
    let all = (texts, tags, others, launched).prop_map(|(mut all, tags, others, launched)| {
        all.extend(others);
        all.extend([tags, launched]);
        all
    });
    element("item", shuffled(all))
}

fn response() -> impl Strategy<Value = String> {
    let instances = element("instancesSet", prop::collection::vec(instance(), 0..3).prop_map(|all| all.concat()));
    let reservation = element(
        "item",
        shuffled((element("ownerId", text()), instances).prop_map(|(owner, instances)| vec![owner, instances])),
    );
    let reservations = element("reservationSet", prop::collection::vec(reservation, 0..3).prop_map(|all| all.concat()));
    let token = prop::option::of(element("nextToken", text()));
    shuffled(
        (reservations, token).prop_map(|(reservations, token)| std::iter::once(reservations).chain(token).collect()),
    )
    .prop_map(|inner| {
        format!("<?xml version=\"1.0\"?>\n<DescribeInstancesResponse>{inner}</DescribeInstancesResponse>")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pages_are_read_as_the_sdk_reads_them(body in response()) {
        let (read, by_sdk) = read_by_both(200, &body);
        prop_assert_eq!(read.unwrap(), page(by_sdk.unwrap()), "{}", body);
    }
}

#[test]
fn errors_of_aws_are_left_to_the_sdk() {
    let body = "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>no &amp; no</Message></Error></Errors>\
                <RequestID>1</RequestID></Response>";
    let (read, by_sdk) = read_by_both(403, body);
    let (read, by_sdk) = (read.unwrap_err().into_service_error(), by_sdk.unwrap_err().into_service_error());
    assert_eq!(read.meta(), by_sdk.meta());
    assert_eq!((read.meta().code(), read.meta().message()), (Some("UnauthorizedOperation"), Some("no & no")));
}

#[test]
fn a_body_that_is_not_a_page_is_a_service_error_without_a_code() {
    for body in
        ["", "<html>", "gateway", "<Response><Errors/></Response>", "<DescribeInstancesResponse><reservationSet>"]
    {
        let error = read_by_both(200, body).0.unwrap_err();
        assert!(matches!(error, SdkError::ServiceError(_)), "{body}");
        assert_eq!(error.raw_response().unwrap().status().as_u16(), 200);
        assert_eq!(error.into_service_error().meta().code(), None, "{body}");
    }
}
