//! Session Manager's requests and the reliability layer against the fake service, its gateway and its agent, with the
//! real ssh and sshd at the ends.

mod bridge;
mod dead_peer;

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use aws_config::{Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use sandbox::{Form, Instance, Options, Sandbox, SsmHandshake, SsmSession, SsmSwitches, Switches};
use ssh_eic::aws::client;
use ssh_eic::aws::credentials::Session;
use ssh_eic::aws::session_manager::{self, Target};
use ssh_eic::domain::identity::Identity;
use ssh_eic::domain::ids::InstanceId;
use ssh_eic::domain::session_manager::{CloseReason, End, Failure};

use bridge::{Bridge, Outcome};

struct World {
    sandbox: Sandbox,
    id: InstanceId,
    session: Session,
    ca: PathBuf,
    key: PathBuf,
    user: String,
}

impl World {
    fn new() -> Self {
        Self::with(Options::default())
    }

    /// The same with AWS over TLS.
    fn over_tls() -> Self {
        Self::with(Options { tls: true, ..Options::default() })
    }

    fn with(options: Options) -> Self {
        let sandbox = Sandbox::start(Options { form: Form::Loopback, ..options }).expect("a sandbox");
        let id = sandbox.add(Instance::new("web")).expect("an instance");
        let credential = sandbox.credential("prod").expect("a profile").clone();
        let credentials =
            Credentials::new(credential.access_key_id.clone(), credential.secret_access_key, None, None, "test");
        let config = SdkConfig::builder()
            .endpoint_url(sandbox.endpoint())
            .region(Region::new("eu-west-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build();
        let session = Session {
            config,
            region: "eu-west-1".into(),
            access_key: credential.access_key_id,
            account: None,
            identity: Identity { profile: Some("prod".into()), ..Identity::default() },
            cache_file: None,
            push_endpoint: None,
        };
        let key = sandbox.home().join("id");
        let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
        assert!(made.expect("ssh-keygen").success());
        let user = Command::new("id").arg("-un").output().expect("id");
        let user = String::from_utf8_lossy(&user.stdout).trim().to_owned();
        let public = fs::read_to_string(key.with_extension("pub")).expect("a key");
        sandbox.accept_key(&id, &user, &public, Duration::from_hours(1)).expect("accepted");
        let ca = sandbox.dir().join("aws-ca.pem");
        Self { id: InstanceId::parse(&id).expect("an id"), sandbox, session, ca, key, user }
    }

    fn switch(&self, ssm: SsmSwitches) {
        self.sandbox.switches(Switches { ssm: Some(ssm), ..Switches::default() }).expect("switches");
    }

    /// Runs a command over a session with the file as its input.
    fn ssh(&self, command: &str, input: &[u8]) -> (Output, Outcome) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port().to_string();
        let file = self.sandbox.home().join("input");
        fs::write(&file, input).expect("a file");
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "/dev/null", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o"]);
        ssh.args(["UserKnownHostsFile=/dev/null", "-o", "IdentitiesOnly=yes", "-p", &port, "-l", &self.user, "-i"]);
        ssh.arg(&self.key).args(["127.0.0.1", command]).stdin(fs::File::open(&file).expect("a file"));
        let ssh = ssh.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("ssh");
        let (local, _) = listener.accept().expect("ssh connects");
        let mut bridge = Bridge { session: &self.session, id: &self.id, ca: &self.ca, notices: Vec::new() };
        let outcome = std::thread::scope(|scope| {
            let running = scope.spawn(|| ssh.wait_with_output().expect("ssh ends"));
            let outcome = bridge.run(&local);
            drop(local);
            (running.join().expect("ssh"), outcome)
        });
        (outcome.0, outcome.1)
    }

    /// The last session.
    fn record(&self) -> SsmSession {
        self.sandbox.ssm_sessions().expect("sessions").pop().expect("a session")
    }

    /// Every session is over, within the time that the server needs to notice.
    fn assert_none_open(&self, what: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let open: Vec<_> = self.sandbox.ssm_sessions().expect("sessions");
            let open: Vec<_> = open.into_iter().filter(|one| one.ended.is_none()).collect();
            if open.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "{what}: {open:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// 200 KB go there and come back.
    fn assert_exact(&self, what: &str) -> SsmSession {
        let input: Vec<u8> =
            (0..200_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).step_by(4).collect();
        let (output, outcome) = self.ssh("cat", &input);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success() && output.stdout == input,
            "{what}: {} bytes, {outcome:?}\n{said}\n{}",
            output.stdout.len(),
            self.sandbox.server_log()
        );
        let is_end = matches!(&outcome, Outcome::End(End::Closed(CloseReason::Normal) | End::InputEnded));
        assert!(is_end, "{what}: {outcome:?}");
        self.assert_none_open(what);
        self.record()
    }
}

#[test]
fn ssh_works_over_a_session_that_ends_with_it() {
    let world = World::new();
    let record = world.assert_exact("no faults");
    assert_eq!((record.connections, record.resumed, record.client_ids.len(), record.port.as_str()), (1, 0, 1, "22"));
    assert_eq!(record.refused, 0, "no data before the agent was connected");
    let target = Target { id: &world.id, name: "web" };
    let status = client::run(async { Ok(session_manager::is_connected(&world.session, target).await) });
    assert!(status.expect("a runtime").expect("a status"));
    assert!(!format!("{:?}", world.sandbox.calls().expect("calls")).contains("InvalidSignature"));
}

#[test]
fn both_directions_are_exact_under_every_fault() {
    let world = World::new();
    let cases = [
        ("lost", SsmSwitches { lose: 40, ..SsmSwitches::default() }),
        ("repeated", SsmSwitches { repeat: 3, ..SsmSwitches::default() }),
        ("reordered", SsmSwitches { reorder: 7, delay: 11, ..SsmSwitches::default() }),
        ("lost acknowledgements", SsmSwitches { lose_acknowledgements: 20, ..SsmSwitches::default() }),
        ("chunks", SsmSwitches { fragment: 50, long_close_header: true, ..SsmSwitches::default() }),
        ("flags", SsmSwitches { flags: true, start_publication: true, ..SsmSwitches::default() }),
        (
            "mixed",
            SsmSwitches { lose: 50, repeat: 9, reorder: 13, lose_acknowledgements: 31, ..SsmSwitches::default() },
        ),
    ];
    for (what, switches) in cases {
        world.switch(switches);
        let record = world.assert_exact(what);
        assert_eq!(record.connections, 1, "{what}");
    }
}

#[test]
fn a_pause_stops_data() {
    let world = World::new();
    world.switch(SsmSwitches { pause_after: 60, ..SsmSwitches::default() });
    let record = world.assert_exact("pause");
    // What is on its way when the pause is sent still arrives.
    assert!(record.received_while_paused < 100, "{record:?}");
}

#[test]
fn a_session_goes_on_after_closes_and_cuts_during_an_upload() {
    let world = World::new();
    world.switch(SsmSwitches { bye_after: 120, bye_times: 2, ..SsmSwitches::default() });
    let record = world.assert_exact("two closes");
    assert_eq!((record.connections, record.resumed, record.client_ids.len()), (3, 2, 1));
    world.switch(SsmSwitches { cut_after: 150, ..SsmSwitches::default() });
    let record = world.assert_exact("a cut");
    assert_eq!((record.connections, record.resumed), (2, 1));
}

#[test]
fn each_refusal_and_end_has_its_own_error() {
    let world = World::new();
    let idle = "Your session timed out due to inactivity and has been terminated.";
    let duration = "Your session reached its maximum duration and has been terminated.";
    let close = |text: &str| SsmSwitches { close_text: Some(text.into()), close_after: 3, ..SsmSwitches::default() };
    let refused = "Unable to connect to specified port: dial tcp 127.0.0.1:22: connect: connection refused";
    let ended = |end| Outcome::End(end);
    let cases = [
        (
            SsmSwitches { not_connected: vec![world.id.to_string()], ..SsmSwitches::default() },
            Outcome::Refused("web: the Systems Manager agent is not connected in eu-west-1".into()),
        ),
        (SsmSwitches { refuse_upgrade: Some(403), ..SsmSwitches::default() }, Outcome::Upgrade(403)),
        (SsmSwitches { reject_token: true, ..SsmSwitches::default() }, ended(End::Failed(Failure::Rejected))),
        (
            SsmSwitches { handshake: SsmHandshake::Encryption, ..SsmSwitches::default() },
            ended(End::Failed(Failure::EncryptionRequested)),
        ),
        (
            SsmSwitches { handshake: SsmHandshake::UnknownAction, ..SsmSwitches::default() },
            ended(End::Failed(Failure::UnknownAction("Unheard".into()))),
        ),
        (
            SsmSwitches { refuse_port: true, ..SsmSwitches::default() },
            ended(End::Closed(CloseReason::ConnectionRefused(refused.into()))),
        ),
        (close(idle), ended(End::Closed(CloseReason::IdleTimeout))),
        (close(duration), ended(End::Closed(CloseReason::MaximumDuration))),
        (
            SsmSwitches { bye_after: 30, bye_times: 9, refuse_resume: true, ..SsmSwitches::default() },
            Outcome::Refused("web: the Session Manager session is over and cannot be resumed".into()),
        ),
        (
            SsmSwitches { bye_after: 30, bye_times: 9, resume_without_token: true, ..SsmSwitches::default() },
            Outcome::Refused("web: the Session Manager session is over and cannot be resumed".into()),
        ),
    ];
    for (switches, expected) in cases {
        let what = format!("{switches:?}");
        world.switch(switches);
        let (output, outcome) = world.ssh("head -c 200000 /dev/zero", b"");
        assert_eq!(outcome, expected, "{what}");
        assert!(!output.status.success(), "{what}");
        world.assert_none_open(&what);
    }
    world.switch(SsmSwitches { malformed_after: 5, ..SsmSwitches::default() });
    let (_, outcome) = world.ssh("head -c 200000 /dev/zero", b"");
    assert!(matches!(outcome, Outcome::End(End::Failed(Failure::Malformed(_)))), "{outcome:?}");
    world.assert_none_open("malformed");
}

#[test]
fn a_denial_names_the_action_and_the_resource() {
    let world = World::new();
    let message = |outcome| match outcome {
        Outcome::Refused(message) => message,
        other => panic!("{other:?}"),
    };
    world.switch(SsmSwitches { deny_document: true, ..SsmSwitches::default() });
    let text = message(world.ssh("true", b"").1);
    assert!(text.starts_with("AWS denies ssm:StartSession on the document AWS-StartSSHSession to profile"), "{text}");
    let deny = |action: &str| {
        let switches =
            Switches { deny: Some(vec![action.into()]), ssm: Some(SsmSwitches::default()), ..Switches::default() };
        world.sandbox.switches(switches).expect("switches");
    };
    deny("StartSession");
    let text = message(world.ssh("true", b"").1);
    assert!(text.starts_with("AWS denies ssm:StartSession on web to profile"), "{text}");
    deny("OpenDataChannel");
    assert_eq!(world.ssh("true", b"").1, Outcome::Upgrade(403));
    world.assert_none_open("denied");
}
