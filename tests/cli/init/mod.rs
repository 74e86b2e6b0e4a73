//! `ssh-eic init`.

use sandbox::needs_namespaces;

use std::fs;

use crate::sources::{sign_in, sign_out};
use crate::world::{CommandOutput, World};

mod dialog;

#[test]
fn init_writes_a_config_adds_the_include_and_syncs() {
    let world = World::bare();
    world.write(".ssh/config", "Host mine\n    User me\n");
    let output = world.eic(&["init", "--profile", "prod", "--region", "eu-west-1", "--tag", "Name=prod-web-*"]);
    output.ok();
    output.says("2 hosts from prod");
    let config = world.read(".config/ssh-eic/config.toml");
    assert!(config.contains("profile = \"prod\"") && config.contains("\"Name\" = [\"prod-web-*\"]"), "{config}");
    let ssh_config = world.read(".ssh/config");
    let folder = world.eic_folder();
    let folder = folder.display();
    let comment = "# Written by ssh-eic for EC2 instances; \"ssh-eic remove\" deletes these two lines.";
    assert_eq!(ssh_config, format!("{comment}\nInclude {folder}/main\nHost mine\n    User me\n"));
    assert!(world.ssh(&["-G", "prod-web-1"]).ok().contains("hostname 10.0.3.7\n"));
    assert!(world.ssh(&["-G", "mine"]).ok().contains("user me\n"));
}

const CONFIG: &str = ".config/ssh-eic/config.toml";

#[test]
fn a_config_that_a_user_edited_is_not_changed() {
    let world = World::new();
    let edited = world.read(CONFIG).replace("# user = \"ubuntu\"", "user = \"ubuntu\"  ");
    world.write(CONFIG, &edited);
    world.eic(&["init"]).says("~/.config/ssh-eic/config.toml already exists and was not changed").ok();
    let output = world.eic(&["init", "--profile", "staging", "--region", "us-east-1", "--tag", "Role=db"]);
    let expected = "ssh-eic: error: ~/.config/ssh-eic/config.toml was edited, so that init does not change it\n\
        ssh-eic: hint: set profile = \"staging\", regions = [\"us-east-1\"], tags = { \"Role\" = [\"db\"] } under \
        [[source]] there, then run ssh-eic sync\n";
    assert_eq!(output.fails_with(2).stderr, expected, "{output}");
    assert_eq!(world.read(CONFIG), edited);
}

#[test]
fn a_config_as_init_wrote_it_is_rewritten_for_other_options() {
    let world = World::new();
    let before = world.read(CONFIG);
    let output = world.eic(&["init", "--profile", "prod", "--region", "eu-west-1", "--tag", "Name=prod-web-1"]);
    let rewrote =
        "ssh-eic: rewrote ~/.config/ssh-eic/config.toml, which had profile = \"prod\", regions = [\"eu-west-1\"]\n";
    output.says(rewrote).says("removed prod-web-2").says("1 host (-1) from prod").ok();
    assert_eq!(world.eic(&["list", "--names"]).ok(), "prod-web-1\n");
    let tagged = world.read(CONFIG);
    let same = world.eic(&["init", "--profile", "prod", "--region", "eu-west-1", "--tag", "Name=prod-web-1"]);
    same.says("~/.config/ssh-eic/config.toml has these options already").ok();
    assert_eq!(world.read(CONFIG), tagged);
    world.eic(&["init", "--profile", "prod", "--region", "eu-west-1"]).ok();
    assert_eq!(world.read(CONFIG), before);
}

#[test]
fn a_config_stays_while_aws_does_not_respond_with_the_other_options() {
    let world = World::new();
    let before = world.read(CONFIG);
    world.deny("DescribeInstances");
    let output = world.eic(&["init", "--profile", "prod", "--region", "eu-west-1", "--tag", "Name=prod-web-1"]);
    output.fails_with(6).says("AWS denies ec2:DescribeInstances");
    assert_eq!(world.read(CONFIG), before);
    assert_eq!(world.eic(&["list", "--names"]).ok(), "prod-web-1\nprod-web-2\n");
}

/// Asserts on all messages of an `init` that must not write anything.
#[track_caller]
fn is_refused(world: &World, args: &[&str], code: i32, error: &str, hint: &str) -> CommandOutput {
    let output = world.eic(&[&["init"], args].concat());
    assert_eq!(output.fails_with(code).stderr, format!("ssh-eic: error: {error}\nssh-eic: hint: {hint}\n"), "{output}");
    assert!(!world.home().join(".config/ssh-eic").exists(), "{output}");
    assert!(!world.home().join(".ssh").exists(), "{output}");
    output
}

#[test]
fn a_profile_session_or_region_that_does_not_exist_is_refused_with_the_nearest() {
    let world = World::bare();
    sign_in(&world, &[("111122223333", "prod", &["SshUser"])]);
    is_refused(
        &world,
        &["--profile", "prdo"],
        5,
        "there is no AWS profile \"prdo\"; did you mean prod? (profiles: default, prod, staging)",
        "correct --profile, or aws configure --profile prdo",
    );
    is_refused(
        &world,
        &["--sso-session", "crop", "--role", "SshUser"],
        3,
        "there is no [sso-session crop] in ~/.aws/config; did you mean corp?",
        "it has: corp",
    );
    is_refused(
        &world,
        &["--profile", "prod", "--region", "eu-wst-1"],
        2,
        "eu-wst-1 is not an AWS region; did you mean eu-west-1?",
        "--region eu-west-1",
    );
    is_refused(
        &world,
        &["--profile", "prod", "--region", "EU-WEST-1"],
        2,
        "EU-WEST-1 is not an AWS region; did you mean eu-west-1?",
        "--region eu-west-1",
    );
    is_refused(
        &world,
        &["--profile", "prod", "--region", "eu-west-1,us-east-1"],
        2,
        "--region \"eu-west-1,us-east-1\" is more than one region",
        "--region eu-west-1 --region us-east-1",
    );
    assert_eq!(world.sandbox.calls().unwrap(), []);
}

#[test]
fn a_role_that_no_account_offers_is_refused_with_the_nearest() {
    let world = World::bare();
    sign_in(&world, &[("111122223333", "prod", &["ReadOnly", "SshUser"])]);
    is_refused(
        &world,
        &["--sso-session", "corp", "--role", "SshUsr"],
        6,
        "source \"corp\": no account of the SSO session \"corp\" offers you a role SshUsr; did you mean SshUser? \
         (roles: ReadOnly, SshUser)",
        "correct role and accounts of the source, or ask the administrator of Identity Center",
    );
}

#[test]
fn an_expired_sign_in_is_reported_with_the_command_before_anything_is_written() {
    let world = World::bare();
    sign_in(&world, &[("111122223333", "prod", &["SshUser"])]);
    sign_out(&world);
    let output = world.eic(&["init", "--sso-session", "corp", "--role", "SshUser"]);
    output.fails_with(5).says("has expired or was never signed in").says("hint: aws sso login --sso-session corp");
    assert!(!world.home().join(CONFIG).exists() && !world.home().join(".ssh").exists());
}

#[test]
fn a_profile_without_a_region_is_refused_with_the_option() {
    let world = World::bare();
    let config = world.read(".aws/config").replace("region = eu-west-1\n", "");
    fs::write(world.home().join(".aws/config"), config).unwrap();
    is_refused(
        &world,
        &["--profile", "prod"],
        3,
        "source \"prod\": no region is set for profile \"prod\"",
        "name one, such as --region eu-west-1, or all of them with --region all",
    );
    for file in ["config", "credentials"] {
        fs::remove_file(world.home().join(".aws").join(file)).unwrap();
    }
    is_refused(
        &world,
        &[],
        3,
        "source \"default\": no region is set for the environment or the default profile",
        "aws configure, or aws configure sso, for a first profile\n\
         ssh-eic: hint: name one, such as --region eu-west-1, or all of them with --region all",
    );
}

#[test]
fn a_profile_of_the_environment_that_does_not_exist_is_named() {
    let world = World::bare();
    let output = world.sh("AWS_PROFILE=prdo ssh-eic init");
    let expected = "ssh-eic: error: source \"default\": there is no AWS profile \"prdo\"; did you mean prod? \
        (profiles: default, prod, staging)\n\
        ssh-eic: hint: correct AWS_PROFILE, or aws configure --profile prdo\n";
    assert_eq!(output.fails_with(5).stderr, expected, "{output}");
    let output = world.sh("AWS_PROFILE=prdo AWS_REGION=eu-west-1 ssh-eic init");
    assert_eq!(output.fails_with(5).stderr, expected, "{output}");
}

#[test]
fn a_mistyped_region_of_the_environment_is_named() {
    let world = World::bare();
    let output = world.sh("AWS_REGION=eu-wst-1 ssh-eic init");
    output.says("default: there is no instance in eu-wst-1, which is not an AWS region; did you mean eu-west-1?\n");
    output.says("hint: run init again with other options, or change regions and tags in ~/.config/ssh-eic/config.toml");
    world.eic(&["init", "--region", "eu-west-1"]).says("rewrote").says("2 hosts from default").ok();
}

#[test]
fn a_value_that_ssh_config_cannot_hold_is_rejected_before_anything_is_written() {
    let world = World::bare();
    world.eic(&["init", "--profile", "pr'od"]).fails_with(3).says("cannot be written into ssh_config");
    assert!(!world.home().join(".config/ssh-eic/config.toml").exists());
    assert!(!world.home().join(".ssh/config").exists());
    world.eic(&["init", "--tag", "oops"]).fails_with(2).says("KEY=VALUE");
}

#[test]
fn without_options_the_default_profile_is_used() {
    let world = World::bare();
    world.eic(&["init"]).says("2 hosts from default").ok();
}

#[needs_namespaces]
#[test]
fn the_home_of_another_user_is_rejected_before_anything_is_written() {
    let world = World::bare();
    let output = world
        .sh("mkdir -p other/.ssh && chown -R deploy other && HOME=$PWD/other ssh-eic init --profile prod; echo $?");
    assert_eq!(output.stdout.trim(), "9", "{output}");
    output.says("not to you (0)").says("without sudo");
    assert_eq!(world.sh("find other -type f | wc -l").ok().trim(), "0");
}

#[test]
fn all_files_can_be_in_one_folder() {
    let world = World::bare();
    let mut command = world.sandbox.command("ssh-eic");
    let own = world.home().join("own");
    command.args(["init", "--profile", "prod"]).env("SSH_EIC_HOME", &own);
    let output = crate::world::run(command);
    output.says("hint: ssh -F").says("2 hosts from prod").ok();
    assert!(!output.stderr.contains("done"), "ssh does not read it by default\n{output}");
    assert!(!world.home().join(".ssh").exists() && !world.home().join(".config").exists());
    // The hook and the proxy need no SSH_EIC_HOME.
    let config = own.join("ssh_config");
    let output = world.run("ssh", &["-F", config.to_str().unwrap(), "prod-web-1", "echo $SSH_EIC_INSTANCE"]);
    assert_eq!(output.ok(), format!("{}\n", world.web1));
    assert!(own.join("keys").join(&world.web1).exists());
}
