//! Where hosts come from: patterns of profiles, the accounts of an SSO session, roles on top. Regions are in `regions`,
//! what single hosts have otherwise in `fleet_options`.

use std::collections::BTreeSet;

use sandbox::{ACCOUNT, Account, Call, Instance, STAGING_ACCOUNT, SignIn, Switches};

use crate::world::{CommandOutput, World};

mod fleet_options;
mod machine_wide;
mod own_config;
mod regions;

/// Writes the person's config.toml.
pub(crate) fn configure(world: &World, text: &str) {
    world.write(".config/ssh-eic/config.toml", text);
}

/// The accounts of the session `corp`: id, name, roles.
pub(crate) type Accounts<'a> = &'a [(&'a str, &'a str, &'a [&'a str])];

/// The token of whoever is signed in.
pub(crate) const TOKEN: &str = "token-of-corp";

/// Signs in to the SSO session `corp`, as `aws configure sso-session` and `aws sso login` would.
pub(crate) fn sign_in(world: &World, accounts: Accounts<'_>) {
    let account = |(id, name, roles): &(&str, &str, &[&str])| Account {
        id: (*id).to_owned(),
        name: (*name).to_owned(),
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
    };
    let accounts = accounts.iter().map(account).collect();
    world.sandbox.sign_in("corp", SignIn { access_token: TOKEN.to_owned(), accounts, ..SignIn::default() }).unwrap();
    append_aws_config(
        world,
        "[sso-session corp]\nsso_start_url = https://example.awsapps.com/start\nsso_region = eu-west-1\n",
    );
}

/// Adds sections to ~/.aws/config.
pub(crate) fn append_aws_config(world: &World, sections: &str) {
    let config = world.read(".aws/config") + sections + "\n";
    world.write(".aws/config", &config);
}

/// What `aws sso logout` does to the files.
pub(crate) fn sign_out(world: &World) {
    std::fs::remove_dir_all(world.home().join(".aws/sso/cache")).unwrap();
}

/// The calls of one action.
pub(crate) fn calls_of(world: &World, action: &str) -> Vec<Call> {
    world.sandbox.calls().unwrap().into_iter().filter(|call| call.action == action).collect()
}

/// A column of `list --json` by alias.
pub(crate) fn listed(world: &World, column: &str) -> Vec<(String, String)> {
    let output = world.eic(&["list", "--json"]);
    let json: serde_json::Value = serde_json::from_str(output.ok()).unwrap();
    let text = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    json.as_array().unwrap().iter().map(|row| (text(row, "alias"), text(row, column))).collect()
}

pub(crate) fn pairs(rows: &[(String, String)]) -> Vec<(&str, &str)> {
    rows.iter().map(|(alias, value)| (alias.as_str(), value.as_str())).collect()
}

/// How many errors are told, and what to type.
pub(crate) fn told(output: &CommandOutput) -> (usize, Vec<&str>) {
    let after = |prefix| output.stderr.lines().filter_map(move |line| line.strip_prefix(prefix));
    let commands =
        after("ssh-eic: hint: ").filter(|hint: &&str| hint.starts_with("aws ") || hint.starts_with("ssh-eic "));
    (after("ssh-eic: error: ").count(), commands.collect())
}

/// Logs in and returns account and region of the push.
pub(crate) fn login(world: &World, host: &str, id: &str) -> (String, String) {
    world.sandbox.clear_calls().unwrap();
    assert_eq!(world.ssh(&[host, "echo $SSH_EIC_INSTANCE"]).ok(), format!("{id}\n"));
    let push = world.pushes().pop().expect("a push");
    (push.account, push.region)
}

/// Accounts and regions that were asked for instances.
pub(crate) fn asked(world: &World) -> BTreeSet<(String, String)> {
    calls_of(world, "DescribeInstances").into_iter().map(|call| (call.account, call.region)).collect()
}

const A: &str = "200000000001";
const B: &str = "200000000002";

/// The profiles corp-a and corp-b of two accounts with a host in each; the id of the second one.
fn two_profiles(world: &mut World) -> String {
    for (profile, account) in [("corp-a", A), ("corp-b", B)] {
        world.sandbox.add_profile(profile, account, "us-east-1").unwrap();
    }
    world.sandbox.add(Instance::new("a-web").account(A).region("us-east-1").address("10.1.0.1")).unwrap();
    world.sandbox.add(Instance::new("b-web").account(B).region("us-east-1").address("10.1.0.2")).unwrap()
}

#[test]
fn a_pattern_is_one_source_for_each_profile_that_matches() {
    let mut world = World::bare();
    let id = two_profiles(&mut world);
    configure(&world, "[[source]]\nprofile = \"corp-*\"\n");
    world.eic(&["sync"]).says("2 hosts from corp-*").ok();
    assert_eq!(pairs(&listed(&world, "source")), [("a-web", "corp-a"), ("b-web", "corp-b")]);
    assert_eq!(login(&world, "b-web", &id), (B.to_owned(), "us-east-1".to_owned()));
    world.sandbox.clear_calls().unwrap();
    world.eic(&["sync", "--source", "corp-b"]).ok();
    assert_eq!(asked(&world), [(B.to_owned(), "us-east-1".to_owned())].into());
    world.sandbox.clear_calls().unwrap();
    world.eic(&["sync", "--source", "corp-*"]).ok();
    assert_eq!(asked(&world).len(), 2);
}

#[test]
fn a_pattern_with_a_name_puts_it_before_the_profiles() {
    let mut world = World::bare();
    let id = two_profiles(&mut world);
    configure(&world, "[[source]]\nname = \"x\"\nprofile = \"corp-?\"\n");
    world.eic(&["sync"]).ok();
    assert_eq!(pairs(&listed(&world, "source")), [("a-web", "x/corp-a"), ("b-web", "x/corp-b")]);
    assert_eq!(login(&world, "b-web", &id).0, B);
    world.sandbox.clear_calls().unwrap();
    world.eic(&["sync", "--source", "x/corp-a"]).ok();
    assert_eq!(asked(&world), [(A.to_owned(), "us-east-1".to_owned())].into());
    assert_eq!(listed(&world, "source").len(), 2, "the hosts of the other one stay");
}

#[test]
fn a_profile_with_a_source_of_its_own_is_not_doubled() {
    let mut world = World::bare();
    two_profiles(&mut world);
    let own = "[[source]]\nprofile = \"corp-b\"\nuser = \"deploy\"\n";
    configure(&world, &format!("[[source]]\nprofile = \"corp-*\"\n{own}"));
    world.eic(&["sync"]).ok();
    assert_eq!(calls_of(&world, "DescribeInstances").len(), 2, "each account once");
    assert_eq!(pairs(&listed(&world, "source")), [("a-web", "corp-a"), ("b-web", "corp-b")]);
    if crate::world::can_have_namespaces() {
        assert_eq!(pairs(&listed(&world, "user")), [("a-web", "ec2-user"), ("b-web", "deploy")]);
    }
}

#[test]
fn a_profile_with_a_source_of_another_name_is_not_doubled() {
    let mut world = World::bare();
    two_profiles(&mut world);
    for pattern in ["profile = \"corp-*\"", "name = \"x\"\nprofile = \"corp-*\""] {
        configure(&world, &format!("[[source]]\n{pattern}\n[[source]]\nname = \"mine\"\nprofile = \"corp-b\"\n"));
        world.sandbox.clear_calls().unwrap();
        world.eic(&["sync"]).ok();
        assert_eq!(calls_of(&world, "DescribeInstances").len(), 2, "each account once: {pattern}");
        assert_eq!(pairs(&listed(&world, "source"))[1], ("b-web", "mine"), "{pattern}");
    }
}

#[test]
fn a_pattern_that_matches_no_profile_is_reported_and_stops_no_other_source() {
    let world = World::bare();
    configure(&world, "[[source]]\nprofile = \"nope-*\"\n");
    world.eic(&["sync"]).fails_with(3).says("no AWS profile matches \"nope-*\"").says("prod, staging");
    configure(&world, "[[source]]\nprofile = \"nope-*\"\n[[source]]\nprofile = \"prod\"\n");
    world.eic(&["sync"]).fails_with(3).says("no AWS profile matches \"nope-*\"");
    world.ssh(&["prod-web-1", "true"]).ok();
}

#[test]
fn hosts_of_a_pattern_stay_while_nothing_matches_it_and_go_with_their_profile() {
    let mut world = World::bare();
    two_profiles(&mut world);
    configure(&world, "[[source]]\nprofile = \"corp-*\"\n");
    world.eic(&["sync"]).ok();
    let whole = world.read(".aws/config");
    world.write(".aws/config", "");
    let credentials = world.read(".aws/credentials");
    world.write(".aws/credentials", "");
    world.eic(&["sync"]).fails_with(3);
    assert_eq!(world.eic(&["list", "--names"]).ok(), "a-web\nb-web\n");
    world.write(".aws/config", &whole.replace("profile corp-a", "profile away-a"));
    world.write(".aws/credentials", &credentials.replace("[corp-a]", "[away-a]"));
    world.eic(&["sync"]).ok();
    assert_eq!(world.eic(&["list", "--names"]).ok(), "b-web\n");
}

const CORP: &str = "[[source]]\nsso_session = \"corp\"\nrole = [\"SshUser\", \"ReadOnly\"]\n\
    regions = [\"eu-west-1\"]\nalias = \"{account_name}-{Name}\"\n";

/// A host in each of five accounts, three of which count.
fn company(world: &World) -> String {
    let accounts: Accounts<'_> = &[
        (ACCOUNT, "prod", &["ReadOnly", "SshUser"]),
        (STAGING_ACCOUNT, "staging", &["ReadOnly"]),
        (A, "billing", &["Billing"]),
        (B, "sand-box", &["SshUser"]),
        ("200000000003", "attic", &["SshUser"]),
    ];
    sign_in(world, accounts);
    let web = |account: &str, n: u8| Instance::new("web").account(account).address(format!("10.2.0.{n}"));
    for (account, n) in [(STAGING_ACCOUNT, 2), (A, 3), (B, 4), ("200000000003", 5)] {
        world.sandbox.add(web(account, n)).unwrap();
    }
    world.sandbox.add(web(ACCOUNT, 1)).unwrap()
}

#[test]
fn a_session_is_one_source_for_each_account_that_offers_the_role() {
    let world = World::bare();
    let id = company(&world);
    configure(&world, &format!("{CORP}exclude_accounts = [\"sand-*\", \"200000000003\"]\n"));
    world.eic(&["sync"]).ok();
    let hosts = listed(&world, "source");
    let expected = [
        ("prod-prod-web-1", "corp/prod"),
        ("prod-prod-web-2", "corp/prod"),
        ("prod-web", "corp/prod"),
        ("staging-web", "corp/staging"),
    ];
    assert_eq!(pairs(&hosts), expected);
    let held: BTreeSet<(String, String)> = calls_of(&world, "GetRoleCredentials")
        .into_iter()
        .map(|call| ["account_id", "role_name"].map(|key| call.params[key].as_str().unwrap().to_owned()).into())
        .collect();
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(held, [pair(ACCOUNT, "SshUser"), pair(STAGING_ACCOUNT, "ReadOnly")].into());
    assert_eq!(login(&world, "prod-web", &id).0, ACCOUNT);
}

#[test]
fn accounts_of_a_session_are_chosen_by_id_and_by_name() {
    let world = World::bare();
    company(&world);
    configure(&world, &format!("{CORP}accounts = [\"stag*\", \"2000*\"]\nexclude_accounts = [\"attic\"]\n"));
    world.eic(&["sync"]).ok();
    assert_eq!(pairs(&listed(&world, "source")), [("sand-box-web", "corp/sand-box"), ("staging-web", "corp/staging")]);
    configure(&world, &format!("{CORP}accounts = [\"billing\"]\n"));
    world
        .eic(&["sync"])
        .fails_with(6)
        .says("no account of the SSO session \"corp\" offers you a role SshUser, ReadOnly (roles: Billing)");
}

#[test]
fn only_the_selected_account_of_a_session_is_queried() {
    let world = World::bare();
    company(&world);
    let place = |account: &str| (account.to_owned(), "eu-west-1".to_owned());
    configure(&world, &format!("{CORP}accounts = [\"prod\", \"staging\"]\n[[source]]\nprofile = \"staging\"\n"));
    world.eic(&["sync"]).ok();
    let before = world.eic(&["list", "--names"]).ok().to_owned();
    for (name, expected) in [("corp/prod", vec![ACCOUNT]), ("corp", vec![ACCOUNT, STAGING_ACCOUNT])] {
        world.sandbox.clear_calls().unwrap();
        world.eic(&["sync", "--source", name]).ok();
        assert_eq!(asked(&world), expected.into_iter().map(place).collect(), "--source {name}");
        assert_eq!(world.eic(&["list", "--names"]).ok(), before, "--source {name}");
    }
    world.eic(&["sync", "--source", "corp/nope"]).fails_with(2).says("there is no source \"corp/nope\"");
}

#[test]
fn an_expired_session_is_one_error_and_one_hint_for_all_that_share_it() {
    let world = World::bare();
    company(&world);
    append_aws_config(
        &world,
        "[profile signed]\nregion = us-east-1\nsso_session = corp\n\
         sso_account_id = 111122223333\nsso_role_name = SshUser\n",
    );
    let second = "[[source]]\nname = \"us\"\nsso_session = \"corp\"\nrole = \"SshUser\"\nregions = [\"us-east-1\"]\n";
    configure(&world, &format!("{CORP}{second}[[source]]\nprofile = \"signed\"\n"));
    world.eic(&["sync"]).ok();
    let before = world.eic(&["list", "--names"]).ok().to_owned();
    let check = |output: &CommandOutput| {
        output.fails_with(5).says("the SSO session \"corp\" has expired");
        assert_eq!(told(output), (1, vec!["aws sso login --sso-session corp"]), "{output}");
        assert_eq!(world.eic(&["list", "--names"]).ok(), before);
    };
    world.expire(TOKEN);
    let output = world.eic(&["sync"]);
    check(&output);
    output.says("the same for us");
    world.sandbox.reset_switches().unwrap();
    sign_out(&world);
    let output = world.eic(&["sync"]);
    check(&output);
    output.says("the same for us, signed");
    check(&world.eic(&["sync", "--source", "corp/prod"]));
}

#[test]
fn an_account_whose_roles_cannot_be_listed_does_not_stop_the_others() {
    let world = World::bare();
    company(&world);
    configure(&world, &format!("{CORP}accounts = [\"prod\", \"staging\"]\n"));
    world.eic(&["sync"]).ok();
    world.sandbox.add(Instance::new("new").address("10.2.0.9")).unwrap();
    let deny = vec![format!("ListAccountRoles@{STAGING_ACCOUNT}")];
    world.switch(Switches { deny: Some(deny), ..Switches::default() });
    world.eic(&["sync"]).fails_with(6).says("ListAccountRoles");
    let names = world.eic(&["list", "--names"]);
    assert!(names.ok().contains("staging-web\n"), "the last known hosts stay\n{names}");
    assert!(names.ok().contains("prod-new\n"), "the other account is asked\n{names}");
}

#[test]
fn an_sso_session_that_is_not_configured_is_reported() {
    let world = World::bare();
    configure(&world, "[[source]]\nsso_session = \"corp\"\nrole = \"SshUser\"\n");
    world.eic(&["sync"]).fails_with(3).says("there is no [sso-session corp]").says("aws configure sso-session");
}

const ROLE: &str = "arn:aws:iam::444455556666:role/ssh";

/// The role in the other account, which asks for an external id, and a host there.
fn role_world() -> (World, String) {
    let world = World::bare();
    let web = Instance::new("role-web").account(STAGING_ACCOUNT).address("10.3.0.1");
    let id = world.sandbox.add(web).unwrap();
    let external_ids = [(ROLE.to_owned(), "corp-7".to_owned())].into();
    world.switch(Switches { external_ids, ..Switches::default() });
    (world, id)
}

#[test]
fn a_second_role_is_assumed_with_its_external_id_and_session_name() {
    let (world, id) = role_world();
    let source = format!("[[source]]\nprofile = \"prod\"\nrole_arn = \"{ROLE}\"\n");
    configure(&world, &format!("{source}external_id = \"corp-7\"\nrole_session_name = \"alice\"\n"));
    world.eic(&["sync"]).ok();
    let assumed = calls_of(&world, "AssumeRole").pop().unwrap();
    assert_eq!((assumed.account.as_str(), assumed.params["RoleSessionName"].as_str()), (ACCOUNT, Some("alice")));
    assert_eq!(world.eic(&["list", "--names"]).ok(), "role-web\n");
    assert_eq!(login(&world, "role-web", &id).0, STAGING_ACCOUNT);
    for external_id in ["", "external_id = \"corp-8\"\n"] {
        configure(&world, &format!("{source}{external_id}"));
        let output = world.eic(&["sync"]);
        assert!(matches!(output.code, Some(5 | 6)), "{output}");
        output.says("cannot assume its role").says("external_id");
        assert_eq!(world.eic(&["list", "--names"]).ok(), "role-web\n");
    }
}

#[test]
fn a_role_of_another_account_is_assumed_from_a_session() {
    let (world, id) = role_world();
    sign_in(&world, &[(ACCOUNT, "hub", &["SshUser"])]);
    let source = "[[source]]\nsso_session = \"corp\"\nrole = \"SshUser\"\nregions = [\"eu-west-1\"]\n";
    configure(&world, &format!("{source}role_arn = \"{ROLE}\"\nexternal_id = \"corp-7\"\n"));
    world.eic(&["sync"]).ok();
    assert_eq!(login(&world, "role-web", &id).0, STAGING_ACCOUNT);
}

#[test]
fn credentials_of_another_account_than_the_named_one_are_refused() {
    let world = World::bare();
    configure(&world, "[[source]]\nprofile = \"prod\"\naccount = \"444455556666\"\n");
    world.eic(&["sync"]).fails_with(5).says("has credentials for account 111122223333, not for 444455556666");
    assert!(calls_of(&world, "DescribeInstances").is_empty(), "nothing is asked with them");
    let role = format!("role_arn = \"{ROLE}\"\n");
    configure(&world, &format!("[[source]]\nprofile = \"prod\"\n{role}account = \"111122223333\"\n"));
    world.eic(&["sync"]).fails_with(5).says("has credentials for account 444455556666, not for 111122223333");
}
