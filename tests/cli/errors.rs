//! What the user reads when a connection cannot be, and how soon. Each also under ControlPersist, where ssh throws our
//! stderr away and only the in-band words arrive.

use std::time::Duration;

use sandbox::{Change, Instance, Network, State, Switches, needs_namespaces};

use crate::sources::configure;
use crate::world::{CommandOutput, World, wait_until};

/// Plainly, and as a persisting master.
fn both_ways(world: &World, host: &str, check: impl Fn(&CommandOutput)) {
    check(&world.ssh(&[host, "true"]));
    let persisting =
        world.ssh(&["-o", "ControlMaster=auto", "-o", "ControlPersist=5", "-o", "LogLevel=ERROR", host, "true"]);
    assert!(!persisting.stderr.contains("ssh-eic: error:"), "ssh should have thrown our stderr away\n{persisting}");
    check(&persisting);
    world.nothing_lingers(Duration::from_secs(3));
}

#[test]
fn a_stopped_instance_is_reported_with_the_time_of_its_stop() {
    let world = World::new();
    world.sandbox.update(&world.web1, Change { state: Some(State::Stopped), ..Change::default() }).unwrap();
    both_ways(&world, "prod-web-1", |output| {
        output.fails_with(255).within(Duration::from_secs(5));
        output
            .says(&format!("prod-web-1 ({}) has been stopped since 20", world.web1))
            .says("aws ec2 start-instances --instance-ids i-");
    });
}

#[test]
fn on_a_terminal_an_error_is_shown_once_and_elsewhere_in_band_too() {
    let world = World::new();
    world.sandbox.update(&world.web1, Change { state: Some(State::Stopped), ..Change::default() }).unwrap();
    let config = world.home().join(".ssh/config");
    let ssh = format!("ssh -F {} prod-web-1 true", config.display());
    let on_terminal = world.sh(&format!("NO_COLOR=1 TERM=dumb script -qec '{ssh}' /dev/null")).stdout.replace('\r', "");
    let lines: Vec<&str> = on_terminal.lines().collect();
    let error = format!("ssh-eic: error: prod-web-1 ({}) ", world.web1);
    assert!(lines.len() >= 3 && lines[0].starts_with(&error), "{on_terminal}");
    assert!(lines[1].starts_with("ssh-eic: hint: aws ec2 start-instances --instance-ids i-"), "{on_terminal}");
    assert!(lines[2].ends_with(":7: ssh-eic: see the error above"), "{on_terminal}");
    assert_eq!(on_terminal.matches(&world.web1).count(), 2, "once in the error and once in the hint\n{on_terminal}");
    // The standard error of Ansible and editors is a pipe, of which they may show ssh's last line only.
    let piped = world.sh(&ssh);
    let sentence =
        piped.stderr.lines().next().and_then(|line| line.strip_prefix("ssh-eic: error: ")).expect("an error");
    let in_band = format!(":7: ssh-eic: {sentence}; hint: aws ec2 start-instances --instance-ids i-");
    assert!(piped.stderr.contains(&in_band), "{piped}");
    // With a persisting master ssh has redirected stderr of the proxy, so that only the in-band message arrives.
    let master = "-o ControlMaster=auto -o ControlPersist=1";
    let script = format!("script -qec '{}' /dev/null", ssh.replace("ssh -F", &format!("ssh {master} -F")));
    let persisting = world.sh(&script);
    assert_eq!(persisting.stdout.matches(sentence).count(), 1, "{persisting}");
}

#[test]
fn a_refused_permission_names_action_resource_and_what_to_do() {
    let world = World::new();
    world.deny("SendSSHPublicKey");
    both_ways(&world, "prod-web-1", |output| {
        output.fails_with(255).within(Duration::from_secs(5));
        output.says("AWS denies ec2-instance-connect:SendSSHPublicKey on prod-web-1 (i-").says("are you on the VPN?");
    });
}

#[test]
fn missing_credentials_are_reported_early_with_the_command_that_signs_in() {
    let world = World::new();
    world.write(".aws/credentials", "");
    both_ways(&world, "prod-web-1", |output| {
        output.fails_with(255).within(Duration::from_millis(2500)).says("no AWS credentials").says("--profile prod");
    });
    world.write(".aws/config", "");
    world.ssh(&["prod-web-2", "true"]).fails_with(255).says("there is no AWS profile \"prod\"");
}

#[test]
fn if_there_are_no_credentials_the_error_comes_within_a_second_and_a_half() {
    let world = World::bare();
    world.eic(&["init", "--region", "eu-west-1"]).ok();
    world.write(".aws/credentials", "");
    world.write(".aws/config", "");
    both_ways(&world, "prod-web-1", |output| {
        output
            .fails_with(255)
            .says("there are no AWS credentials in the environment or the default profile")
            .says("aws sso login");
        output.within(Duration::from_millis(1500));
    });
}

#[test]
fn credentials_of_another_account_are_reported_at_a_push() {
    let world = World::new();
    let credentials = world.read(".aws/credentials").replace(&world.access_key("prod"), &world.access_key("staging"));
    world.write(".aws/credentials", &credentials);
    world
        .ssh(&["prod-web-1", "true"])
        .fails_with(255)
        .says("has credentials for account 444455556666, not for 111122223333");
}

#[test]
fn expired_and_unknown_credentials_are_reported() {
    let world = World::new();
    world.expire(&world.access_key("prod"));
    world
        .ssh(&["prod-web-1", "true"])
        .fails_with(255)
        .says("the AWS credentials of profile \"prod\"")
        .says("have expired");
    world.sandbox.reset_switches().unwrap();
    let credentials = world.read(".aws/credentials").replace(&world.access_key("prod"), "AKIAUNKNOWN00000TEST");
    world.write(".aws/credentials", &credentials);
    world.ssh(&["prod-web-2", "true"]).fails_with(255).says("are not accepted (UnrecognizedClientException)");
}

#[test]
fn an_instance_that_aws_cannot_reach_has_a_hint_to_run_doctor() {
    let world = World::new();
    let code = "EC2InstanceUnavailableException".to_owned();
    let fail = sandbox::Fail { status: 400, code, message: String::new(), times: None };
    world.fail("SendSSHPublicKey", fail);
    let output = world.ssh(&["prod-web-1", "true"]);
    output.fails_with(255).says("EC2 Instance Connect cannot reach prod-web-1").says("ssh-eic doctor prod-web-1");
}

#[test]
fn an_expired_sso_session_names_the_command_for_it() {
    let world = World::new();
    world.write(
        ".aws/config",
        "[profile prod]\nregion = eu-west-1\nsso_session = corp\nsso_account_id = 111122223333\nsso_role_name = Ssh\n\
         [sso-session corp]\nsso_start_url = https://example.awsapps.com/start\nsso_region = eu-west-1\n",
    );
    world.write(".aws/credentials", "");
    world.ssh(&["prod-web-1", "true"]).fails_with(255).says("hint: aws sso login --sso-session corp");
    world.eic(&["sync"]).fails_with(5).says("hint: aws sso login --sso-session corp");
}

#[test]
fn a_wrong_clock_is_reported_with_its_offset() {
    let world = World::new();
    world.switch(Switches { clock_skew_s: Some(-1200), ..Switches::default() });
    world.ssh(&["prod-web-1", "true"]).fails_with(255).says("clock is 20 min ahead of AWS's");
}

/// Applies a change to an instance.
trait Of {
    fn of(self, world: &World, id: &str);
}

impl Of for Change {
    fn of(self, world: &World, id: &str) {
        world.sandbox.update(id, self).expect("a change");
    }
}

#[needs_namespaces]
#[test]
fn a_changed_address_is_found_and_used_and_stored() {
    let world = World::new();
    let moved = |id: &str, to: &str| Change { address: Some(to.to_owned()), ..Change::default() }.of(&world, id);
    // Nobody at the old address: AWS is asked at once.
    moved(&world.web1, "10.0.3.77");
    let output = world.ssh(&["prod-web-1", "echo $SSH_EIC_INSTANCE"]);
    assert_eq!(output.within(Duration::from_secs(4)).ok(), format!("{}\n", world.web1));
    // Somebody who does not answer: after a second. Also where ssh throws our stderr away.
    moved(&world.web2, "10.0.3.78");
    world.sandbox.add(Instance::new("silent").address("10.0.3.8").network(Network::Blackhole)).unwrap();
    let persist = ["-o", "ControlMaster=auto", "-o", "ControlPersist=1", "prod-web-2", "echo $SSH_EIC_INSTANCE"];
    let output = world.ssh(&persist);
    assert_eq!(output.within(Duration::from_secs(6)).ok(), format!("{}\n", world.web2));
    assert!(output.took >= Duration::from_secs(1), "{output}");
    let is_stored = || world.ssh(&["-G", "prod-web-1"]).ok().contains("hostname 10.0.3.77\n");
    wait_until("the new address is not stored", is_stored);
}

#[needs_namespaces]
#[test]
fn an_address_that_does_not_answer_ends_within_the_limit() {
    let world = World::new();
    world.add(Instance::new("lost").address("10.0.7.1").network(Network::Blackhole));
    world.add(Instance::new("mute").address("10.0.7.2").network(Network::Silent));
    world.add(Instance::new("shut").address("10.0.7.3").network(Network::Refuse));
    let config = world.read(".config/ssh-eic/config.toml") + "\n[limits]\nconnect_timeout = \"3s\"\n";
    world.write(".config/ssh-eic/config.toml", &config);
    both_ways(&world, "lost", |output| {
        output
            .fails_with(255)
            .within(Duration::from_secs(6))
            .says("10.0.7.1 port 22 did not answer within 3 s")
            .says("VPN");
    });
    both_ways(&world, "mute", |output| {
        output.fails_with(255).within(Duration::from_secs(6)).says("10.0.7.2 port 22 did not answer within 3 s");
    });
    both_ways(&world, "shut", |output| {
        output.fails_with(255).within(Duration::from_secs(4)).says("is unreachable: 10.0.7.3 port 22: ");
    });
}

#[needs_namespaces]
#[test]
fn the_error_is_printed_before_the_connect_timeout_of_ssh() {
    let world = World::new();
    world.add(Instance::new("lost").address("10.0.7.1").network(Network::Blackhole));
    let output = world.ssh(&["-o", "ConnectTimeout=3", "lost", "true"]);
    output.fails_with(255).says("did not answer within 2 s").within(Duration::from_secs(4));
    // From the user's config sync has read it.
    world.write(".ssh/config", &format!("{}Host *\n    ConnectTimeout 4\n", world.read(".ssh/config")));
    world.eic(&["sync"]).ok();
    world.ssh(&["lost", "true"]).fails_with(255).says("did not answer within 3 s");
}

#[test]
fn a_name_that_moved_to_another_instance_is_reported() {
    let world = World::new();
    world.sandbox.update(&world.web1, Change { state: Some(State::Terminated), ..Change::default() }).unwrap();
    let new = world.sandbox.add(Instance::new("prod-web-1").address("10.0.3.17")).unwrap();
    let output = world.ssh(&["prod-web-1", "true"]);
    output
        .fails_with(255)
        .says(&format!("prod-web-1: {} was terminated at 20", world.web1))
        .says(&format!("; the name now belongs to {new}\n"));
    output.says("hint: the ssh config was updated; run the command again");
    assert_eq!(world.ssh(&["prod-web-1", "echo $SSH_EIC_INSTANCE"]).ok(), format!("{new}\n"));
}

#[test]
fn a_terminated_instance_without_a_successor_is_reported() {
    let world = World::new();
    world.sandbox.remove(&world.web1).unwrap();
    world
        .ssh(&["prod-web-1", "true"])
        .fails_with(255)
        .says("prod-web-1")
        .says("is not in eu-west-1")
        .says("ssh-eic sync");
}

#[test]
fn a_broken_config_file_is_reported_in_band() {
    let world = World::new();
    world.write(".config/ssh-eic/config.toml", "[[source]]\nprofil = \"x\"\n");
    both_ways(&world, "prod-web-1", |output| {
        output.fails_with(255).says("config.toml:2: unknown key \"profil\"");
    });
}

#[test]
fn messages_of_aws_cannot_control_the_terminal() {
    let world = World::new();
    let message = "bad\u{1b}]0;title\u{7}\nssh-eic: error: forged".to_owned();
    let fail = sandbox::Fail { status: 400, code: "InvalidArgsException".to_owned(), message, times: None };
    world.fail("SendSSHPublicKey", fail);
    let output = world.ssh(&["prod-web-1", "true"]);
    output.fails_with(255).says("rejects the OS user or the key");
    assert!(!output.stderr.contains('\u{1b}') && !output.stderr.contains("\nssh-eic: error: forged"), "{output}");
}

#[test]
fn errors_before_the_proxy_starts_are_reported_in_band() {
    let world = World::new();
    let persist = ["-o", "ControlMaster=auto", "-o", "ControlPersist=5", "prod-web-1", "true"];
    let mut command = world.ssh_command(&persist);
    command.env("SSH_EIC_HOME", "not/absolute");
    crate::world::run(command).fails_with(255).says("SSH_EIC_HOME: not/absolute is not an absolute path");
}

#[test]
fn an_unreachable_aws_is_reported() {
    let world = World::new();
    let mut command = world.ssh_command(&["prod-web-1", "true"]);
    command.env("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
    let output = crate::world::run(command);
    output.fails_with(255).says("AWS could not be reached in eu-west-1").within(Duration::from_secs(20));
}

#[needs_namespaces]
#[test]
fn a_mistyped_profile_or_region_is_reported_with_the_nearest_one() {
    let world = World::bare();
    configure(&world, "[[source]]\nprofile = \"prdo\"\n");
    let output = world.eic(&["sync"]);
    output.fails_with(5).says("there is no AWS profile \"prdo\"; did you mean prod? (profiles: ");
    output.says("ssh-eic: hint: correct profile in config.toml, or aws configure --profile prdo\n");
    configure(&world, "[[source]]\nprofile = \"prod\"\nregions = [\"eu-wst-1\"]\n");
    let output = world.sh("unset AWS_ENDPOINT_URL; ssh-eic sync");
    output.fails_with(3).says("eu-wst-1 is not an AWS region; did you mean eu-west-1?\n");
    output.says("ssh-eic: hint: correct regions in config.toml, ");
}
