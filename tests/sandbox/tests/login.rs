//! Real ssh against the played instances, in both forms.

mod common;

use std::time::{Duration, Instant};

use common::{forms, key, login, push, said, ssh, start};
use sandbox::{Change, Form, Instance, Network, State, Switches, needs_namespaces};

/// Longest that anything may take, on a machine however busy.
const LIMIT: Duration = Duration::from_mins(2);

#[test]
fn a_pushed_key_opens_that_instance_for_that_user_until_its_time_is_over() {
    for form in forms() {
        let sandbox = start(form);
        let web = sandbox.add(Instance::new("web")).unwrap();
        let db = sandbox.add(Instance::new("db")).unwrap();
        let user = login(&sandbox);
        let (_, public) = key(&sandbox);

        let refused = ssh(&sandbox, &web, &user, &[], "true");
        assert!(said(&refused).contains("Permission denied (publickey)"), "{}", said(&refused));

        assert_eq!(push(&sandbox, &web, &user, &public).0, 200);
        assert_eq!(sandbox.keys(&web, &user).unwrap(), [public.trim()]);
        let output = ssh(&sandbox, &web, &user, &[], "echo $SSH_EIC_INSTANCE $(hostname) $(id -un)");
        assert_eq!(said(&output).lines().next().unwrap(), format!("{web} web {user}"), "{form:?}");

        assert_eq!(ssh(&sandbox, &db, &user, &[], "true").status.code(), Some(255), "another instance");
        assert_eq!(ssh(&sandbox, &web, "deploy", &[], "true").status.code(), Some(255), "another user");
        assert!(sandbox.sshd_log(&web).contains("Accepted publickey"), "{}", sandbox.sshd_log(&web));

        sandbox.switches(Switches { key_ttl_s: Some(0.3), ..Switches::default() }).unwrap();
        let pushed = Instant::now();
        push(&sandbox, &web, &user, &public);
        while !sandbox.keys(&web, &user).unwrap().is_empty() {
            assert!(pushed.elapsed() < LIMIT, "it is accepted for ever");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(pushed.elapsed() >= Duration::from_millis(300), "{:?}", pushed.elapsed());
        assert_eq!(ssh(&sandbox, &web, &user, &[], "true").status.code(), Some(255), "too late");
        assert_eq!(sandbox.pushes().unwrap().len(), 2);
    }
}

#[test]
fn host_keys_differ_and_can_be_replaced() {
    let sandbox = start(Form::detect());
    let ids = sandbox.add_many(vec![Instance::new("a"), Instance::new("b")]).unwrap();
    let user = login(&sandbox);
    let (_, public) = key(&sandbox);
    for id in &ids {
        push(&sandbox, id, &user, &public);
        assert!(ssh(&sandbox, id, &user, &[], "true").status.success());
    }
    let known = std::fs::read_to_string(sandbox.home().join("known_hosts")).unwrap();
    let keys: std::collections::HashSet<_> = known.lines().filter_map(|line| line.split(' ').nth(2)).collect();
    assert_eq!(keys.len(), 2, "{known}");

    sandbox.update(&ids[0], Change { new_host_key: true, ..Change::default() }).unwrap();
    let output = ssh(&sandbox, &ids[0], &user, &[], "true");
    assert!(said(&output).contains("REMOTE HOST IDENTIFICATION HAS CHANGED"), "{}", said(&output));
}

#[test]
fn the_network_refuses_keeps_silent_or_swallows() {
    std::thread::scope(|scope| {
        for form in forms() {
            scope.spawn(move || try_networks(form));
        }
    });
}

fn try_networks(form: Form) {
    let sandbox = start(form);
    let id = sandbox.add(Instance::new("web")).unwrap();
    let user = login(&sandbox);
    let (_, public) = key(&sandbox);
    sandbox.accept_key(&id, &user, &public, Duration::from_mins(1)).unwrap();
    let answer = |network| {
        sandbox.update(&id, Change { network: Some(network), ..Change::default() }).unwrap();
        said(&ssh(&sandbox, &id, &user, &["-o", "ConnectTimeout=1"], "echo in"))
    };
    let refused = answer(Network::Refuse);
    assert!(refused.contains("refused") || refused.contains("reset"), "{form:?}: {refused}");
    assert!(answer(Network::Blackhole).contains("Connection timed out"), "{form:?}");
    assert!(answer(Network::Silent).contains("timed out during banner exchange"), "{form:?}");
    assert!(answer(Network::Ok).contains("in"), "{form:?}");
    assert!(answer(Network::Blackhole).contains("Connection timed out"), "{form:?}");
}

#[test]
fn a_stopped_instance_ends_its_sessions_and_answers_no_more() {
    for form in forms() {
        let sandbox = start(form);
        let id = sandbox.add(Instance::new("web")).unwrap();
        let user = login(&sandbox);
        let (_, public) = key(&sandbox);
        sandbox.accept_key(&id, &user, &public, Duration::from_mins(1)).unwrap();
        std::thread::scope(|scope| {
            let session = scope.spawn(|| ssh(&sandbox, &id, &user, &[], "echo in; exec sleep 600"));
            let begun = Instant::now();
            while !sandbox.sshd_log(&id).contains("Starting session") {
                assert!(begun.elapsed() < LIMIT, "{}", sandbox.sshd_log(&id));
                std::thread::sleep(Duration::from_millis(10));
            }
            sandbox.update(&id, Change { state: Some(State::Stopped), ..Change::default() }).unwrap();
            assert_eq!(session.join().unwrap().status.code(), Some(255));
            assert!(begun.elapsed() < 2 * LIMIT, "the session ended with the instance");
        });
        let output = ssh(&sandbox, &id, &user, &["-o", "ConnectTimeout=2"], "echo in");
        assert!(!said(&output).contains("timed out"), "{}", said(&output));
        assert!(!output.status.success());
        sandbox.update(&id, Change { state: Some(State::Running), ..Change::default() }).unwrap();
        assert!(ssh(&sandbox, &id, &user, &[], "true").status.success());
    }
}

#[needs_namespaces]
#[test]
fn namespaces_give_every_address_port_22_and_hide_the_real_home() {
    let sandbox = start(Form::Namespaces);
    let v6 = sandbox.add(Instance::new("v6").address("100.64.0.9").ipv6("2001:db8::9")).unwrap();
    let other = sandbox.add(Instance::new("other").address("100.64.0.9").network(Network::Away)).unwrap();
    let (_, public) = key(&sandbox);
    for id in [&v6, &other] {
        sandbox.accept_key(id, "root", &public, Duration::from_mins(1)).unwrap();
    }
    std::fs::create_dir(sandbox.home().join(".ssh")).unwrap();
    let config = "Host *\n  StrictHostKeyChecking accept-new\n  IdentityFile ~/id\n  BatchMode yes\n";
    std::fs::write(sandbox.home().join(".ssh/config"), config).unwrap();
    for address in ["100.64.0.9", "2001:db8::9"] {
        let output = sandbox.command("ssh").args([address, "echo $SSH_EIC_INSTANCE"]).output().unwrap();
        assert!(said(&output).starts_with(&v6), "{}", said(&output));
    }
    sandbox.update(&v6, Change { network: Some(Network::Away), ..Change::default() }).unwrap();
    sandbox.update(&other, Change { network: Some(Network::Ok), ..Change::default() }).unwrap();
    let options = ["-o", "HostKeyAlias=other", "100.64.0.9", "echo $SSH_EIC_INSTANCE"];
    let output = sandbox.command("ssh").args(options).output().unwrap();
    assert!(said(&output).starts_with(&other), "{}", said(&output));
}

#[test]
fn off_namespaces_an_instance_gets_its_port_when_it_comes_home() {
    let sandbox = start(Form::Loopback);
    let id = sandbox.add(Instance::new("web").network(Network::Away)).unwrap();
    let listen = || sandbox.instances().unwrap().pop().unwrap().listen;
    assert_eq!(listen(), 22, "none of its own yet");
    sandbox.update(&id, Change { network: Some(Network::Ok), ..Change::default() }).unwrap();
    assert_ne!(listen(), 22);
    let (_, public) = key(&sandbox);
    sandbox.accept_key(&id, &login(&sandbox), &public, Duration::from_mins(1)).unwrap();
    let output = ssh(&sandbox, &id, &login(&sandbox), &[], "echo $SSH_EIC_INSTANCE");
    assert!(said(&output).starts_with(&id), "{}", said(&output));
}

#[test]
fn nothing_is_left_behind() {
    for form in forms() {
        let sandbox = start(form);
        let dir = sandbox.dir().to_owned();
        let id = sandbox.add(Instance::new("web")).unwrap();
        let user = login(&sandbox);
        let (_, public) = key(&sandbox);
        sandbox.accept_key(&id, &user, &public, Duration::from_mins(1)).unwrap();
        let marker = "sleep 4242";
        let options = ["-f", "-o", "ControlMaster=yes", "-o", "ControlPersist=60", "-o", "ControlPath=master"];
        if form == Form::Namespaces {
            assert!(ssh(&sandbox, &id, &user, &options, marker).status.success());
        }
        drop(sandbox);
        assert!(!dir.exists(), "{}", dir.display());
        let left = std::process::Command::new("ps").args(["-eo", "args"]).output().unwrap();
        assert!(!String::from_utf8_lossy(&left.stdout).lines().any(|line| line == marker));
    }
}
