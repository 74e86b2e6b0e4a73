//! The form of the sandbox that needs no rights: 127.0.0.1, a port for each instance, `ssh -F`, and a real
//! unprivileged user where the tests themselves run as root.

use sandbox::{Form, needs_namespaces};

use crate::world::{World, binary, can_have_namespaces};

#[test]
fn instances_that_share_127_0_0_1_are_distinguished() {
    let world = World::in_form(Form::Loopback);
    world.eic(&["init", "--profile", "prod", "--region", "eu-west-1"]).ok();
    let output = world.eic(&["sync"]);
    output
        .says("$HOME differs from your home in the user database: ssh reads ")
        .says("hint: ssh -F ~/.ssh/config NAME");
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

/// Runs `sandbox demo` as `install.sh --demo` does.
fn demo(command: &mut std::process::Command) {
    let output = crate::world::run(std::mem::replace(command, std::process::Command::new("true")));
    let shown = output.ok();
    for step in ["ssh-eic init --profile prod", "prod-web-1 hostname", "scp ", "rsync -a"] {
        assert!(shown.contains(step), "the demo should show {step:?}\n{output}");
    }
    assert!(shown.contains("SendSSHPublicKey"), "{output}");
}

/// A folder that anyone can read with copies of the two programs.
fn programs_for_everybody() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::Builder::new().prefix("ssh-eic-demo-").tempdir_in("/tmp").expect("a folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("its mode");
    for name in ["ssh-eic", "sandbox"] {
        std::fs::copy(binary().with_file_name(name), folder.path().join(name)).expect("a copy");
    }
    folder
}

#[needs_namespaces]
#[test]
fn the_demo_works_in_namespaces() {
    let programs = binary();
    let programs = programs.parent().expect("a folder");
    demo(std::process::Command::new(programs.join("sandbox")).arg("demo").arg("--bin").arg(programs));
}

#[test]
fn the_demo_works_for_an_ordinary_user() {
    let programs = programs_for_everybody();
    let sandbox = programs.path().join("sandbox");
    if !can_have_namespaces() {
        demo(std::process::Command::new(sandbox).arg("demo").arg("--bin").arg(programs.path()));
        return;
    }
    // Root plays a user that it makes up for the length of the test, in a mount namespace of its own.
    let home = tempfile::Builder::new().prefix("ssh-eic-user-").tempdir_in("/tmp").expect("a home");
    let script = format!(
        "set -e
        {{ cat /etc/passwd; echo 'someone:x:64999:64999::{home}:/bin/sh'; }} > {home}/passwd
        mount --bind {home}/passwd /etc/passwd
        chown 64999:64999 {home}; cd {home}
        exec setpriv --reuid 64999 --regid 64999 --clear-groups env -i PATH=/usr/bin:/bin:/usr/sbin:/sbin \\
            HOME={home} USER=someone LOGNAME=someone SHELL=/bin/sh TERM=dumb {sandbox} demo --bin {bin}",
        home = home.path().display(),
        sandbox = sandbox.display(),
        bin = programs.path().display(),
    );
    let mut command = std::process::Command::new("unshare");
    demo(command.args(["-m", "--propagation", "private", "--", "bash", "-c"]).arg(script));
}
