//! The AWS protocols as clients see them, down to codes and texts.

mod common;

use std::time::{Duration, Instant};

use common::{authorization, http, key, prod, push, query, start};
use sandbox::{Account, Change, Fail, Form, Instance, STAGING_ACCOUNT, SignIn, State, Switches, Throttle, UBUNTU};

/// How often a text occurs.
fn count(text: &str, part: &str) -> usize {
    text.matches(part).count()
}

fn switches(json: &str) -> Switches {
    serde_json::from_str(json).unwrap()
}

#[test]
fn describe_instances_filters_pages_and_keeps_to_account_and_region() {
    let sandbox = start(Form::Loopback);
    let many = (0..7).map(|n| Instance::new(&format!("web-{n}")).tag("Role", "web")).collect();
    sandbox.add_many(many).unwrap();
    let db = sandbox.add(Instance::new("db & <co>").tag("Role", "db").image(UBUNTU)).unwrap();
    let foreign = sandbox.add(Instance::new("other").account(STAGING_ACCOUNT)).unwrap();
    sandbox.add(Instance::new("far").region("us-west-2")).unwrap();
    let describe = |form: &str| query(&sandbox, "ec2", &format!("Action=DescribeInstances&Version=2016-11-15{form}"));

    let (status, all) = describe("");
    assert_eq!((status, count(&all, "<instanceId>")), (200, 8), "{all}");
    assert!(all.contains("<value>db &amp; &lt;co&gt;</value>"), "{all}");
    assert!(!all.contains("nextToken"));

    let filter = |form: &str| count(&describe(form).1, "<instanceId>");
    assert_eq!(filter("&Filter.1.Name=tag:Role&Filter.1.Value.1=w?b&Filter.1.Value.2=x"), 7);
    assert_eq!(filter("&Filter.1.Name=tag%3ARole&Filter.1.Value.1=W*"), 0);
    assert_eq!(filter("&Filter.1.Name=tag:Name&Filter.1.Value.1=*&Filter.2.Name=image-id&Filter.2.Value.1=ami-0b*"), 1);
    assert_eq!(filter("&Filter.1.Name=instance-state-name&Filter.1.Value.1=stopped"), 0);
    assert!(describe("&Filter.1.Name=tga:x&Filter.1.Value.1=y").1.contains("<Code>InvalidParameterValue</Code>"));

    let (_, first) = describe("&MaxResults=5");
    let token = first.split("<nextToken>").nth(1).and_then(|rest| rest.split('<').next()).unwrap();
    let (_, second) = describe(&format!("&MaxResults=5&NextToken={token}"));
    assert_eq!((count(&first, "<instanceId>"), count(&second, "<instanceId>")), (5, 3));
    assert!(!second.contains("nextToken"));

    assert_eq!(filter(&format!("&InstanceId.1={db}")), 1);
    let (status, missing) = describe(&format!("&InstanceId.1={db}&InstanceId.2={foreign}"));
    assert_eq!(status, 400);
    assert!(missing.contains(&format!("<Message>The instance ID '{foreign}' does not exist</Message>")), "{missing}");
    assert!(describe("&InstanceId.1=i-xyz").1.contains("InvalidInstanceID.Malformed"));
}

#[test]
fn a_terminated_instance_says_when_and_has_no_address() {
    let sandbox = start(Form::Loopback);
    let id = sandbox.add(Instance::new("web")).unwrap();
    sandbox.update(&id, Change { state: Some(State::Terminated), ..Change::default() }).unwrap();
    let (_, body) = query(&sandbox, "ec2", "Action=DescribeInstances");
    assert!(body.contains("<name>terminated</name>"), "{body}");
    assert!(body.contains("<reason>User initiated (20"), "{body}");
    assert!(!body.contains("<privateIpAddress>"), "{body}");
    sandbox.remove(&id).unwrap();
    assert!(!query(&sandbox, "ec2", "Action=DescribeInstances").1.contains(&id));
}

#[test]
fn a_push_is_validated_as_in_reality() {
    let sandbox = start(Form::Loopback);
    let id = sandbox.add(Instance::new("web")).unwrap();
    let stopped = sandbox.add(Instance::new("off").state(State::Stopped)).unwrap();
    let (_, public) = key(&sandbox);
    let code = |id: &str, user: &str, key: &str| {
        let (status, body) = push(&sandbox, id, user, key);
        let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
        (status, answer["__type"].as_str().unwrap_or("ok").to_owned())
    };
    assert_eq!(code(&id, "ec2-user", &public), (200, "ok".into()));
    for user in ["", "-x", "1", "a b", "../x", "a/b", &"x".repeat(33)] {
        assert_eq!(code(&id, user, &public), (400, "InvalidArgsException".into()), "{user}");
    }
    for user in ["_a", "Alice.B@x", "1a", "svc$", &"x".repeat(32)] {
        assert_eq!(code(&id, user, &public).0, 200, "{user}");
    }
    let ecdsa = format!("ecdsa-sha2-nistp256 {}", "A".repeat(100));
    assert_eq!(code(&id, "ec2-user", &ecdsa).1, "InvalidArgsException");
    assert_eq!(code(&id, "ec2-user", "ssh-ed25519 AAAA").1, "InvalidArgsException");
    assert_eq!(code("i-0123456789abcdef0", "ec2-user", &public).1, "EC2InstanceNotFoundException");
    assert_eq!(code(&stopped, "ec2-user", &public).1, "EC2InstanceStateInvalidException");

    sandbox.clear_calls().unwrap();
    sandbox.switches(Switches { deny: Some(vec!["SendSSHPublicKey@deploy".into()]), ..Switches::default() }).unwrap();
    assert_eq!(code(&id, "ec2-user", &public).0, 200);
    let (status, denied) = push(&sandbox, &id, "deploy", &public);
    let text = format!(
        "User: arn:aws:iam::111122223333:user/alice is not authorized to perform: \
         ec2-instance-connect:SendSSHPublicKey on resource: arn:aws:ec2:eu-west-1:111122223333:instance/{id} because \
         no identity-based policy allows the ec2-instance-connect:SendSSHPublicKey action"
    );
    assert_eq!(status, 400);
    assert!(denied.contains("AccessDeniedException") && denied.contains(&text), "{denied}");
    let calls = sandbox.pushes().unwrap();
    assert_eq!(calls.len(), 2);
    assert_eq!((calls[1].status, calls[1].error.as_deref()), (400, Some("AccessDeniedException")));
    assert_eq!((calls[1].account.as_str(), calls[1].access_key_id.as_str()), ("111122223333", prod(&sandbox)));
    assert_eq!(calls[1].params["InstanceOSUser"], "deploy");
}

#[test]
fn an_assumed_role_calls_as_its_account() {
    let sandbox = start(Form::Loopback);
    let role = "arn:aws:iam::444455556666:role/team/ssh";
    let assume = format!("Action=AssumeRole&Version=2011-06-15&RoleArn={role}&RoleSessionName=me");
    let (status, body) = query(&sandbox, "sts", &assume);
    assert_eq!(status, 200, "{body}");
    let field = |name: &str| {
        let rest = body.split(&format!("<{name}>")).nth(1).unwrap();
        rest.split('<').next().unwrap().to_owned()
    };
    let (key, token) = (field("AccessKeyId"), field("SessionToken"));
    let who = |token: &str| {
        let signed = authorization(&key, "eu-west-1", "sts");
        let head = format!("POST / HTTP/1.1\r\nhost: x\r\n{signed}x-amz-security-token: {token}\r\n");
        http(&sandbox, &head, "Action=GetCallerIdentity&Version=2011-06-15")
    };
    let (_, me) = who(&token);
    assert!(me.contains("<Arn>arn:aws:sts::444455556666:assumed-role/ssh/me</Arn>"), "{me}");
    assert_eq!(who("wrong").0, 403);

    sandbox.switches(Switches { expired: Some(vec![key.clone()]), ..Switches::default() }).unwrap();
    assert!(who(&token).1.contains("<Code>ExpiredToken</Code>"));
    sandbox.switches(switches(&format!(r#"{{"external_ids":{{"{role}":"secret"}}}}"#))).unwrap();
    assert!(query(&sandbox, "sts", &assume).1.contains("<Code>AccessDenied</Code>"));
    assert_eq!(query(&sandbox, "sts", &format!("{assume}&ExternalId=secret")).0, 200);
}

#[test]
fn the_portal_trades_a_token_for_credentials() {
    let sandbox = start(Form::Loopback);
    let account = |id: &str, name: &str| Account { id: id.into(), name: name.into(), roles: vec!["SshUser".into()] };
    let sign_in = SignIn {
        access_token: "token-1".into(),
        refresh_token: "refresh-1".into(),
        expires: None,
        accounts: vec![account("111122223333", "prod"), account("444455556666", "staging")],
    };
    sandbox.sign_in("corp", sign_in).unwrap();
    let name = sandbox.command("sh").args(["-c", "printf corp | sha1sum | cut -c1-40"]).output().unwrap();
    let name = String::from_utf8(name.stdout).unwrap();
    assert!(sandbox.home().join(format!(".aws/sso/cache/{}.json", name.trim())).is_file());
    let get = |path: &str, token: &str| {
        let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nx-amz-sso_bearer_token: {token}\r\n");
        let (status, body) = http(&sandbox, &head, "");
        (status, serde_json::from_str::<serde_json::Value>(&body).unwrap())
    };
    let (_, page) = get("/assignment/accounts?max_result=1", "token-1");
    assert_eq!(page["accountList"][0]["accountName"], "prod");
    let next = page["nextToken"].as_str().unwrap();
    let (_, page) = get(&format!("/assignment/accounts?max_result=1&next_token={next}"), "token-1");
    assert_eq!(page["accountList"][0]["accountId"], "444455556666");
    assert!(page["nextToken"].is_null());
    assert_eq!(get("/assignment/roles?account_id=444455556666", "token-1").1["roleList"][0]["roleName"], "SshUser");

    let path = "/federation/credentials?account_id=444455556666&role_name=SshUser";
    let (status, body) = get(path, "token-1");
    assert_eq!(status, 200);
    assert!(body["roleCredentials"]["accessKeyId"].as_str().unwrap().starts_with("ASIA"));
    assert_eq!(get("/federation/credentials?account_id=444455556666&role_name=Admin", "token-1").0, 403);
    assert_eq!(get(path, "token-2").0, 401);
    sandbox.switches(Switches { expired: Some(vec!["token-1".into()]), ..Switches::default() }).unwrap();
    assert_eq!(get(path, "token-1").0, 401);

    let (status, body) = http(&sandbox, "POST /token HTTP/1.1\r\nhost: x\r\n", r#"{"refreshToken":"refresh-1"}"#);
    let renewed: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status, 200, "{body}");
    assert_eq!(get(path, renewed["accessToken"].as_str().unwrap()).0, 200);
}

#[test]
fn strangers_and_wrong_clocks_are_told_what_each_service_says() {
    let sandbox = start(Form::Loopback);
    let ask = |service: &str, key: &str, date: &str| {
        let signed = authorization(key, "eu-west-1", service);
        let target = match service {
            "ec2-instance-connect" => "x-amz-target: AWSEC2InstanceConnectService.SendSSHPublicKey\r\n",
            _ => "",
        };
        let head = format!("POST / HTTP/1.1\r\nhost: x\r\n{signed}{target}x-amz-date: {date}\r\n");
        let action = if service == "sts" { "GetCallerIdentity" } else { "DescribeInstances" };
        http(&sandbox, &head, &format!("Action={action}"))
    };
    let now = sandbox.command("date").args(["-u", "+%Y%m%dT%H%M%SZ"]).output().unwrap();
    let now = String::from_utf8(now.stdout).unwrap().trim().to_owned();
    let expect = |service: &str, key: &str, date: &str, status: u16, code: &str| {
        let (got, body) = ask(service, key, date);
        assert!(got == status && body.contains(code), "{service} {key}: {got} {body}");
    };
    expect("ec2", "AKIANOBODY", &now, 401, "AuthFailure");
    expect("ec2-instance-connect", "AKIANOBODY", &now, 400, "UnrecognizedClientException");
    expect("sts", "AKIANOBODY", &now, 403, "InvalidClientTokenId");
    expect("ec2", prod(&sandbox), &now, 200, "reservationSet");
    sandbox.switches(Switches { clock_skew_s: Some(3600), ..Switches::default() }).unwrap();
    expect("ec2", prod(&sandbox), &now, 400, "RequestExpired");
    expect("ec2-instance-connect", prod(&sandbox), &now, 400, "Signature expired: ");
    expect("sts", prod(&sandbox), &now, 403, "SignatureDoesNotMatch");
    sandbox.switches(Switches { clock_skew_s: Some(-3600), ..Switches::default() }).unwrap();
    expect("ec2-instance-connect", prod(&sandbox), &now, 400, "Signature not yet current: ");
}

#[test]
fn switches_delay_fail_throttle_and_deny() {
    let sandbox = start(Form::Loopback);
    let describe = || query(&sandbox, "ec2", "Action=DescribeInstances");
    sandbox.switches(switches(r#"{"latency_ms":{"*":200}}"#)).unwrap();
    let begun = Instant::now();
    assert_eq!(describe().0, 200);
    assert!(begun.elapsed() >= Duration::from_millis(200));
    sandbox.reset_switches().unwrap();

    let fail = Fail { status: 503, code: "Unavailable".into(), message: String::new(), times: Some(1) };
    let failing = |fail: Fail| Switches { fail: [("DescribeInstances".into(), fail)].into(), ..Switches::default() };
    sandbox.switches(failing(fail.clone())).unwrap();
    assert_eq!((describe().0, describe().0), (503, 200));
    sandbox.switches(failing(Fail { code: "drop".into(), ..fail })).unwrap();
    assert_eq!((describe().0, describe().0), (0, 200));

    let throttle = Throttle { rate_per_s: 1e-9, burst: 2.0, times: 0 };
    let throttled = Switches { throttle: [("*".into(), throttle)].into(), ..Switches::default() };
    sandbox.switches(throttled).unwrap();
    assert_eq!((describe().0, describe().0), (200, 200));
    let (status, body) = describe();
    assert!(status == 503 && body.contains("RequestLimitExceeded"), "{body}");
    sandbox.reset_switches().unwrap();

    sandbox.switches(Switches { denied_regions: Some(vec!["eu-west-1".into()]), ..Switches::default() }).unwrap();
    let (status, body) = describe();
    assert!(status == 403 && body.contains("explicit deny in a service control policy"), "{body}");
    let dropped = sandbox.calls().unwrap().into_iter().filter(|call| call.status == 0).count();
    assert_eq!(dropped, 1);
}

#[test]
fn images_and_regions() {
    let sandbox = start(Form::Loopback);
    let (_, images) = query(&sandbox, "ec2", &format!("Action=DescribeImages&ImageId.1={UBUNTU}"));
    assert!(images.contains("<name>ubuntu/images/") && images.contains("<imageOwnerId>099720109477<"), "{images}");
    let (status, missing) = query(&sandbox, "ec2", "Action=DescribeImages&ImageId.1=ami-1&ImageId.2=ami-2");
    assert!(status == 400 && missing.contains("The image ids '[ami-1, ami-2]' do not exist"), "{missing}");
    let filter = "Action=DescribeImages&Filter.1.Name=image-id&Filter.1.Value.1=ami-1&Filter.1.Value.2=";
    assert_eq!(count(&query(&sandbox, "ec2", &format!("{filter}{UBUNTU}")).1, "<imageId>"), 1);
    assert_eq!(count(&query(&sandbox, "ec2", "Action=DescribeRegions").1, "<regionName>"), 17);
    sandbox.switches(Switches { regions: Some(vec!["eu-west-1".into()]), ..Switches::default() }).unwrap();
    assert_eq!(count(&query(&sandbox, "ec2", "Action=DescribeRegions").1, "<regionName>"), 1);
}
