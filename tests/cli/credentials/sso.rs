//! What becomes of kept credentials with the SSO session that they come from, and what the user reads when it gives
//! none.

use std::time::{SystemTime, UNIX_EPOCH};

use sandbox::{ACCOUNT, Account, Fail, SignIn, Switches};

use super::{FETCH, PUSH, SESSION, SSO_PROFILE, calls, cold, forget};
use crate::sources::{append_aws_config, configure, sign_in, sign_out};
use crate::world::{CommandOutput, World};

/// Both ways to name a role of the session.
const BOTH: [(&str, &str); 2] = [("[[source]]\nprofile = \"signed\"\n", SSO_PROFILE), (SESSION, "")];

/// Signs in with a token that ends in so many seconds.
fn token(world: &World, access_token: &str, seconds: i64, refresh_token: &str) {
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let sign_in = SignIn {
        access_token: access_token.to_owned(),
        refresh_token: refresh_token.to_owned(),
        expires: Some(now + seconds),
        accounts: vec![Account { id: ACCOUNT.to_owned(), name: "prod".to_owned(), roles: vec!["SshUser".to_owned()] }],
    };
    world.sandbox.sign_in("corp", sign_in).unwrap();
}

#[test]
fn after_a_sign_out_cached_credentials_are_not_used() {
    for (source, aws_config) in BOTH {
        let world = cold(source, aws_config);
        world.ssh(&["prod-web-1", "true"]).ok();
        sign_out(&world);
        world.sandbox.clear_calls().unwrap();
        let check = |output: &CommandOutput| {
            output.fails_with(255).says("SSO session \"corp\" has expired").says("aws sso login --sso-session corp");
        };
        check(&world.ssh(&["prod-web-2", "true"]));
        check(&world.ssh(&["-o", "ControlMaster=auto", "-o", "ControlPersist=2", "prod-web-2", "true"]));
        assert_eq!(world.sandbox.calls().unwrap(), []);
        // The same person again: nothing is left of the failure.
        sign_in(&world, &[(ACCOUNT, "prod", &["SshUser"])]);
        world.ssh(&["prod-web-2", "true"]).ok();
    }
}

#[test]
fn an_expired_session_is_reported() {
    for (source, aws_config) in BOTH {
        let world = cold(source, aws_config);
        token(&world, "yesterday", -5, "");
        world.ssh(&["prod-web-1", "true"]).fails_with(255).says("aws sso login --sso-session corp");
        world.eic(&["sync"]).fails_with(5).says("aws sso login --sso-session corp");
        assert_eq!(world.pushes(), []);
    }
}

#[test]
fn a_role_that_is_no_longer_assigned_is_reported() {
    for (source, aws_config) in BOTH {
        let world = cold(source, aws_config);
        sign_in(&world, &[(ACCOUNT, "prod", &["Other"])]);
        let output = world.ssh(&["prod-web-1", "true"]);
        output.fails_with(255).says("SshUser");
        // Signing in again would not help.
        assert!(!output.stderr.contains("expired") && !output.stderr.contains("aws sso login"), "{source}{output}");
    }
}

#[test]
fn a_second_role_that_is_denied_is_reported() {
    let role = "role_arn = \"arn:aws:iam::111122223333:role/ssh\"\n";
    for (source, aws_config) in BOTH {
        let world = cold(&format!("{source}{role}"), aws_config);
        world.deny("AssumeRole");
        let output = world.ssh(&["prod-web-1", "true"]);
        output.fails_with(255).says("cannot assume its role");
        assert!(!output.stderr.contains("expired") && !output.stderr.contains("aws sso login"), "{source}{output}");
    }
}

#[test]
fn a_failing_portal_is_reported_as_unavailable() {
    for (source, aws_config) in BOTH {
        let world = cold(source, aws_config);
        for (status, code) in [(503, "ServiceUnavailable"), (429, "TooManyRequestsException")] {
            let fail = Fail { status, code: code.to_owned(), message: String::new(), times: None };
            let fail = [(FETCH.to_owned(), fail)].into();
            world.switch(Switches { fail, ..Switches::default() });
            let output = world.ssh(&["prod-web-1", "true"]);
            output.fails_with(255).says("ssh-eic: error: ");
            assert!(!output.stderr.contains("expired") && !output.stderr.contains("aws sso login"), "{source}{output}");
        }
    }
}

#[test]
fn a_token_that_is_refreshed_during_a_request_needs_no_second_fetch() {
    let world = World::bare();
    sign_in(&world, &[]);
    append_aws_config(&world, SSO_PROFILE);
    token(&world, "first", 3600, "refresh");
    configure(&world, "[[source]]\nprofile = \"signed\"\n");
    world.eic(&["sync"]).ok();
    forget(&world);
    token(&world, "second", -5, "refresh");
    assert_eq!(calls(&world, "prod-web-1"), ["CreateToken", FETCH, PUSH]);
    assert_eq!(calls(&world, "prod-web-2"), [PUSH]);
}
