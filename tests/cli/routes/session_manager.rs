//! `route = "ssm"`: instances without a network path, over sessions of Session Manager.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sandbox::{Instance, Network, SsmHandshake, SsmSession, SsmSwitches, Switches};

use crate::sources::configure;
use crate::world::{CommandOutput, World, can_have_namespaces, finish, spawn, wait_until};

const CONFIG: &str = "[[source]]
name = \"prod\"
profile = \"prod\"
route = \"ssm\"

[limits]
connect_timeout = \"5m\"
";
/// The gateway's limit is 0.9 MB/s, which the client keeps to: this takes 12 s, and more under faults.
const LARGE: usize = 10 * 1024 * 1024;
const SMALL: usize = 300 * 1024;

/// A world whose instance `app` has no direct path.
pub(super) struct Managed {
    pub(super) world: World,
    app: String,
}

impl Managed {
    pub(super) fn new() -> Self {
        let world = World::over_tls();
        configure(&world, CONFIG);
        let app = world.add(Instance::new("app").address("10.0.9.9").network(Network::Away));
        Self { world, app }
    }

    fn switch(&self, ssm: SsmSwitches) {
        self.world.sandbox.switches(Switches { ssm: Some(ssm), ..Switches::default() }).expect("switches");
    }

    fn ssh(&self, args: &[&str]) -> CommandOutput {
        self.world.ssh(&[&["app"], args].concat())
    }

    pub(super) fn sessions(&self) -> Vec<SsmSession> {
        self.world.sandbox.ssm_sessions().expect("sessions")
    }

    /// No session is left open, and no process; returns the sessions.
    pub(super) fn all_ended(&self) -> Vec<SsmSession> {
        wait_until("a session is left open", || self.sessions().iter().all(|session| session.ended.is_some()));
        self.world.nothing_lingers(Duration::from_secs(10));
        self.sessions()
    }

    /// Sends `size` random bytes to the instance and back in one connection, and compares them.
    fn transfer(&self, size: usize, what: &str) -> SsmSession {
        let ssh = if can_have_namespaces() { "ssh" } else { "ssh -F ~/.ssh/config" };
        let script = format!("head -c {size} /dev/urandom > blob && {ssh} app cat < blob > back && cmp blob back");
        let output = self.world.sh(&script);
        assert_eq!(output.code, Some(0), "{what}\n{output}\n{:?}", self.sessions().last());
        self.all_ended().pop().expect("a session")
    }

    /// Starts `ssh app` with a command that stays, and waits until it runs.
    fn stay(&self, options: &[&str]) -> Child {
        use std::io::Read;
        let mut command = self.world.ssh_command(&[options, &["app", "echo in; sleep 300"]].concat());
        let mut child = spawn(command.stdin(Stdio::piped()));
        let mut first = [0; 3];
        child.stdout.as_mut().expect("stdout").read_exact(&mut first).expect("a word from the instance");
        assert_eq!(&first, b"in\n");
        child
    }
}

pub(super) fn kill(signal: &str, pid: &str) {
    assert!(Command::new("kill").args([&format!("-{signal}"), pid]).status().expect("kill").success());
}

#[test]
fn a_login_takes_one_session_which_ends_with_it_and_shows_no_secret() {
    let managed = Managed::new();
    let output = managed.ssh(&["echo $SSH_EIC_INSTANCE"]);
    assert_eq!(output.ok(), format!("{}\n", managed.app));
    let sessions = managed.all_ended();
    let [session] = sessions.as_slice() else { panic!("{sessions:?}") };
    assert_eq!((session.port.as_str(), session.connections, session.resumed, session.refused), ("22", 1, 0, 0));
    let mut command = managed.world.ssh_command(&["-vv", "app", "true"]);
    command.env("SSH_EIC_LOG", "trace");
    let output = crate::world::run(command);
    output.ok();
    for secret in ["token/", "cell-number", "AWS4-HMAC-SHA256", "Signature="] {
        assert!(!output.stderr.contains(secret), "{secret}\n{output}");
    }
    let mut child = managed.stay(&[]);
    let lines = managed.world.survivors();
    assert!(
        !lines.is_empty() && !lines.iter().any(|line| line.contains("token/") || line.contains("wss:")),
        "{lines:?}"
    );
    kill("TERM", &child.id().to_string());
    child.wait().expect("ssh");
    managed.all_ended();
}

#[test]
fn ten_mebibytes_arrive_both_ways() {
    let managed = Managed::new();
    let session = managed.transfer(LARGE, "no faults");
    assert_eq!((session.connections, session.client_ids.len()), (1, 1));
}

#[test]
fn ten_mebibytes_arrive_both_ways_under_a_mix_of_faults() {
    let managed = Managed::new();
    managed.switch(SsmSwitches {
        start_publication: true,
        lose: 1009,
        repeat: 97,
        reorder: 61,
        delay: 211,
        lose_acknowledgements: 401,
        fragment: 700,
        bye_after: 1500,
        bye_times: 2,
        flags: true,
        ..SsmSwitches::default()
    });
    let session = managed.transfer(LARGE, "a mix");
    assert_eq!((session.connections, session.resumed, session.client_ids.len()), (3, 2, 1));
}

#[test]
fn every_fault_alone_changes_no_byte() {
    let managed = Managed::new();
    let none = SsmSwitches::default;
    for switches in [
        SsmSwitches { lose: 53, ..none() },
        SsmSwitches { repeat: 3, ..none() },
        SsmSwitches { reorder: 7, ..none() },
        SsmSwitches { delay: 11, ..none() },
        SsmSwitches { lose_acknowledgements: 17, ..none() },
        SsmSwitches { fragment: 100, ..none() },
        SsmSwitches { pause_after: 40, start_publication: true, ..none() },
        SsmSwitches { bye_after: 200, bye_times: 2, ..none() },
        SsmSwitches { cut_after: 150, ..none() },
        SsmSwitches { flags: true, long_close_header: true, ..none() },
    ] {
        let what = format!("{switches:?}");
        managed.switch(switches);
        managed.transfer(SMALL, &what);
    }
}

#[test]
fn an_upload_continues_across_two_closes_of_the_gateway() {
    let managed = Managed::new();
    managed.switch(SsmSwitches { bye_after: 1000, bye_times: 2, ..SsmSwitches::default() });
    fs::write(managed.world.home().join("blob"), vec![7; 2 * 1024 * 1024]).expect("a file");
    let config = if can_have_namespaces() { "" } else { "-F ~/.ssh/config" };
    managed.world.sh(&format!("scp {config} -q blob app:up && scp {config} -q app:up down && cmp blob down")).ok();
    let sessions = managed.all_ended();
    let found: Vec<_> = sessions.iter().map(|one| (one.connections, one.resumed, one.client_ids.len())).collect();
    assert_eq!(found, [(3, 2, 1); 2]);
}

#[sandbox::needs_namespaces]
#[test]
fn rsync_git_and_sftp_work() {
    let managed = Managed::new();
    let script = "set -e; head -c 200000 /dev/urandom > blob; mkdir d; cp blob d/
        rsync -a d/ app:three/; rsync -a app:three/ back/; cmp blob back/blob
        echo 'put blob two' | sftp -q -b - app
        ssh app 'git init -q --bare r.git'
        git init -q w; cd w; cp ../blob .; git add blob; git -c user.name=a -c user.email=a@b commit -qm one
        git push -q app:r.git HEAD:refs/heads/main; cd ..; git clone -q -b main app:r.git c; cmp blob c/blob";
    managed.world.sh(script).ok();
    assert!(managed.all_ended().len() >= 6);
}

#[sandbox::needs_namespaces]
#[test]
fn forty_sessions_at_once() {
    let managed = Managed::new();
    let start = Instant::now();
    let children: Vec<Child> =
        (0..40).map(|n| spawn(&mut managed.world.ssh_command(&["app", &format!("echo {n}")]))).collect();
    for (n, child) in children.into_iter().enumerate() {
        assert_eq!(finish(child, format!("ssh app echo {n}"), start).ok(), format!("{n}\n"));
    }
    assert_eq!(managed.all_ended().len(), 40);
    assert_eq!(managed.world.pushes().len(), 1);
}

#[test]
fn a_shared_master_uses_one_session_and_survives_ctrl_c() {
    let managed = Managed::new();
    managed.world.ssh(&["-o", "ControlMaster=auto", "-o", "ControlPersist=60", "app", "true"]).ok();
    assert_eq!(managed.ssh(&["echo again"]).ok(), "again\n");
    for (folder, line) in managed.world.processes() {
        if line.contains(" proxy ") {
            kill("INT", folder.file_name().expect("a pid").to_str().expect("a number"));
        }
    }
    assert_eq!(managed.ssh(&["echo after"]).ok(), "after\n");
    assert_eq!(managed.sessions().len(), 1);
    managed.world.ssh(&["-O", "exit", "app"]).ok();
    managed.all_ended();
}

#[test]
fn a_signal_to_ssh_or_to_the_proxy_leaves_no_session() {
    let managed = Managed::new();
    for signal in ["HUP", "TERM", "KILL"] {
        let mut child = managed.stay(&[]);
        kill(signal, &child.id().to_string());
        child.wait().expect("ssh");
        managed.all_ended();
    }
    for signal in ["HUP", "TERM"] {
        let mut child = managed.stay(&[]);
        let proxies = managed.world.processes();
        let proxy = proxies.iter().find(|(_, line)| line.contains(" proxy ")).expect("a proxy");
        kill(signal, proxy.0.file_name().expect("a pid").to_str().expect("a number"));
        child.wait().expect("ssh");
        managed.all_ended();
    }
}

#[test]
fn a_connection_that_is_given_up_during_its_start_leaves_no_session() {
    let managed = Managed::new();
    let hold = Switches { latency_ms: [("StartSession".to_owned(), 1500)].into(), ..Switches::default() };
    managed.world.sandbox.switches(hold).expect("switches");
    let mut child = spawn(&mut managed.world.ssh_command(&["app", "true"]));
    let has_started = || managed.world.sandbox.calls().expect("calls").iter().any(|call| call.action == "StartSession");
    wait_until("no session was requested", || {
        has_started() || managed.world.survivors().iter().filter(|line| line.contains("worker")).count() > 1
    });
    kill("KILL", &child.id().to_string());
    child.wait().expect("ssh");
    wait_until("the session was not started", has_started);
    managed.all_ended();
}

#[test]
fn each_failure_has_its_error() {
    let managed = Managed::new();
    let none = SsmSwitches::default;
    let name = format!("app ({})", managed.app);
    let cases = [
        (
            SsmSwitches { not_connected: vec![managed.app.clone()], ..none() },
            8,
            format!("{name}: the Systems Manager agent is not connected in eu-west-1"),
            "hint: check that amazon-ssm-agent runs on the instance, that its instance profile has",
        ),
        (
            SsmSwitches { deny_document: true, ..none() },
            6,
            "AWS denies ssm:StartSession on the document AWS-StartSSHSession to profile \"prod\"".to_owned(),
            "ssh-eic policy",
        ),
        (
            SsmSwitches { refuse_upgrade: Some(403), ..none() },
            6,
            format!("{name}: Session Manager refused the data channel (403)"),
            "hint: either ssmmessages:OpenDataChannel is denied (ssh-eic policy), or the signature is invalid",
        ),
        (
            SsmSwitches { reject_token: true, ..none() },
            7,
            format!("{name}: the gateway closed the data channel before any message"),
            "hint: connect again",
        ),
        (
            SsmSwitches { handshake: SsmHandshake::Encryption, ..none() },
            6,
            format!("{name}: the agent requests KMS encryption of the session, which ssh-eic does not support"),
            "turn off KMS encryption",
        ),
        (
            SsmSwitches { handshake: SsmHandshake::UnknownAction, ..none() },
            7,
            format!("{name}: the agent requests the unknown action Unheard"),
            "hint: update ssh-eic",
        ),
        (
            SsmSwitches { refuse_port: true, ..none() },
            8,
            format!("{name}: the agent cannot connect to port 22 of its own instance"),
            "hint: check that sshd runs on the instance and listens on localhost, port 22",
        ),
        (
            SsmSwitches { malformed_after: 1, ..none() },
            7,
            format!("{name}: a message of the data channel is malformed"),
            "hint: connect again",
        ),
    ];
    for (switches, _, message, hint) in cases {
        let what = format!("{switches:?}");
        managed.switch(switches);
        let output = managed.ssh(&["true"]);
        output.fails_with(255);
        assert!(output.stderr.contains(&message) && output.stderr.contains(hint), "{what}\n{message}\n{output}");
        managed.all_ended();
    }
    let denied = Switches { deny: Some(vec!["StartSession".to_owned()]), ..Switches::default() };
    managed.world.sandbox.switches(denied).expect("switches");
    managed
        .ssh(&["true"])
        .fails_with(255)
        .says(&format!("AWS denies ssm:StartSession on {name}"))
        .says("ssh-eic policy");
    managed.all_ended();
}

#[test]
fn the_end_of_a_session_by_its_limits_or_a_refused_resume_is_reported() {
    let managed = Managed::new();
    let close = |text: &str| SsmSwitches { close_text: Some(text.into()), close_after: 60, ..SsmSwitches::default() };
    for (switches, message) in [
        (
            close("Your session timed out due to inactivity and has been terminated."),
            "Session Manager ended the session after its idle timeout",
        ),
        (
            close("Your session reached its maximum duration and has been terminated."),
            "Session Manager ended the session after its maximum duration",
        ),
        (
            SsmSwitches { bye_after: 120, bye_times: 9, refuse_resume: true, ..SsmSwitches::default() },
            "the Session Manager session is over and cannot be resumed",
        ),
        (
            SsmSwitches { bye_after: 120, bye_times: 9, resume_without_token: true, ..SsmSwitches::default() },
            "the Session Manager session is over and cannot be resumed",
        ),
    ] {
        managed.switch(switches);
        // To a file: where a program may wait for the end of stderr, the proxy closes it.
        let ssh = if can_have_namespaces() { "ssh" } else { "ssh -F ~/.ssh/config" };
        let output = managed.world.sh(&format!("{ssh} app 'head -c 300000 /dev/zero' > out 2> errors; echo $?"));
        assert_eq!(output.ok(), "255\n");
        let errors = managed.world.read("errors");
        assert!(errors.contains(message), "{message}\n{errors}");
        managed.all_ended();
    }
}

#[test]
fn auto_uses_a_session_where_there_is_no_endpoint() {
    let managed = Managed::new();
    configure(&managed.world, &CONFIG.replace("\"ssm\"", "\"auto\""));
    managed.world.eic(&["sync"]).ok();
    assert_eq!(managed.ssh(&["echo $SSH_EIC_INSTANCE"]).ok(), format!("{}\n", managed.app));
    assert_eq!(managed.all_ended().len(), 1);
}
