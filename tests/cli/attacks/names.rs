//! Names on the command line that have the tokens and the patterns of `ssh_config`.

use crate::world::World;

#[test]
fn tokens_of_ssh_in_names_are_not_expanded() {
    let world = World::new();
    for user in ["%h", "%%", "%d/x", "${HOME}", "%i"] {
        let output = world.ssh(&["-o", "BatchMode=yes", "-l", user, "prod-web-1", "true"]);
        output.fails_with(255);
        assert!(!output.stderr.contains("10.0.3.7") || !user.contains("%h"), "{user}\n{output}");
    }
    for host in
        ["%h", "prod-web-%h", "%%", "${HOME}", "prod-web-*", "prod-web-?", "!prod-web-1", "prod-web-1,prod-web-2"]
    {
        let output = world.ssh(&["-o", "BatchMode=yes", "-o", "ConnectTimeout=2", host, "true"]);
        assert_ne!(output.code, Some(0), "{host}\n{output}");
        assert_eq!(world.eic(&["match", host]).code, Some(1), "{host} is no managed host");
    }
    assert!(world.pushes().is_empty(), "{:#?}", world.pushes());
}
