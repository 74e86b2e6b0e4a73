//! The host keys and certificates that the real ssh sees, and an unrelated sshd at an instance's address.

mod common;

use std::time::Duration;

use common::{forms, key, login, said, ssh, start};
use sandbox::{Change, Form, HostCertificate, Instance, Network, Sandbox};

/// A sandbox with one instance that accepts the key `id`; the instance's id and the user.
fn sandbox_with(form: Form, instance: Instance) -> (Sandbox, String, String) {
    let sandbox = start(form);
    let id = sandbox.add(instance).unwrap();
    let user = login(&sandbox);
    let (_, public) = key(&sandbox);
    sandbox.accept_key(&id, &user, &public, Duration::from_hours(1)).unwrap();
    (sandbox, id, user)
}

#[test]
fn sshd_offers_the_chosen_types_of_host_keys() {
    let (sandbox, id, user) = sandbox_with(Form::detect(), Instance::new("web").host_key_types(&["rsa", "ecdsa"]));
    let connect = |algorithm: &str| {
        let option = format!("HostKeyAlgorithms={algorithm}");
        let alias = format!("HostKeyAlias={algorithm}");
        ssh(&sandbox, &id, &user, &["-o", &option, "-o", &alias], "true")
    };
    for algorithm in ["rsa-sha2-512", "ecdsa-sha2-nistp256"] {
        let output = connect(algorithm);
        assert!(output.status.success(), "{algorithm}: {}", said(&output));
    }
    let output = connect("ssh-ed25519");
    assert!(said(&output).contains("no matching host key type found"), "{}", said(&output));
}

#[test]
fn a_host_certificate_is_valid_for_its_principals_and_time() {
    let (sandbox, id, user) =
        sandbox_with(Form::detect(), Instance::new("web").host_certificate(HostCertificate::new(&["web.example"])));
    let ca = format!("@cert-authority * {}\n", sandbox.host_ca().unwrap());
    std::fs::write(sandbox.home().join("ca"), ca).unwrap();
    let file = format!("UserKnownHostsFile={}", sandbox.home().join("ca").display());
    let connect = |name: &str| {
        let alias = format!("HostKeyAlias={name}");
        ssh(&sandbox, &id, &user, &["-o", "StrictHostKeyChecking=yes", "-o", &file, "-o", &alias], "true")
    };
    let output = connect("web.example");
    assert!(output.status.success(), "{}", said(&output));
    let output = connect("db.example");
    assert!(said(&output).contains("name is not a listed principal"), "{}", said(&output));

    let expired = HostCertificate { validity: "-2h:-1h".into(), ..HostCertificate::new(&["web.example"]) };
    sandbox.update(&id, Change { host_certificate: Some(expired), ..Change::default() }).unwrap();
    let output = connect("web.example");
    assert!(said(&output).contains("Certificate invalid: expired"), "{}", said(&output));
}

#[test]
fn a_stranger_has_another_host_key_and_accepts_every_key() {
    for form in forms() {
        let (sandbox, id, user) = sandbox_with(form, Instance::new("web"));
        let run = |options: &[&str]| ssh(&sandbox, &id, &user, options, "echo $SSH_EIC_INSTANCE");
        assert!(said(&run(&[])).starts_with(&id), "{form:?}");
        sandbox.expire_keys().unwrap();
        sandbox.update(&id, Change { network: Some(Network::Stranger), ..Change::default() }).unwrap();
        let output = run(&[]);
        assert!(said(&output).contains("REMOTE HOST IDENTIFICATION HAS CHANGED"), "{form:?}: {}", said(&output));
        assert!(!sandbox.stranger_log(&id).contains("Accepted"), "{}", sandbox.stranger_log(&id));
        let output = run(&["-o", "HostKeyAlias=stranger"]);
        let name = format!("{id}-stranger\n");
        assert_eq!(String::from_utf8_lossy(&output.stdout), name, "{form:?}: {}", said(&output));
        assert!(sandbox.stranger_log(&id).contains("Accepted publickey"), "{}", sandbox.stranger_log(&id));

        sandbox.update(&id, Change { network: Some(Network::Ok), ..Change::default() }).unwrap();
        let output = run(&[]);
        assert!(said(&output).contains("Permission denied (publickey)"), "{form:?}: {}", said(&output));
    }
}
