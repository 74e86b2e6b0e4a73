//! The form of the sandbox that needs no rights: 127.0.0.1, a port for each instance, `ssh -F`, and a real
//! unprivileged user where the tests themselves run as root.

use sandbox::Form;

use crate::world::World;

#[test]
fn instances_that_share_127_0_0_1_are_told_apart() {
    let world = World::in_form(Form::Loopback);
    world.eic(&["init", "--profile", "prod", "--region", "eu-west-1"]).ok();
    let shared = ["-o", "ControlMaster=auto", "-o", "ControlPersist=20"];
    for (name, id) in [("prod-web-1", &world.web1), ("prod-web-2", &world.web2), ("prod-web-1", &world.web1)] {
        let args = [&shared[..], &[name, "echo $SSH_EIC_INSTANCE"]].concat();
        assert_eq!(world.ssh(&args).ok(), format!("{id}\n"));
    }
    assert_eq!(world.pushes().len(), 2);
    for name in ["prod-web-1", "prod-web-2"] {
        world.ssh(&["-O", "exit", name]).ok();
    }
}
