//! The questions of `init` on a terminal, which script(1) makes.

use sandbox::{Instance, REGION, Switches};

use crate::generate::has;
use crate::sources::{sign_in, sign_out};
use crate::world::{CommandOutput, World};

/// Types these lines into `ssh-eic init` on a terminal.
fn dialog(world: &World, lines: &[&str]) -> CommandOutput {
    let typed: String = lines.iter().flat_map(|line| [*line, "\n"]).collect();
    world.write("typed", &typed);
    let mut output = world.sh("NO_COLOR=1 script -qec 'ssh-eic init' /dev/null <$HOME/typed");
    output.stdout = output.stdout.replace('\r', "");
    output
}

#[track_caller]
fn shows(output: &CommandOutput, text: &str) {
    assert!(output.stdout.contains(text), "it should show {text:?}\n{output}");
}

fn config(world: &World) -> String {
    let config = world.read(".config/ssh-eic/config.toml");
    config
        .lines()
        .filter(|line| !line.starts_with(['#', '[']) && !line.is_empty())
        .fold(String::new(), |text, line| text + line.split(" # ").next().unwrap_or_default().trim_end() + "\n")
}

fn nothing_is_written(world: &World) {
    assert!(!world.home().join(".config/ssh-eic").exists());
    assert!(!world.home().join(".ssh").exists());
}

/// Hosts in two of three regions.
fn two_regions() -> World {
    let world = World::bare();
    let enabled = vec![REGION.to_owned(), "us-east-1".to_owned(), "eu-central-1".to_owned()];
    world.switch(Switches { regions: Some(enabled), ..Switches::default() });
    world.sandbox.add(Instance::new("us-web").region("us-east-1").address("10.4.0.1")).unwrap();
    world
}

#[test]
fn profiles_and_the_regions_with_instances_are_offered_with_their_names() {
    if !has("script") {
        return;
    }
    let world = two_regions();
    let output = dialog(&world, &["2", ""]);
    output.ok();
    shows(&output, "Find instances with:\n  1  profile default\n  2  profile prod\n  3  profile staging\n");
    shows(&output, "Number or name [1], q to quit: ");
    shows(
        &output,
        "profile prod: 3 instances in 2 regions:\n  1  eu-west-1      2  prod-web-1, prod-web-2\n  2  us-east-1      1  us-web\n",
    );
    shows(&output, "Write ~/.config/ssh-eic/config.toml for which of these? Numbers, Enter for all, q to quit: ");
    shows(&output, "3 hosts from prod\n");
    assert_eq!(config(&world), "profile = \"prod\"\nregions = [\"eu-west-1\", \"us-east-1\"]\n");
    world.ssh(&["prod-web-1", "true"]).ok();
}

#[test]
fn a_choice_is_a_number_or_a_name_and_a_wrong_one_is_asked_again() {
    if !has("script") {
        return;
    }
    let world = two_regions();
    let output = dialog(&world, &["9", "prod", "eu-west-2", "2"]);
    output.ok();
    shows(&output, "\"9\" is neither a number from 1 to 3 nor a name in the list\n");
    shows(&output, "\"eu-west-2\" is neither a number from 1 to 2 nor a name in the list\n");
    assert_eq!(config(&world), "profile = \"prod\"\nregions = [\"us-east-1\"]\n");
    assert_eq!(world.eic(&["list", "--names"]).ok(), "us-web\n");
}

#[test]
fn quitting_at_any_question_writes_nothing() {
    if !has("script") {
        return;
    }
    for lines in [&["q"][..], &["2", "q"], &["2", "n"]] {
        let world = World::bare();
        let output = dialog(&world, lines);
        output.fails_with(1);
        shows(&output, "ssh-eic: error: nothing was written\n");
        nothing_is_written(&world);
    }
}

#[test]
fn an_sso_session_is_offered_with_its_roles() {
    if !has("script") {
        return;
    }
    let world = World::bare();
    sign_in(&world, &[("111122223333", "prod", &["ReadOnly", "SshUser"]), ("444455556666", "staging", &["SshUser"])]);
    let output = dialog(&world, &["corp", "", ""]);
    output.ok();
    shows(&output, "  4  SSO session corp, all accounts\n");
    shows(&output, "With the role:\n  1  SshUser (2 accounts)\n  2  ReadOnly (1 account)\n");
    shows(
        &output,
        "SSO session corp, all accounts: 2 instances in 1 region:\n  1  eu-west-1      2  prod-web-1, prod-web-2\n",
    );
    shows(&output, "Write ~/.config/ssh-eic/config.toml for this region? Enter for yes, q to quit: ");
    let expected = "sso_session = \"corp\"\nrole = [\"SshUser\"]\nregions = [\"eu-west-1\"]\n";
    assert_eq!(config(&world), expected);
}

#[test]
fn an_expired_sign_in_is_reported_before_any_further_question() {
    if !has("script") {
        return;
    }
    let world = World::bare();
    sign_in(&world, &[("111122223333", "prod", &["SshUser"])]);
    sign_out(&world);
    let output = dialog(&world, &["corp"]);
    output.fails_with(5);
    shows(&output, "ssh-eic: error: the SSO session \"corp\" has expired");
    shows(&output, "ssh-eic: hint: aws sso login --sso-session corp\n");
    nothing_is_written(&world);
}

#[test]
fn an_identity_without_instances_writes_nothing() {
    if !has("script") {
        return;
    }
    let world = World::bare();
    let output = dialog(&world, &["staging"]);
    output.fails_with(4);
    shows(&output, "ssh-eic: error: profile staging: there is no instance in any region, and nothing was written\n");
    nothing_is_written(&world);
}

#[test]
fn nothing_is_asked_without_a_terminal_or_with_options() {
    let world = World::bare();
    world.write("typed", "2\n\n");
    for command in ["ssh-eic init <$HOME/typed", "ssh-eic init --profile prod <$HOME/typed"] {
        let output = world.sh(command);
        output.ok();
        assert!(!output.stderr.contains("Number or name"), "{output}");
        world.eic(&["remove", "--all"]).ok();
    }
    if has("script") {
        for command in ["ssh-eic init --profile prod", "ssh-eic init -q", "ssh-eic init </dev/null"] {
            let output = world.sh(&format!("script -qec '{command}' /dev/null </dev/null"));
            output.ok();
            assert!(!output.stdout.contains("Number or name"), "{output}");
            world.eic(&["remove", "--all"]).ok();
        }
    }
}
