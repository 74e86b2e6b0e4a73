//! Command lines that are not those of ssh-eic: the client's command, or a host in place of a command.

use crate::world::World;

#[test]
fn the_command_of_a_client_is_answered_with_the_plain_command() {
    let world = World::new();
    for (typed, plain, client) in [
        ("prod-web-1", "ssh prod-web-1", "ssh"),
        ("root@prod-web-1 uptime", "ssh root@prod-web-1 uptime", "ssh"),
        ("ssh prod-web-1 uptime -p", "ssh prod-web-1 uptime -p", "ssh"),
        ("ssh -v prod-web-1", "ssh -v prod-web-1", "ssh"),
        ("scp 'a b' prod-web-1:", "scp 'a b' prod-web-1:", "scp"),
    ] {
        let output = world.sh(&format!("ssh-eic {typed}"));
        let first = typed.split(' ').next().expect("a first word");
        let expected = format!(
            "ssh-eic: error: there is no command {first:?}; {client} itself connects\nssh-eic: hint: just run: {plain}\n"
        );
        assert_eq!(output.fails_with(2).stderr, expected);
    }
    let unknown = world.eic(&["prod-web-9"]);
    let expected = "ssh-eic: error: there is no command \"prod-web-9\"\nssh-eic: hint: ssh-eic --help\n";
    assert_eq!(unknown.fails_with(2).stderr, expected);
}
