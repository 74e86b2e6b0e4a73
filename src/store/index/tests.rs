use super::*;
use crate::domain::connection_options::ConnectionOptions;
use crate::domain::fleet::samples;
use crate::domain::identity::Identity;
use crate::domain::names::Past;
use crate::domain::source::{AddressKind, KeyType};

fn host(n: usize, tag: &str) -> Host {
    let alias = (n % 7 != 3).then(|| format!("web-{n}"));
    let names = if n.is_multiple_of(3) && alias.is_some() { vec![format!("Web-{n}")] } else { Vec::new() };
    let tags = BTreeMap::from([("Name".to_owned(), tag.repeat(n % 50))]);
    Host { names, tags, ..samples::host(alias.as_deref(), &format!("i-{n:017x}"), "ec2-user") }
}

fn others() -> Content {
    let id = samples::host(None, "i-0abc12de", "u").id;
    let source = SourceRecord {
        name: "prod".to_owned(),
        of: "corp".to_owned(),
        rank: 3,
        account_name: String::new(),
        identity: Identity { profile: Some("p".to_owned()), ..Identity::default() },
        address: AddressKind::Ipv6,
        key_type: KeyType::Rsa,
        regions: vec!["eu-west-1".to_owned()],
    };
    let holder = Holder { id: id.clone(), account: "1".to_owned(), seen: 3 };
    Content {
        hosts: Vec::new(),
        sources: vec![source],
        shared: BTreeMap::from([("web".to_owned(), Shared::By(vec![id]))]),
        memory: Past::from([("old".to_owned(), holder)]),
        proven: Proven { generated: "g".to_owned(), ..Proven::default() },
        untold: BTreeMap::new(),
        damaged: 0,
    }
}

#[test]
fn every_name_finds_its_host_and_no_other_does() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    for count in [0_usize, 1, 2, 3, 10, 500] {
        let hosts: Vec<Host> = (0..count).map(|n| host(n, "long tag value \n\t\" é")).collect();
        let header = Header::new(7, PushMode::Auto, Some(900), "digest".to_owned());
        let content = Content { hosts, ..others() };
        write(&path, &header, &content).unwrap();
        let hosts = &content.hosts;
        let index = Index::open(&path).unwrap().expect("an index");
        assert_eq!(index.header, header);
        for host in hosts {
            for name in host.all_names().chain([host.id.as_str()]) {
                assert_eq!(index.host(name).unwrap().as_ref(), Some(host), "{name} of {count}");
            }
        }
        for absent in ["", "a", "web-", "web-1x", "zzz", "i-", "Web-1", "{", "\t", "~", "@prod", "=web", "~old"] {
            assert_eq!(index.host(absent).unwrap(), None, "{absent:?} of {count}");
        }
        let read: Content = index.content().unwrap();
        assert_eq!((read.hosts.len(), Content { hosts: Vec::new(), ..read }), (count, others()));
        assert_eq!(index.source("prod").unwrap().as_ref(), Some(&others().sources[0]));
        assert_eq!(index.shared("web").unwrap().as_ref(), others().shared.get("web"));
        assert_eq!((index.source("x").unwrap(), index.shared("prod").unwrap()), (None, None));
    }
}

#[test]
fn no_index_and_a_foreign_one_are_none() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("index");
    assert!(Index::open(&path).unwrap().is_none());
    std::fs::write(&path, "{\"version\":999}\n").unwrap();
    assert!(Index::open(&path).unwrap().is_none());
    std::fs::write(&path, "").unwrap();
    assert!(Index::open(&path).unwrap().is_none());
}

#[test]
fn a_host_of_the_previous_version_has_the_default_route_and_host_keys() {
    let line = r#"{"alias":"web","id":"i-0abc12de","address":"10.0.3.7","port":22,"user":"ec2-user","source":"prod","region":"eu-west-1","account":"111122223333","state":"running","az":"eu-west-1a","vpc":"vpc-1","addresses":{"private":"10.0.3.7"},"tags":{"Name":"web"}}"#;
    let host: Host = serde_json::from_str(line).unwrap();
    assert_eq!(ConnectionOptions::of_host(&host), ConnectionOptions::default());
    assert_eq!((host.subnet.as_str(), serde_json::to_string(&host).unwrap().as_str()), ("", line));
}
