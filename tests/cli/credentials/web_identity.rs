//! Credentials for a web identity token: those of one token are not used for another.

use super::{PUSH, forget};
use crate::sources::{append_aws_config, configure};
use crate::world::{World, run};

#[test]
fn another_token_in_the_same_file_is_another_identity() {
    let world = World::bare();
    let token = world.home().join("mine/token");
    world.write("mine/token", "first-job");
    append_aws_config(
        &world,
        &format!(
            "[profile job]\nregion = eu-west-1\nrole_arn = arn:aws:iam::111122223333:role/ssh\n\
             web_identity_token_file = {}\n",
            token.display()
        ),
    );
    let calls = |variables: bool, host: &str| {
        world.sandbox.clear_calls().unwrap();
        let mut command = world.ssh_command(&[host, "true"]);
        if variables {
            command.env("AWS_WEB_IDENTITY_TOKEN_FILE", &token).env("AWS_REGION", "eu-west-1");
            command.env("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/ssh");
        }
        run(command).ok();
        world.sandbox.calls().unwrap().into_iter().map(|call| call.action).collect::<Vec<_>>()
    };
    for variables in [false, true] {
        configure(
            &world,
            if variables { "[[source]]\nregions = [\"eu-west-1\"]\n" } else { "[[source]]\nprofile = \"job\"\n" },
        );
        if variables {
            // The default profile would come before the token.
            world.write(".aws/config", "");
            world.write(".aws/credentials", "");
        }
        world.write("mine/token", "first-job");
        let mut sync = world.sandbox.command("ssh-eic");
        sync.arg("sync").env("AWS_WEB_IDENTITY_TOKEN_FILE", &token).env("AWS_REGION", "eu-west-1");
        sync.env("AWS_ROLE_ARN", "arn:aws:iam::111122223333:role/ssh");
        run(sync).ok();
        forget(&world);
        let with_token = ["AssumeRoleWithWebIdentity", PUSH];
        world.eic(&["logout"]).ok();
        assert_eq!(calls(variables, "prod-web-1"), with_token);
        assert_eq!(calls(variables, "prod-web-2"), [PUSH], "the same token");
        world.eic(&["logout"]).ok();
        assert_eq!(calls(variables, "prod-web-1"), with_token);
        world.write("mine/token", "second-job");
        assert_eq!(calls(variables, "prod-web-2"), with_token, "another token");
    }
}
