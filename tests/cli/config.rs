//! `ssh-eic config`.

use crate::sources::configure;
use crate::world::World;

#[test]
fn a_config_without_errors_is_named_and_aws_is_not_queried() {
    let world = World::new();
    let output = world.eic(&["config", "check"]);
    assert_eq!((output.ok(), output.stderr.as_str()), ("", "ssh-eic: no errors in ~/.config/ssh-eic/config.toml\n"));
    assert!(world.sandbox.calls().unwrap().is_empty());
    let none = World::bare().eic(&["config", "check"]);
    assert_eq!((none.code, none.stderr.as_str()), (Some(0), "ssh-eic: there is no config file; the defaults apply\n"));
}

#[test]
fn errors_in_a_config_have_the_messages_of_sync() {
    let world = World::new();
    for (text, errors) in [
        (
            "[[source]]\nprofil = \"prod\"\n",
            "ssh-eic: error: ~/.config/ssh-eic/config.toml:2: unknown key \"profil\"\n\
             ssh-eic: hint: did you mean \"profile\"?\n",
        ),
        (
            "[[source]]\nprofile = \"prod\"\n[ssh]\noptions = { ForwardAgnt = \"yes\" }\n",
            "ssh-eic: error: ~/.config/ssh-eic/config.toml:4: unknown ssh option ForwardAgnt; did you mean ForwardAgent?\n",
        ),
        (
            "[[source]]\nprofile = \"prod\"\n[[host]]\nmatch = \"x\"\noptions = { ServerAliveInterval = \"soon\" }\n",
            "ssh-eic: error: ~/.config/ssh-eic/config.toml: ssh rejects the option ServerAliveInterval = \"soon\": \
             invalid time value\nssh-eic: hint: correct it in config.toml; nothing was changed\n",
        ),
        (
            "[[source]]\nprofile = \"prdo\"\n[[source]]\nprofile = \"prod\"\nregions = [\"eu-wst-1\"]\n",
            "ssh-eic: error: source \"prdo\": there is no AWS profile \"prdo\"; did you mean prod? (profiles: default, prod, \
             staging)\nssh-eic: hint: correct profile in config.toml, or aws configure --profile prdo\n\
             ssh-eic: error: source \"prod\": eu-wst-1 is not an AWS region; did you mean eu-west-1?\n\
             ssh-eic: hint: correct regions in config.toml, AWS_REGION, or region in ~/.aws/config\n",
        ),
        (
            "[[source]]\nsso_session = \"corp\"\nrole = \"SshUser\"\n",
            "ssh-eic: error: source \"corp\": there is no [sso-session corp] in ~/.aws/config\n\
             ssh-eic: hint: aws configure sso-session writes one\n",
        ),
    ] {
        configure(&world, text);
        let output = world.eic(&["config", "check"]);
        assert_eq!(output.fails_with(3).stderr, errors, "{text}");
    }
    assert!(world.sandbox.calls().unwrap().is_empty());
}

#[test]
fn the_paths_are_those_of_the_files_that_are_read() {
    let world = World::new();
    let home = world.home().display();
    let output = world.eic(&["config", "path"]);
    let expected = format!("{home}/.config/ssh-eic/config.toml: exists\n/etc/ssh-eic/config.toml: does not exist\n");
    assert_eq!(output.ok(), expected);
    let note = "ssh-eic: the first file overrides the second; --config or SSH_EIC_CONFIG names another first file\n";
    assert_eq!(output.stderr, note);
    let other = world.sh("ssh-eic --config nope.toml config path; ssh-eic --config nope.toml config check");
    assert!(other.fails_with(3).stdout.contains("/nope.toml: does not exist\n"), "{other}");
    other.says("there is no config file ");
}
