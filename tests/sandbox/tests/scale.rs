//! Many instances and many connections: nothing is lost, and nobody waits for somebody else.

mod common;

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::TcpStream;

use common::{authorization, prod, query, start};
use sandbox::{Form, Instance, Network, STAGING_ACCOUNT, State, Switches};

fn between<'a>(text: &'a str, open: &str) -> impl Iterator<Item = &'a str> {
    text.split(open).skip(1).map(|rest| rest.split('<').next().unwrap_or_default())
}

#[test]
fn fifty_thousand_instances_are_found_page_by_page_each_once() {
    let sandbox = start(Form::Loopback);
    // Away: as many as these have no ports on one machine.
    let many = (0..50_000).map(|n| {
        let instance = Instance::new(&format!("web-{n}")).network(Network::Away);
        let instance = if n % 5 == 0 { instance.state(State::Stopped) } else { instance };
        if n % 10 == 9 { instance.account(STAGING_ACCOUNT) } else { instance }
    });
    let ids = sandbox.add_many(many.collect()).unwrap();
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 50_000);

    let (mut pages, mut seen, mut addresses, mut token) = (Vec::new(), HashSet::new(), HashSet::new(), String::new());
    loop {
        let filter = "Filter.1.Name=instance-state-name&Filter.1.Value.1=running";
        let (_, page) = query(&sandbox, "ec2", &format!("Action=DescribeInstances&MaxResults=1000&{filter}{token}"));
        let found: Vec<_> = between(&page, "<instanceId>").map(String::from).collect();
        pages.push(found.len());
        seen.extend(found);
        let interfaces = page.split("<networkInterfaceSet>").map(|instance| between(instance, "<privateIpAddress>"));
        addresses.extend(interfaces.filter_map(|mut addresses| addresses.next().map(String::from)));
        let Some(next) = between(&page, "<nextToken>").next() else { break };
        token = format!("&NextToken={next}");
    }
    // 50,000 less a tenth of another account and a fifth that is stopped.
    assert_eq!(pages, [1000; 35]);
    assert_eq!(seen.len(), 35_000);
    assert_eq!(addresses.len(), 35_000);
    assert!(seen.contains(&ids[1]) && !seen.contains(&ids[0]) && !seen.contains(&ids[9]));

    let twice = vec![Instance::new("a").id("i-0123456789abcdef0"), Instance::new("b").id("i-0123456789abcdef0")];
    assert!(sandbox.add_many(twice).unwrap_err().to_string().contains("is there already"));
    let again = vec![Instance::new("c"), Instance::new("d").id(&ids[7])];
    assert!(sandbox.add_many(again).is_err());
    let (status, _) = query(&sandbox, "ec2", "Action=DescribeInstances&InstanceId.1=i-0123456789abcdef0");
    assert_eq!(status, 400, "all or none");

    sandbox.remove(&ids[1]).unwrap();
    let (_, page) = query(&sandbox, "ec2", &format!("Action=DescribeInstances&InstanceId.1={}", ids[2]));
    assert!(page.contains("<value>web-2</value>"), "{page}");
}

#[test]
fn three_hundred_calls_wait_at_once_and_nobody_waits_for_them() {
    let sandbox = start(Form::Loopback);
    let ask = |action: &str| {
        let mut stream = TcpStream::connect(sandbox.endpoint().trim_start_matches("http://")).unwrap();
        let (body, signed) = (format!("Action={action}"), authorization(prod(&sandbox), "eu-west-1", "ec2"));
        let head = format!("POST / HTTP/1.1\r\nhost: x\r\n{signed}connection: close\r\ncontent-length: {}", body.len());
        stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).unwrap();
        stream
    };
    let answer = |mut stream: TcpStream| {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    // Longer than any test may take: whoever waited in line behind these would never come to an end.
    let latency_ms = [("DescribeInstances".into(), 3_600_000), ("DescribeImages".into(), 500)].into();
    sandbox.switches(Switches { latency_ms, ..Switches::default() }).unwrap();
    let waiting: Vec<_> = (0..300).map(|_| ask("DescribeInstances")).collect();
    let late: Vec<_> = (0..300).map(|_| ask("DescribeImages")).collect();
    assert!(answer(ask("DescribeRegions")).contains("<regionName>"));
    for stream in late {
        assert!(answer(stream).contains("<imagesSet>"));
    }
    sandbox.add(Instance::new("web")).unwrap();
    drop(waiting);
}
