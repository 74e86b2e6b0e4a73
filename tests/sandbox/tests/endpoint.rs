//! The EC2 Instance Connect Endpoint, with a real websocket client.

mod common;
#[path = "common/tunnel.rs"]
#[allow(unreachable_pub, reason = "shared by test files")]
mod tunnel_client;
use tunnel_client as client;

use std::io::Read;
use std::process::Stdio;
use std::time::Duration;

use client::{closed, data, key, open, parameters, presign, refusal, tunnel, wait, world};
use common::{query, start};
use jiff::{SignedDuration, Timestamp};
use sandbox::{
    Change, Endpoint, Form, Instance, Network, Refusal, Sandbox, Switches, TunnelSwitches, Upgrade, needs_namespaces,
};
use tungstenite::Message;

fn switch(sandbox: &Sandbox, tunnels: TunnelSwitches) {
    sandbox.switches(Switches { tunnels: Some(tunnels), ..Switches::default() }).unwrap();
}

#[test]
fn a_tunnel_relays_the_real_sshd_and_is_recorded() {
    let (sandbox, instance, host) = world();
    let mut client = tunnel(&sandbox, &host, &instance);
    let version = data(&mut client, 8);
    assert!(version.starts_with(b"SSH-2.0-"), "{version:?}");
    sandbox.ping_tunnels().unwrap();
    client.send(Message::binary(b"SSH-2.0-test\r\n".to_vec())).unwrap();
    // The pong goes out with a read.
    data(&mut client, 100);
    let mut pings = 0;
    while pings < 2 {
        let record = sandbox.tunnels().unwrap().pop().unwrap();
        pings = record.pongs;
        client.get_ref().sock.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let _ = client.read();
        let _ = client.flush();
    }
    let record = wait(&sandbox, |tunnel| tunnel.received == 14);
    assert_eq!((record.instance.as_str(), record.concurrent, record.max_duration), (instance.id.as_str(), 1, 3600));
    assert_eq!(record.closed, None);
    drop(client);
    wait(&sandbox, |tunnel| tunnel.closed.is_some());
    let call = sandbox.calls().unwrap().pop().unwrap();
    assert_eq!((call.action.as_str(), call.status), ("OpenTunnel", 101));
    assert!(!call.params.to_string().contains("X-Amz-"), "{}", call.params);
}

#[test]
fn a_wrong_signature_or_parameter_is_refused_with_code_and_request_id() {
    let (sandbox, instance, host) = world();
    let (good, params, now) = (key(&sandbox), parameters(&instance), Timestamp::now());
    let refused = |target: &str| {
        let text = refusal(&sandbox, &host, target);
        assert!(text.contains("x-amzn-RequestId: "), "{text}");
        let body: serde_json::Value = serde_json::from_str(text.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        assert!(!body["Message"].as_str().unwrap().is_empty());
        body["ErrorCode"].as_str().unwrap().to_owned()
    };
    let mut other_secret = good.clone();
    other_secret.secret_access_key.push('x');
    assert_eq!(refused(&presign(&other_secret, &host, &params, now)), "InvalidSignature");
    assert_eq!(refused(&presign(&good, "localhost", &params, now)), "InvalidSignature");
    let changed = presign(&good, &host, &params, now).replace("remotePort=", "remotePort=1");
    assert_eq!(refused(&changed), "InvalidSignature");
    assert_eq!(refused(&presign(&good, &host, &params, now - SignedDuration::from_mins(2))), "ExpiredToken");
    assert_eq!(refused(&presign(&good, &host, &params, now + SignedDuration::from_mins(9))), "InvalidSignature");
    let mut token = good.clone();
    token.session_token = Some("a+b/c=".into());
    assert_eq!(refused(&presign(&token, &host, &params, now)), "UnrecognizedClient");
    for (name, value) in [("maxTunnelDuration", "0"), ("maxTunnelDuration", "3601"), ("maxTunnelDuration", "1h")] {
        let mut params = params.clone();
        params.push((name.into(), value.into()));
        assert_eq!(refused(&presign(&good, &host, &params, now)), "InvalidParameter", "{value}");
    }
    for (at, value) in [(0, "eice-0"), (1, "80"), (2, "10.9.9.9"), (2, "::1"), (2, "web")] {
        let mut params = params.clone();
        params[at].1 = value.into();
        assert_eq!(refused(&presign(&good, &host, &params, now)), "InvalidParameter", "{value}");
    }
    assert!(sandbox.tunnels().unwrap().is_empty());

    sandbox.switches(Switches { deny: Some(vec!["OpenTunnel".into()]), ..Switches::default() }).unwrap();
    for delivery in [Refusal::Whole, Refusal::TwoRecords, Refusal::Chunked] {
        switch(&sandbox, TunnelSwitches { refusal: delivery, ..TunnelSwitches::default() });
        let text = refusal(&sandbox, &host, &presign(&good, &host, &params, now));
        assert!(text.starts_with("HTTP/1.1 403 ") && text.contains("AccessDenied"), "{text}");
        assert_eq!(text.contains("transfer-encoding: chunked"), delivery == Refusal::Chunked, "{text}");
    }
}

#[test]
fn a_session_token_is_part_of_the_signature() {
    let (sandbox, instance, host) = world();
    let mut key = key(&sandbox);
    key.access_key_id = "ASIATEMPORARY".into();
    key.session_token = Some("a+b/c=".into());
    sandbox.add_credential(key.clone()).unwrap();
    let mut client = open(&sandbox, &host, &presign(&key, &host, &parameters(&instance), Timestamp::now())).unwrap();
    assert!(data(&mut client, 8).starts_with(b"SSH-2.0-"));
}

#[test]
fn the_signature_of_botocore_is_accepted() {
    let (sandbox, instance, host) = world();
    let script = "
import sys
from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
key, secret, url = sys.argv[1:]
request = AWSRequest('GET', url)
SigV4QueryAuth(Credentials(key, secret, 'a+b/c='), 'ec2-instance-connect', 'eu-west-1', expires=60).add_auth(request)
print(request.prepare().url)
";
    let mut key = key(&sandbox);
    key.access_key_id = "ASIATEMPORARY".into();
    key.session_token = Some("a+b/c=".into());
    sandbox.add_credential(key.clone()).unwrap();
    let params: Vec<String> = parameters(&instance).into_iter().map(|(n, v)| format!("{n}={v}")).collect();
    let url = format!("https://{host}/openTunnel?{}", params.join("&"));
    let mut python = std::process::Command::new("python3");
    python.args(["-c", script, &key.access_key_id, &key.secret_access_key, &url]).stdin(Stdio::null());
    let output = python.output().ok().filter(|output| output.status.success());
    let Some(output) = output else {
        assert!(std::env::var_os("CI").is_none(), "CI has to have python3-botocore");
        eprintln!("skipped: python3 with botocore is not installed");
        return;
    };
    let signed = String::from_utf8(output.stdout).unwrap();
    let target = signed.trim().strip_prefix(&format!("https://{host}")).unwrap();
    let mut client = open(&sandbox, &host, target).unwrap();
    assert!(data(&mut client, 8).starts_with(b"SSH-2.0-"));
}

#[test]
fn the_tunnel_that_is_too_many_is_refused_and_a_closed_one_makes_room() {
    let (sandbox, instance, host) = world();
    let mut clients: Vec<_> = (0..20).map(|_| tunnel(&sandbox, &host, &instance)).collect();
    let target = presign(&key(&sandbox), &host, &parameters(&instance), Timestamp::now());
    assert!(refusal(&sandbox, &host, &target).contains("TooManyConnections"));
    assert_eq!(sandbox.tunnels().unwrap().iter().map(|tunnel| tunnel.concurrent).max(), Some(20));
    drop(clients.pop());
    wait(&sandbox, |tunnel| tunnel.closed.is_some());
    tunnel(&sandbox, &host, &instance);
}

#[test]
fn a_101_proves_nothing_and_time_ends_a_tunnel() {
    let (sandbox, instance, host) = world();
    switch(&sandbox, TunnelSwitches { unreachable: vec![instance.id.clone()], ..TunnelSwitches::default() });
    let reason = closed(&mut tunnel(&sandbox, &host, &instance));
    assert_eq!(reason, Some((1000, "Unable to connect to target".into())));
    sandbox.reset_switches().unwrap();

    let mut client = tunnel(&sandbox, &host, &instance);
    data(&mut client, 8);
    sandbox.advance_tunnels(Duration::from_hours(1)).unwrap();
    assert_eq!(closed(&mut client).map(|(code, _)| code), Some(1000));
    let _ = client.read();
    assert_eq!(wait(&sandbox, |t| t.closed.is_some()).closed.unwrap(), "maxTunnelDuration is over");
}

#[test]
fn upgrades_and_frames_arrive_in_every_form() {
    let (sandbox, instance, host) = world();
    for tunnels in [
        TunnelSwitches { upgrade: Upgrade::Bytewise, ..TunnelSwitches::default() },
        TunnelSwitches { upgrade: Upgrade::WithFirstFrame, ..TunnelSwitches::default() },
        TunnelSwitches { fragment: 3, empty_frames: true, ..TunnelSwitches::default() },
    ] {
        switch(&sandbox, tunnels);
        assert!(data(&mut tunnel(&sandbox, &host, &instance), 8).starts_with(b"SSH-2.0-"));
    }
    switch(&sandbox, TunnelSwitches { text_frame: true, ..TunnelSwitches::default() });
    let mut client = tunnel(&sandbox, &host, &instance);
    while !matches!(client.read().unwrap(), Message::Text(text) if text.as_str() == "text") {}

    let flood = 3 << 20;
    switch(&sandbox, TunnelSwitches { frame_size: 1 << 20, flood, ..TunnelSwitches::default() });
    let mut client = tunnel(&sandbox, &host, &instance);
    let first = loop {
        if let Message::Binary(part) = client.read().unwrap() {
            break part;
        }
    };
    assert_eq!(first.len(), 1 << 20);
    assert!(data(&mut client, (2 << 20) + 8)[2 << 20..].starts_with(b"SSH-2.0-"));
}

#[test]
fn a_tunnel_closes_with_and_without_a_code_or_is_cut() {
    let (sandbox, instance, host) = world();
    for (code, expected) in [(None, None), (Some(1011), Some((1011, "why".to_owned())))] {
        let close = TunnelSwitches {
            close_after: Some(5),
            close_code: code,
            close_reason: "why".into(),
            ..TunnelSwitches::default()
        };
        switch(&sandbox, close);
        let mut client = tunnel(&sandbox, &host, &instance);
        assert_eq!(data(&mut client, 5), b"SSH-2");
        assert_eq!(closed(&mut client), expected);
    }
    switch(&sandbox, TunnelSwitches { cut_after: Some(5), ..TunnelSwitches::default() });
    let mut client = tunnel(&sandbox, &host, &instance);
    assert_eq!(data(&mut client, 5), b"SSH-2");
    assert!(client.read().is_err());
    assert_eq!(wait(&sandbox, |t| t.closed.is_some()).closed.unwrap(), "cut by the switch");
}

#[test]
fn endpoints_are_listed_on_two_pages_by_vpc_and_state() {
    let sandbox = start(Form::Loopback);
    let endpoint = |id: &str, vpc: &str, state: &str, kind: &str| Endpoint {
        id: id.into(),
        vpc: vpc.into(),
        state: state.into(),
        address_type: kind.into(),
        ..Endpoint::default()
    };
    for new in [
        endpoint("eice-01", "vpc-1", "create-complete", "ipv4"),
        endpoint("eice-02", "vpc-1", "update-failed", "ipv6"),
        endpoint("eice-03", "vpc-1", "delete-complete", "ipv4"),
        endpoint("eice-04", "vpc-2", "create-failed", "dualstack"),
    ] {
        sandbox.add_endpoint(new).unwrap();
    }
    let list = |form: &str| query(&sandbox, "ec2", &format!("Action=DescribeInstanceConnectEndpoints{form}")).1;
    let count = |form: &str| list(form).matches("<instanceConnectEndpointId>").count();
    assert_eq!(count(""), 4);
    let vpc = "&Filter.1.Name=vpc-id&Filter.1.Value.1=vpc-1";
    assert_eq!(count(vpc), 3);
    assert_eq!(count(&format!("{vpc}&Filter.2.Name=state&Filter.2.Value.1=*-complete&Filter.2.Value.2=update-*")), 3);
    assert_eq!(count("&InstanceConnectEndpointId.1=eice-04"), 1);
    assert!(list("&InstanceConnectEndpointId.1=eice-09").contains("InvalidInstanceConnectEndpointId.NotFound"));
    assert!(!list("&InstanceConnectEndpointId.1=eice-02").contains("<ipv4>"), "IPv6 only");

    sandbox.switches(Switches { endpoint_page: Some(2), ..Switches::default() }).unwrap();
    let first = list(vpc);
    let token = first.split("<nextToken>").nth(1).and_then(|rest| rest.split('<').next()).unwrap();
    let second = list(&format!("{vpc}&NextToken={token}"));
    assert!(first.contains("eice-02") && second.contains("eice-03") && !second.contains("nextToken"), "{second}");
}

#[needs_namespaces]
#[test]
fn names_resolve_in_the_namespace_until_switched_off() {
    let sandbox = start(Form::Namespaces);
    sandbox.add(Instance::new("web")).unwrap();
    sandbox.add_endpoint(Endpoint::default()).unwrap();
    let name = "eice-0aaaabbbbccccdddd.0123abcd.ec2-instance-connect-endpoint.eu-west-1.amazonaws.com";
    let (_, xml) = query(&sandbox, "ec2", "Action=DescribeInstanceConnectEndpoints");
    assert!(xml.contains(&format!("<dnsName>{name}</dnsName>")), "{xml}");
    let resolve = || {
        let output = sandbox.command("getent").args(["hosts", name]).stdin(Stdio::null()).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(resolve().starts_with("10.255.255.1 "), "{}", resolve());
    let connect = sandbox.command("bash").args(["-c", &format!("exec 3<>/dev/tcp/{name}/443")]).status().unwrap();
    assert!(connect.success());
    switch(&sandbox, TunnelSwitches { unresolved: true, ..TunnelSwitches::default() });
    assert_eq!(resolve(), "");
    sandbox.reset_switches().unwrap();
    assert!(resolve().starts_with("10.255.255.1 "));
}

#[test]
fn an_upgrade_that_is_never_answered_ends_with_the_client() {
    let (sandbox, instance, host) = world();
    switch(&sandbox, TunnelSwitches { upgrade: Upgrade::Never, ..TunnelSwitches::default() });
    let target = presign(&key(&sandbox), &host, &parameters(&instance), Timestamp::now());
    let mut stream = client::connect(&sandbox, &host);
    client::request_upgrade(&mut stream, &host, &target);
    wait(&sandbox, |tunnel| tunnel.closed.is_none());
    stream.sock.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let error = stream.read(&mut [0; 64]).expect_err("no response");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!(sandbox.tunnels().unwrap()[0].closed, None);
    drop(stream);
    let record = wait(&sandbox, |tunnel| tunnel.closed.is_some());
    assert_eq!((record.received, record.sent), (0, 0));
}

/// An SSH message that servers ignore (`SSH_MSG_IGNORE`, RFC 4253, sections 6 and 11.2), before encryption.
fn ignored_packet() -> Vec<u8> {
    const DATA: u32 = 32_000;
    // The sum of length, padding length, payload and padding is a multiple of 8.
    let padding = 8 - (4 + 1 + 1 + 4 + DATA as usize) % 8 + 8;
    let length = 1 + 1 + 4 + DATA + u32::try_from(padding).unwrap();
    let mut packet = length.to_be_bytes().to_vec();
    packet.extend([u8::try_from(padding).unwrap(), 2]);
    packet.extend(DATA.to_be_bytes());
    packet.resize(packet.len() + DATA as usize + padding, 0);
    packet
}

#[test]
fn a_tunnel_stops_reading_until_the_switch_is_reset() {
    const LIMIT: u64 = 100_000;
    let (sandbox, instance, host) = world();
    switch(&sandbox, TunnelSwitches { stop_reading_after: Some(LIMIT), ..TunnelSwitches::default() });
    let mut client = tunnel(&sandbox, &host, &instance);
    data(&mut client, 8);
    let packet = ignored_packet();
    // More than TCP buffers on both sides.
    let count = (24 << 20) / packet.len();
    let total = 12 + (count * packet.len()) as u64;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            client.send(Message::binary(b"SSH-2.0-test".to_vec())).unwrap();
            client.send(Message::binary(b"\r\n".to_vec())).unwrap();
            for _ in 0..count {
                client.send(Message::binary(packet.clone())).unwrap();
            }
        });
        let stopped = wait(&sandbox, |tunnel| tunnel.received >= LIMIT).received;
        std::thread::sleep(Duration::from_millis(300));
        let later = sandbox.tunnels().unwrap()[0].received;
        assert!(later == stopped && later < LIMIT + (1 << 20), "{stopped}, then {later}");
        sandbox.reset_switches().unwrap();
        wait(&sandbox, |tunnel| tunnel.received == total + 2);
    });
}

#[test]
fn an_endpoint_accepts_the_addresses_of_its_type() {
    let sandbox = start(Form::Loopback);
    sandbox.add(Instance::new("web").ipv6("fd00::9")).unwrap();
    let instance = sandbox.instances().unwrap().pop().unwrap();
    for (address_type, ipv4, ipv6) in [("ipv4", true, false), ("ipv6", false, true), ("dualstack", true, true)] {
        sandbox.add_endpoint(Endpoint { address_type: address_type.into(), ..Endpoint::default() }).unwrap();
        let host = client::name(&sandbox);
        for (address, accepted) in [(instance.address.as_str(), ipv4), ("fd00::9", ipv6), ("fd00:0:0::9", ipv6)] {
            let mut params = parameters(&instance);
            params[2].1 = address.into();
            let target = presign(&key(&sandbox), &host, &params, Timestamp::now());
            if accepted {
                let mut client = open(&sandbox, &host, &target).unwrap();
                assert!(data(&mut client, 8).starts_with(b"SSH-2.0-"), "{address_type} {address}");
                let record = sandbox.tunnels().unwrap().pop().unwrap();
                assert_eq!((record.address.as_str(), &record.instance), (address, &instance.id));
            } else {
                let refusal = refusal(&sandbox, &host, &target);
                assert!(refusal.contains("InvalidParameter"), "{address_type} {address}: {refusal}");
            }
        }
    }
}

#[test]
fn an_endpoint_of_a_shared_subnet_is_listed_and_not_usable() {
    let sandbox = start(Form::Loopback);
    sandbox.add(Instance::new("web")).unwrap();
    let instance = sandbox.instances().unwrap().pop().unwrap();
    let owner = || sandbox::STAGING_ACCOUNT.to_owned();
    sandbox.add_endpoint(Endpoint { account: owner(), ..Endpoint::default() }).unwrap();
    let list = || query(&sandbox, "ec2", "Action=DescribeInstanceConnectEndpoints").1;
    assert!(!list().contains("eice-"), "another account's");
    let shared = Endpoint { account: owner(), shared_with: vec![sandbox::ACCOUNT.to_owned()], ..Endpoint::default() };
    sandbox.add_endpoint(shared).unwrap();
    assert!(list().contains(&format!("<ownerId>{}</ownerId>", owner())), "{}", list());
    let host = client::name(&sandbox);
    let target = presign(&key(&sandbox), &host, &parameters(&instance), Timestamp::now());
    let refusal = refusal(&sandbox, &host, &target);
    assert!(refusal.starts_with("HTTP/1.1 403 ") && refusal.contains("belongs to another account"), "{refusal}");
}

#[test]
fn an_endpoint_reaches_an_instance_that_clients_do_not() {
    let (sandbox, instance, host) = world();
    for network in [Network::Blackhole, Network::Refuse, Network::Silent, Network::Stranger] {
        let change = Change { network: Some(network), ..Change::default() };
        sandbox.update(&instance.id, change).unwrap();
        assert!(data(&mut tunnel(&sandbox, &host, &instance), 8).starts_with(b"SSH-2.0-"), "{network:?}");
        assert_eq!(sandbox.stranger_log(&instance.id), "", "the instance itself answers");
    }
}
