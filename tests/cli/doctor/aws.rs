//! Faults of credentials and permissions, and what AWS says of the instance.

use std::time::{SystemTime, UNIX_EPOCH};

use sandbox::{ACCOUNT, Account, Change, Fail, Instance, SignIn, State, Switches, needs_namespaces};

use super::{doctor, doctor_in, world};
use crate::sources::{append_aws_config, configure};
use crate::world::World;

fn fail(world: &World, action: &str, status: u16, code: &str, message: &str) {
    let fail = Fail { status, code: code.to_owned(), message: message.to_owned(), times: None };
    world.fail(action, fail);
}

#[needs_namespaces]
#[test]
fn missing_credentials_are_named() {
    let world = world();
    let (config, credentials) = (world.read(".aws/config"), world.read(".aws/credentials"));
    world.write(".aws/credentials", "");
    doctor(&world, &["prod-web-1"])
        .problem("no-credentials", &["no AWS credentials in profile \"prod\"", "--profile prod"]);
    doctor(&world, &[]).problem("no-credentials", &["no AWS credentials in profile \"prod\""]);
    world.write(".aws/config", "");
    doctor(&world, &["prod-web-1"]).problem("no-profile", &["there is no AWS profile \"prod\"", "aws configure"]);
    world.write(".aws/credentials", &credentials);
    configure(&world, "[[source]]\nprofile = \"prod\"\n");
    doctor(&world, &[]).problem("no-region", &["no region is set for profile \"prod\"", "set regions"]);
    world.write(".aws/config", &config);
    doctor_in(&world, "AWS_CA_BUNDLE=/nosuch.pem", &[])
        .problem("ca-bundle", &["/nosuch.pem", "AWS_CA_BUNDLE must be a file of PEM certificates"]);
    doctor_in(&world, "AWS_ENDPOINT_URL=http://127.0.0.1:9", &["prod-web-1"])
        .problem("aws-unreachable", &["AWS could not be reached", "HTTPS_PROXY"]);
}

#[needs_namespaces]
#[test]
fn credentials_that_aws_rejects_are_named() {
    let world = world();
    let credentials = world.read(".aws/credentials");
    world.expire(&world.access_key("prod"));
    doctor(&world, &["prod-web-1"])
        .problem("credentials-expired", &["profile \"prod\"", "have expired", "aws sso login"]);
    world.sandbox.reset_switches().unwrap();
    world.switch(Switches { clock_skew_s: Some(-1200), ..Switches::default() });
    doctor(&world, &["prod-web-1"]).problem("clock-off", &["20 min ahead of AWS's", "timedatectl"]);
    world.sandbox.reset_switches().unwrap();
    world.write(".aws/credentials", &credentials.replace(&world.access_key("prod"), "AKIAUNKNOWN00000TEST"));
    doctor(&world, &["prod-web-1"])
        .problem("credentials-refused", &["are not accepted", "replace the access key of the profile"]);
    world.write(".aws/credentials", &credentials.replace(&world.access_key("prod"), &world.access_key("staging")));
    let words = ["has credentials for account 444455556666, not for 111122223333", "sign in to the right account"];
    doctor(&world, &["prod-web-1"]).problem("wrong-account", &words);
    doctor(&world, &[]).problem("wrong-account", &words);
}

#[needs_namespaces]
#[test]
fn a_role_that_cannot_be_assumed_is_named() {
    let world = world();
    let role = "role_arn = arn:aws:iam::111122223333:role/ssh\nsource_profile = prod\n";
    append_aws_config(&world, &format!("[profile role]\nregion = eu-west-1\n{role}"));
    append_aws_config(&world, &format!("[profile mfa]\nregion = eu-west-1\n{role}mfa_serial = arn:aws:iam::1:mfa/a\n"));
    configure(&world, "[[source]]\nprofile = \"role\"\n");
    world.eic(&["sync"]).ok();
    let lasts = doctor(&world, &["prod-web-1", "--valid-for", "12h"]);
    lasts.all_ok();
    world.deny("AssumeRole");
    world.sh("rm -r .cache/ssh-eic/credentials").ok();
    doctor(&world, &["prod-web-1"]).problem("role-refused", &["cannot assume its role", "trust policy"]);
    configure(&world, "[[source]]\nprofile = \"mfa\"\n");
    doctor(&world, &[]).problem("needs-mfa", &["needs an MFA code", "credential_process"]);
}

/// Signs in with a token that ends in so many seconds.
fn sign_in(world: &World, seconds: i64, refresh_token: &str) {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let sign_in = SignIn {
        access_token: format!("token-{seconds}"),
        refresh_token: refresh_token.to_owned(),
        expires: Some(now + seconds),
        accounts: vec![Account { id: ACCOUNT.to_owned(), name: "prod".to_owned(), roles: vec!["SshUser".to_owned()] }],
    };
    world.sandbox.sign_in("corp", sign_in).unwrap();
}

#[needs_namespaces]
#[test]
fn a_session_that_ends_too_soon_is_named() {
    let world = world();
    let session = "[sso-session corp]\nsso_start_url = https://example.awsapps.com/start\nsso_region = eu-west-1\n";
    append_aws_config(&world, session);
    sign_in(&world, 4 * 3600, "");
    configure(
        &world,
        "[[source]]\nname = \"corp\"\nsso_session = \"corp\"\nrole = \"SshUser\"\nregions = [\"eu-west-1\"]\n",
    );
    world.eic(&["sync"]).ok();
    let found = doctor(&world, &["prod-web-1", "--valid-for", "2h"]);
    found.all_ok();
    assert!(found.human.stdout.contains("until 20"), "{}", found.human);
    let short = ["signs for account 111122223333 until ", "and not for 5 h", "aws sso login --sso-session corp"];
    doctor(&world, &["prod-web-1", "--valid-for", "5h"]).problem("credentials-short", &short);
    doctor(&world, &["--valid-for", "5h"]).problem("credentials-short", &short);
    // One that refreshes itself lasts longer than its token, nobody here knows how long.
    sign_in(&world, 4 * 3600, "again");
    let found = doctor(&world, &["prod-web-1", "--valid-for", "5h"]);
    found.healthy().note("lifetime-unknown", &["and is renewed", "Identity Center"]);
    sign_in(&world, -5, "");
    world.sh("rm -r .cache/ssh-eic/credentials; rm -r .aws/sso/cache").ok();
    doctor(&world, &["prod-web-1"])
        .problem("sso-expired", &["SSO session \"corp\" has expired", "aws sso login --sso-session corp"]);
    doctor(&world, &[]).problem("sso-expired", &["aws sso login --sso-session corp"]);
}

#[needs_namespaces]
#[test]
fn no_expiry_is_reported_for_long_lived_keys_and_those_of_the_environment() {
    let world = world();
    let found = doctor(&world, &["prod-web-1", "--valid-for", "100d"]);
    found.all_ok();
    assert!(found.human.stdout.contains("and does not expire"), "{}", found.human);
    let credential = sandbox::Credential {
        session_token: Some("session".to_owned()),
        ..sandbox::Credential::long_lived("ASIATEMPORARY000TEST", ACCOUNT, "alice")
    };
    world.sandbox.add_credential(credential).unwrap();
    configure(&world, "[[source]]\nregions = [\"eu-west-1\"]\n");
    let keys = "AWS_ACCESS_KEY_ID=ASIATEMPORARY000TEST AWS_SECRET_ACCESS_KEY=x AWS_SESSION_TOKEN=session";
    doctor_in(&world, keys, &["--valid-for", "2h"]).healthy().note("lifetime-unknown", &["until an unknown time"]);
}

#[needs_namespaces]
#[test]
fn a_terminated_stopped_or_windows_instance_is_named() {
    let world = world();
    let state = |id: &str, state| world.sandbox.update(id, Change { state: Some(state), ..Change::default() }).unwrap();
    state(&world.web1, State::Stopped);
    let start = format!("aws ec2 start-instances --instance-ids {} --region eu-west-1 --profile prod", world.web1);
    doctor(&world, &["prod-web-1"]).problem("instance-stopped", &["has been stopped since 20", &start]);
    state(&world.web1, State::Terminated);
    doctor(&world, &["prod-web-1"]).problem("instance-gone", &["was terminated at 20", "ssh-eic sync"]);
    world.sandbox.remove(&world.web2).unwrap();
    doctor(&world, &["prod-web-2"]).problem("instance-gone", &["is not in eu-west-1", "ssh-eic sync"]);
    let windows = world.sandbox.add(Instance::new("win").windows()).unwrap();
    doctor(&world, &[&windows]).problem("instance-windows", &["is Windows", "aws ssm start-session"]);
}

#[needs_namespaces]
#[test]
fn a_denied_query_is_a_note_and_a_denied_push_a_problem() {
    let world = world();
    world.deny("DescribeInstances");
    doctor(&world, &["prod-web-1"])
        .healthy()
        .note("describe-denied", &["AWS denies ec2:DescribeInstances", "allow ec2"]);
    world.deny("SendSSHPublicKey@ec2-user");
    world.sh("rm .ssh/eic/keys/*").ok();
    let words = ["AWS denies ec2-instance-connect:SendSSHPublicKey on prod-web-1", "ssh-eic policy"];
    doctor(&world, &["prod-web-1"]).problem("permission-denied", &words);
}

#[needs_namespaces]
#[test]
fn each_error_of_a_push_is_named() {
    let world = world();
    fail(&world, "SendSSHPublicKey", 400, "InvalidArgsException", "bad\u{1b}[31muser");
    let found = doctor(&world, &["prod-web-1"]);
    found.problem("user-refused", &["rejects the OS user or the key", "user in config.toml"]);
    assert!(!found.human.stdout.contains('\u{1b}') && !found.json.stdout.contains("\\u001b"), "{}", found.json);
    fail(&world, "SendSSHPublicKey", 400, "EC2InstanceUnavailableException", "unavailable");
    let found = doctor(&world, &["prod-web-1"]);
    found.problem("instance-unavailable", &["cannot reach prod-web-1", "it may still be starting"]);
    found.human.within(std::time::Duration::from_secs(40));
}

#[needs_namespaces]
#[test]
fn throttling_and_failures_of_aws_are_named() {
    let world = world();
    fail(&world, "DescribeInstances", 503, "Unavailable", "");
    doctor(&world, &["prod-web-1"]).problem("aws-failed", &["AWS failed in eu-west-1 (503 Unavailable)", "try again"]);
    world.sandbox.reset_switches().unwrap();
    world.throttle("SendSSHPublicKey", 10_000);
    let found = doctor(&world, &["prod-web-1"]);
    found.problem("throttled", &["AWS throttles requests", "push_rate"]);
    found.human.within(std::time::Duration::from_secs(45));
}

#[needs_namespaces]
#[test]
fn a_permission_that_was_revoked_since_the_last_push_is_named() {
    let world = world();
    world.ssh(&["prod-web-1", "true"]).ok();
    world.deny("SendSSHPublicKey");
    doctor(&world, &["prod-web-1"])
        .problem("permission-denied", &["AWS denies ec2-instance-connect:SendSSHPublicKey", "ssh-eic policy"]);
}
