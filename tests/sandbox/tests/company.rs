//! A company's size: forty accounts behind one sign-in, roles assumed from one account into others, static profiles.

mod common;

use common::{authorization, http, query, start};
use sandbox::{ACCOUNT, Account, Form, Instance, Network, STAGING_ACCOUNT, Sandbox, SignIn, Switches};
use serde_json::Value;

const ACCOUNTS: usize = 40;
const REGION: &str = "us-east-1";

/// A session's key and token.
struct Session {
    key: String,
    token: String,
}

fn call(sandbox: &Sandbox, session: &Session, service: &str, form: &str) -> (u16, String) {
    let signed = authorization(&session.key, REGION, service);
    let token = match session.token.as_str() {
        "" => String::new(),
        token => format!("x-amz-security-token: {token}\r\n"),
    };
    http(sandbox, &format!("POST / HTTP/1.1\r\nhost: x\r\n{signed}{token}"), form)
}

/// The `Name` tags that a session sees.
fn names(sandbox: &Sandbox, session: &Session) -> Vec<String> {
    let (status, body) = call(sandbox, session, "ec2", "Action=DescribeInstances");
    assert_eq!(status, 200, "{body}");
    body.split("<value>").skip(1).filter_map(|rest| rest.split('<').next()).map(String::from).collect()
}

fn id(n: usize) -> String {
    format!("{:012}", 200_000_000_000 + n)
}

fn roles(n: usize) -> Vec<String> {
    let all = ["SshUser", "ReadOnly", "Admin", "Billing", "Audit"];
    all[..=n % all.len()].iter().copied().map(String::from).collect()
}

/// One instance in each of forty accounts.
fn company(sandbox: &Sandbox) {
    let one = |n| Instance::new(&format!("host-{n}")).account(id(n)).region(REGION).network(Network::Away);
    sandbox.add_many((0..ACCOUNTS).map(one).collect()).unwrap();
}

/// Every page of a list of the portal, and how long each was.
fn pages(sandbox: &Sandbox, path: &str, list: &str) -> (Vec<Value>, Vec<usize>) {
    let (mut all, mut sizes, mut next) = (Vec::new(), Vec::new(), String::new());
    loop {
        let page = portal(sandbox, &format!("{path}{next}"));
        let items = page[list].as_array().unwrap();
        sizes.push(items.len());
        all.extend_from_slice(items);
        let Some(token) = page["nextToken"].as_str() else { return (all, sizes) };
        next = format!("&next_token={token}");
    }
}

fn portal(sandbox: &Sandbox, path: &str) -> Value {
    let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nx-amz-sso_bearer_token: token-1\r\n");
    let (status, body) = http(sandbox, &head, "");
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

#[test]
fn one_sign_in_opens_forty_accounts_with_several_roles_each() {
    let sandbox = start(Form::Loopback);
    company(&sandbox);
    let account = |n| Account { id: id(n), name: format!("account-{n}"), roles: roles(n) };
    let accounts = (0..ACCOUNTS).map(account).collect();
    let sign_in = SignIn { access_token: "token-1".into(), accounts, ..SignIn::default() };
    sandbox.sign_in("corp", sign_in).unwrap();

    let (accounts, sizes) = pages(&sandbox, "/assignment/accounts?max_result=15", "accountList");
    assert_eq!(sizes, [15, 15, 10]);
    assert_eq!(pages(&sandbox, "/assignment/accounts?", "accountList").1, [40]);
    assert_eq!(pages(&sandbox, "/assignment/accounts?max_result=40", "accountList").1, [40]);
    for size in ["0", "101", "x"] {
        let path = format!("/assignment/accounts?max_result={size}");
        let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nx-amz-sso_bearer_token: token-1\r\n");
        let (status, body) = http(&sandbox, &head, "");
        assert!(status == 400 && body.contains("InvalidRequestException"), "{size}: {status} {body}");
    }
    for (n, account) in accounts.iter().enumerate() {
        assert_eq!((account["accountId"].as_str(), account["accountName"].is_string()), (Some(id(n).as_str()), true));
        let path = format!("/assignment/roles?account_id={}&max_result=2", id(n));
        let (offered, _) = pages(&sandbox, &path, "roleList");
        let offered: Vec<_> = offered.iter().map(|role| role["roleName"].as_str().unwrap()).collect();
        assert_eq!(offered, roles(n));
        let role = offered.last().unwrap();
        let path = format!("/federation/credentials?account_id={}&role_name={role}", id(n));
        let given = portal(&sandbox, &path)["roleCredentials"].take();
        let text = |name: &str| given[name].as_str().unwrap().to_owned();
        let session = Session { key: text("accessKeyId"), token: text("sessionToken") };
        assert_eq!(names(&sandbox, &session), [format!("host-{n}")]);
        let (_, me) = call(&sandbox, &session, "sts", "Action=GetCallerIdentity&Version=2011-06-15");
        assert!(me.contains(&format!("<Account>{}</Account>", id(n))) && me.contains(role), "{me}");
    }
}

#[test]
fn a_role_assumed_in_another_account_sees_that_account() {
    let sandbox = start(Form::Loopback);
    company(&sandbox);
    let role = format!("arn:aws:iam::{}:role/ssh", id(7));
    let external_ids = [(role.clone(), String::from("corp-7"))].into();
    sandbox.switches(Switches { external_ids, ..Switches::default() }).unwrap();
    let assume = |extra: &str| {
        let form = format!("Action=AssumeRole&Version=2011-06-15&RoleArn={role}&RoleSessionName=me{extra}");
        query(&sandbox, "sts", &form)
    };
    for wrong in ["", "&ExternalId=corp-8"] {
        let (status, body) = assume(wrong);
        assert!(status == 403 && body.contains("<Code>AccessDenied</Code>"), "{status} {body}");
    }
    let (status, body) = assume("&ExternalId=corp-7");
    assert_eq!(status, 200, "{body}");
    let field = |name: &str| {
        let rest = body.split(&format!("<{name}>")).nth(1).unwrap();
        rest.split('<').next().unwrap().to_owned()
    };
    let session = Session { key: field("AccessKeyId"), token: field("SessionToken") };
    assert_eq!(names(&sandbox, &session), ["host-7"]);
}

#[test]
fn added_profiles_call_as_their_accounts_and_stand_in_the_files() {
    let mut sandbox = start(Form::Loopback);
    company(&sandbox);
    for n in 0..ACCOUNTS {
        sandbox.add_profile(&format!("corp-{n}"), &id(n), REGION).unwrap();
    }
    assert!(sandbox.add_profile("prod", ACCOUNT, REGION).is_err());
    for n in 0..ACCOUNTS {
        let key = sandbox.credential(&format!("corp-{n}")).unwrap().access_key_id.clone();
        assert_eq!(names(&sandbox, &Session { key, token: String::new() }), [format!("host-{n}")]);
    }
    let read = |name: &str| std::fs::read_to_string(sandbox.home().join(".aws").join(name)).unwrap();
    let (config, secrets) = (read("config"), read("credentials"));
    assert!(config.starts_with("[default]\nregion = eu-west-1\n"), "{config}");
    assert!(config.contains("[profile staging]\n"), "{config}");
    assert!(config.contains("[profile corp-39]\nregion = us-east-1\n"), "{config}");
    let key = &sandbox.credential("corp-39").unwrap().access_key_id;
    assert!(secrets.contains(&format!("[corp-39]\naws_access_key_id = {key}\n")), "{secrets}");
}

#[test]
fn a_region_denied_by_the_organization_is_enabled_and_shut() {
    let mut sandbox = start(Form::Loopback);
    sandbox.add_profile("corp", STAGING_ACCOUNT, REGION).unwrap();
    let switches = Switches {
        regions: Some(vec!["eu-west-1".into(), REGION.into()]),
        denied_regions: Some(vec![REGION.into()]),
        ..Switches::default()
    };
    sandbox.switches(switches).unwrap();
    let (_, regions) = query(&sandbox, "ec2", "Action=DescribeRegions");
    assert!(regions.contains("<regionName>us-east-1<") && !regions.contains("us-west-2"), "{regions}");
    assert_eq!(query(&sandbox, "ec2", "Action=DescribeInstances").0, 200);
    let key = sandbox.credential("corp").unwrap().access_key_id.clone();
    let session = Session { key, token: String::new() };
    let (status, body) = call(&sandbox, &session, "ec2", "Action=DescribeInstances");
    assert!(status == 403 && body.contains("<Code>UnauthorizedOperation</Code>"), "{status} {body}");
    assert!(body.contains("with an explicit deny in a service control policy"), "{body}");
    // A person still finds out who they are.
    assert_eq!(call(&sandbox, &session, "sts", "Action=GetCallerIdentity&Version=2011-06-15").0, 200);
}
