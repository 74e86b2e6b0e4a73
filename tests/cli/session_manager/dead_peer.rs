//! A gateway that is silent without closing the connection, by a clock that the test holds.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use sandbox::SsmSwitches;
use ssh_eic::connect::push::Job;
use ssh_eic::connect::session_manager::SessionStream;
use ssh_eic::connect::worker::Program;
use ssh_eic::domain::identity::Identity;
use ssh_eic::domain::ids::OsUser;
use ssh_eic::net::{State, Transport};

use super::World;

/// The program inside the sandbox, for the workers that make the AWS calls.
fn program(world: &World) -> Program {
    let command = world.sandbox.command(crate::world::binary());
    let quote = |text: &std::ffi::OsStr| format!("'{}'", text.to_str().expect("UTF-8").replace('\'', r"'\''"));
    let mut script = "#!/bin/sh\nexec env -i".to_owned();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            script.extend([" ", name.to_str().expect("UTF-8"), "=", &quote(value)]);
        }
    }
    script.extend([" ", &quote(command.get_program()), " \"$@\"\n"]);
    let binary = world.sandbox.home().join("ssh-eic");
    fs::write(&binary, script).expect("a script");
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).expect("executable");
    Program { binary, flags: Vec::new() }
}

/// How much time passes for the stream at each step, however long that takes.
const STEP: Duration = Duration::from_millis(5);

/// A stream and its clock.
struct Held {
    stream: SessionStream,
    now: Instant,
    received: Vec<u8>,
}

impl Held {
    fn advance(&mut self) {
        self.now += STEP;
        self.stream.advance(self.now);
        while !self.stream.received().is_empty() {
            self.received.extend_from_slice(self.stream.received());
            let count = self.stream.received().len();
            self.stream.consume(count);
        }
        assert!(!matches!(self.stream.state(), State::Closed(_)), "{:?}", self.stream);
    }

    fn until(&mut self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        crate::world::wait_until(what, || {
            self.advance();
            condition(self)
        });
    }
}

/// Set in the process that has the stream.
const CHILD: &str = "SSH_EIC_TEST_CHILD";
const NAME: &str = "session_manager::dead_peer::a_gateway_without_pongs_is_left_within_90_seconds_and_no_byte_is_lost";

/// Runs this test in a process that trusts the certificates of a file, which does not exist yet.
fn run_in_child() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    child.args(["--exact", NAME, "--nocapture"]).env(CHILD, "1").env("AWS_CA_BUNDLE", folder.path().join("ca.pem"));
    let output = child.output().expect("this program");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_gateway_without_pongs_is_left_within_90_seconds_and_no_byte_is_lost() {
    if std::env::var_os(CHILD).is_none() {
        return run_in_child();
    }
    let world = World::over_tls();
    fs::copy(&world.ca, std::env::var_os("AWS_CA_BUNDLE").expect("a path")).expect("a copy");
    world.switch(SsmSwitches { no_pongs: true, ..SsmSwitches::default() });
    let identity = Identity { profile: Some("prod".into()), ..Identity::default() };
    let user = OsUser::parse(&world.user).expect("a user");
    let job = Job::new(world.id.clone(), "web", user, Some("eu-west-1".into()), identity);
    let now = Instant::now();
    let stream = SessionStream::start(&program(&world), &job, 22, now).expect("started");
    let mut held = Held { stream, now, received: Vec::new() };
    held.until("no version line", |held| held.received.ends_with(b"\n"));
    let version = held.received.len();
    let line = b"SSH-2.0-test\r\n";
    assert_eq!(held.stream.send(line), line.len());
    held.until("the gateway got nothing", |_| world.record().received > 1);
    // Pings are sent and not answered.
    let silent_since = held.now;
    for seconds in [31, 62, 70] {
        held.now = silent_since + Duration::from_secs(seconds);
        held.advance();
    }
    assert_eq!((world.record().connections, world.record().resumed), (1, 0));
    held.now = silent_since + Duration::from_secs(90);
    held.until("the session was not resumed", |_| world.record().connections == 2);
    // The server's first packet, which it sends once, after the client's version line.
    held.until("the server's packet is incomplete", |held| {
        let Some(length) = held.received[version..].first_chunk() else { return false };
        held.received.len() >= version + 4 + usize::try_from(u32::from_be_bytes(*length)).expect("small")
    });
    let length = u32::from_be_bytes(*held.received[version..].first_chunk().expect("a length"));
    assert_eq!(held.received.len(), version + 4 + usize::try_from(length).expect("small"));
    assert_eq!((world.record().resumed, world.record().client_ids.len()), (1, 1));
    drop(held);
    world.assert_none_open("after the resume");
}
