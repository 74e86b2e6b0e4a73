use proptest::prelude::*;

use super::*;

fn read_in_pieces(document: &[u8], lengths: &[usize]) -> Result<Page, ReadError> {
    let mut reader = Reader::default();
    let mut rest = document;
    let mut lengths = lengths.iter().cycle();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((*lengths.next().unwrap()).clamp(1, rest.len()));
        reader.read(piece)?;
        rest = after;
    }
    reader.finish()
}

/// Reads a document whole, and byte by byte with the same result.
fn read(document: &str) -> Result<Page, ReadError> {
    let whole = read_in_pieces(document.as_bytes(), &[usize::MAX]);
    assert_eq!(read_in_pieces(document.as_bytes(), &[1]), whole, "{document}");
    whole
}

fn response(reservations: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<DescribeInstancesResponse \
         xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>1</requestId><reservationSet>{reservations}\
         </reservationSet></DescribeInstancesResponse>"
    )
}

fn one_instance(elements: &str) -> InstanceDescription {
    let item = format!("<item><ownerId>1</ownerId><instancesSet><item>{elements}</item></instancesSet></item>");
    let mut page = read(&response(&item)).unwrap();
    assert_eq!(page.instances.len(), 1);
    page.instances.pop().unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "as the fields")]
fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn all_fields_are_read_and_the_rest_is_skipped() {
    let read = one_instance(
        "<instanceId>i-1</instanceId><imageId>ami-1</imageId><instanceState><code>16</code><name>running</name>\
         </instanceState><privateDnsName>ip-1</privateDnsName><dnsName>no</dnsName><reason>User</reason>\
         <stateReason><code>no</code><message>no</message></stateReason><launchTime>2026-01-01T00:00:00.000Z</launchTime>\
         <placement><availabilityZone>eu-west-1a</availabilityZone><availabilityZoneId>no</availabilityZoneId>\
         </placement><platform>windows</platform><platformDetails>no</platformDetails><subnetId>subnet-1</subnetId>\
         <vpcId>vpc-1</vpcId><privateIpAddress>10.0.0.1</privateIpAddress><ipAddress>198.51.100.1</ipAddress>\
         <ipv6Address>2001:db8::1</ipv6Address><tagSet><item><key>Name</key><value>web</value></item><item><key>k</key>\
         </item></tagSet><networkInterfaceSet><item><subnetId>no</subnetId><vpcId>no</vpcId><privateIpAddress>no\
         </privateIpAddress><tagSet><item><key>no</key></item></tagSet></item></networkInterfaceSet>",
    );
    let expected = InstanceDescription {
        owner_id: some("1"),
        instance_id: some("i-1"),
        image_id: some("ami-1"),
        state_name: some("running"),
        state_transition_reason: some("User"),
        private_dns_name: some("ip-1"),
        platform: some("windows"),
        launch_time: some("2026-01-01T00:00:00.000Z"),
        availability_zone: some("eu-west-1a"),
        subnet_id: some("subnet-1"),
        vpc_id: some("vpc-1"),
        private_ip_address: some("10.0.0.1"),
        public_ip_address: some("198.51.100.1"),
        ipv6_address: some("2001:db8::1"),
        tags: vec![Tag { key: some("Name"), value: some("web") }, Tag { key: some("k"), value: None }],
    };
    assert_eq!(read, expected);
}

#[test]
fn the_owner_of_a_reservation_may_follow_its_instances() {
    let page = read(&response(
        "<item><instancesSet><item><instanceId>i-1</instanceId></item><item/></instancesSet><ownerId>7</ownerId></item>\
         <item><ownerId>8</ownerId><instancesSet/></item><item><instancesSet><item/></instancesSet></item>",
    ));
    let owners: Vec<_> = page.unwrap().instances.into_iter().map(|instance| instance.owner_id).collect();
    assert_eq!(owners, [some("7"), some("7"), None]);
}

#[test]
fn text_is_decoded() {
    for (xml, text) in [
        ("a &amp;&lt;&gt;&quot;&apos; b", "a &<>\"' b"),
        ("&#228;&#xE4;&#x1F600;", "ää😀"),
        ("<![CDATA[a <b> & c]]>", "a <b> & c"),
        ("a<![CDATA[ ]] > ]]>b<!-- > -- -->c<?pi > ?>d", "a ]] > bcd"),
        (" \n a\t ", " \n a\t "),
        ("\u{feff}a\u{feff}\u{feff}", "\u{feff}a\u{feff}\u{feff}"),
        ("", ""),
        ("ünï😀", "ünï😀"),
    ] {
        let instance = one_instance(&format!("<reason>{xml}</reason>"));
        assert_eq!(instance.state_transition_reason.as_deref(), Some(text), "{xml}");
    }
    assert_eq!(one_instance("<reason/>").state_transition_reason.as_deref(), Some(""));
}

#[test]
fn prefixes_attributes_and_white_space_do_not_matter() {
    let page = read(
        "\u{feff}<?xml version='1.0'?><!DOCTYPE x><!-- > --><e:DescribeInstancesResponse xmlns:e='a>b' \n >\n <e:reservationSet a=\">\">\n\
         <item><instancesSet><item><instanceId >i-1</instanceId\n></item></instancesSet></item></e:reservationSet> \
         <nextToken>a&amp;b</nextToken></e:DescribeInstancesResponse>\n<!-- end -->\n",
    )
    .unwrap();
    assert_eq!(page.instances[0].instance_id, some("i-1"));
    assert_eq!(page.next_token, some("a&b"));
}

#[test]
fn the_last_of_several_equal_elements_counts() {
    let instance = one_instance(
        "<vpcId>1</vpcId><vpcId>2</vpcId><tagSet><item><key>a</key></item></tagSet><tagSet><item><key>b</key></item></tagSet>",
    );
    assert_eq!(instance.vpc_id, some("2"));
    assert_eq!(instance.tags, [Tag { key: some("b"), value: None }]);
}

#[test]
fn a_document_that_is_not_whole_or_not_xml_is_an_error() {
    let problem = |document: &str| read(document).unwrap_err().to_string();
    let whole = response("<item><instancesSet><item><vpcId>a&amp;b</vpcId></item></instancesSet></item>");
    assert!(read(&whole).is_ok());
    for end in 0..whole.len() {
        assert!(read(&whole[..end]).is_err(), "{}", &whole[..end]);
    }
    for (document, expected) in [
        ("", "the XML ends before its root element does"),
        ("<Response><Errors/></Response>", "the root element is not DescribeInstancesResponse"),
        ("gateway timeout", "there is text outside of the root element"),
        ("{\"a\":\"<b>\"}", "there is text outside of the root element"),
        ("<DescribeInstancesResponse><a></b>", "an end tag does not match its start tag"),
        ("</a>", "an end tag does not match its start tag"),
        ("<DescribeInstancesResponse/><a/>", "the XML is not well-formed, or a tag in it is too long"),
        ("<DescribeInstancesResponse/>&amp;", "there is text outside of the root element"),
        ("<DescribeInstancesResponse><a", "the XML is not well-formed, or a tag in it is too long"),
        ("<DescribeInstancesResponse><nextToken>&nbsp;", "an entity or character reference is not valid"),
        ("<DescribeInstancesResponse><nextToken>&#xD800;", "an entity or character reference is not valid"),
        (
            "<DescribeInstancesResponse><nextToken>a & b</nextToken>",
            "the XML is not well-formed, or a tag in it is too long",
        ),
    ] {
        assert_eq!(problem(document), expected, "{document}");
    }
    let deep = "<DescribeInstancesResponse>".to_owned() + &"<a>".repeat(100);
    assert_eq!(problem(&deep), "elements are nested too deeply");
}

#[test]
fn bytes_that_are_not_utf_8_are_an_error() {
    let document = response("<item><instancesSet><item><vpcId>?</vpcId></item></instancesSet></item>");
    let broken =
        document.replace('?', "\u{1}").into_bytes().iter().map(|b| if *b == 1 { 0xff } else { *b }).collect::<Vec<_>>();
    for lengths in [usize::MAX, 1] {
        assert!(read_in_pieces(&broken, &[lengths]).is_err());
    }
}

#[test]
fn markup_without_an_end_is_not_collected() {
    for start in ["<", "<a b=\"", "<!--", "<![CDATA["] {
        let mut reader = Reader::default();
        reader.read(b"<DescribeInstancesResponse>").unwrap();
        reader.read(start.as_bytes()).unwrap();
        let read = (0..20).take_while(|_| reader.read(&[b'x'; 16 * 1024]).is_ok()).count();
        assert_eq!(read, 3, "{start}");
    }
}

/// Text as it stands in a document: pieces of text, references, sections and comments.
fn content() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[ -%'-;=?-~äß€😀\u{feff}\n]{0,8}",
        prop::sample::select(vec!["&amp;", "&lt;", "&#65;", "&#x20AC;", "<![CDATA[<]>&]]>", "<!-- <a> -->", "<?a b?>"])
            .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

fn element() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "instanceId",
        "item",
        "tagSet",
        "key",
        "value",
        "reason",
        "placement",
        "availabilityZone",
        "networkInterfaceSet",
        "nextToken",
        "ownerId",
        "instancesSet",
        "reservationSet",
        "other",
        "x:vpcId",
    ]);
    let leaf = (name.clone(), content()).prop_map(|(name, text)| format!("<{name} a=\"/>\">{text}</{name}>"));
    leaf.prop_recursive(5, 40, 6, move |inner| {
        (name.clone(), prop::collection::vec(inner, 0..6))
            .prop_map(|(name, inner)| format!("<{name}>{}</{name}>", inner.concat()))
    })
}

proptest! {
    /// Where the body is cut does not change the page, nor whether there is an error.
    #[test]
    fn cuts_do_not_matter(
        inner in prop::collection::vec(element(), 0..4),
        lengths in prop::collection::vec(1usize..40, 1..8),
        cut in any::<prop::sample::Index>(),
        damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let item = format!("<item><instancesSet><item>{}</item></instancesSet></item>", inner.concat());
        let mut document = response(&item).into_bytes();
        let end = document.len() - cut.index(document.len()) * usize::from(damage.is_some());
        document.truncate(end);
        if let (Some((at, byte)), false) = (damage, document.is_empty()) {
            let at = at.index(document.len());
            document[at] = byte;
        }
        let whole = read_in_pieces(&document, &[usize::MAX]);
        prop_assert_eq!(read_in_pieces(&document, &lengths).ok(), whole.clone().ok());
        prop_assert!(damage.is_some() || whole.is_ok(), "{:?}", whole);
    }
}
