//! Limits of what is read from AWS, and what of a response reaches a log.

use sandbox::{ACCOUNT, Fail, Switches};

use super::{SESSION, SSO_PROFILE, cold};
use crate::sources::{calls_of, configure, sign_in};
use crate::world::World;

fn repeating(action: &str) -> Switches {
    Switches { repeat_next_token: Some(vec![action.to_owned()]), ..Switches::default() }
}

#[test]
fn a_continuation_token_that_repeats_ends_the_query() {
    let world = World::new();
    world.switch(repeating("DescribeInstances"));
    let output = world.eic(&["sync"]);
    output.says("ec2:DescribeInstances").says("the same page again");
    assert!(output.code != Some(0), "{output}");
    assert!(calls_of(&world, "DescribeInstances").len() <= 3);
}

#[test]
fn a_continuation_token_of_identity_center_that_repeats_ends_the_query() {
    for action in ["ListAccounts", "ListAccountRoles"] {
        let world = World::bare();
        sign_in(&world, &[(ACCOUNT, "prod", &["SshUser"])]);
        configure(
            &world,
            "[[source]]\nname = \"corp\"\nsso_session = \"corp\"\nrole = \"SshUser\"\nregions = [\"eu-west-1\"]\n",
        );
        world.switch(repeating(action));
        world.eic(&["sync"]).says(&format!("sso:{action}")).says("the same page again");
        assert!(calls_of(&world, action).len() <= 3);
    }
}

#[test]
fn an_endless_response_is_aborted() {
    for action in ["DescribeInstances", "SendSSHPublicKey"] {
        let world = World::new();
        world.switch(Switches { endless_body: Some(vec![action.to_owned()]), ..Switches::default() });
        let output =
            if action == "DescribeInstances" { world.eic(&["sync"]) } else { world.eic(&["push", "prod-web-1"]) };
        output.says(action).says("too large");
        assert!(output.code != Some(0), "{output}");
        assert_eq!(calls_of(&world, action).len(), 1, "it is not requested again");
    }
}

#[test]
fn verbose_output_has_no_response_body() {
    let secret = "hunter2-in-the-body";
    let fail = |action: &str| {
        let fail = Fail { status: 400, code: "Odd".into(), message: format!("<x>{secret}</x>"), times: None };
        Switches { fail: [(action.to_owned(), fail)].into(), ..Switches::default() }
    };
    let world = World::new();
    world.switch(fail("DescribeInstances"));
    let output = world.eic(&["-vv", "sync"]);
    assert!(!output.stderr.contains("SdkBody") && !output.stderr.contains("<Response>"), "{output}");
    for (source, config) in [("[[source]]\nprofile = \"signed\"\n", SSO_PROFILE), (SESSION, "")] {
        let world = cold(source, config);
        world.switch(fail("GetRoleCredentials"));
        let output = world.eic(&["-vv", "push", "prod-web-1"]);
        assert!(!output.stderr.contains("SdkBody") && !output.stderr.contains("__type"), "{output}");
    }
}
