//! Faults around a connection: killed processes, damaged files, services that answer nonsense, an unusual environment.
//! In each case the user gets an error or a session, and nothing is lost.
//!
//! Elsewhere: full disks and read-only file systems (`layouts::full_disk`), killed syncs (`layouts::killed`), suspended
//! machines (`suspended`), throttling (`burst`), expired credentials (`errors`, `credentials`), sudo (`layouts::place`).

pub(crate) mod files;
mod killed;
mod parsers;
mod services;
mod surroundings;

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use crate::world::{CommandOutput, World};

/// Exit code of an internal error, and of a panic that nothing caught.
const BUGS: [Option<i32>; 3] = [Some(70), Some(101), None];

/// Asserts that it ended by itself, without a bug, and with an error message if it failed.
#[track_caller]
fn is_handled(output: &CommandOutput, what: &str) {
    assert!(!BUGS.contains(&output.code) && !output.stderr.contains("panicked"), "{what}\n{output}");
    let is_explained = output.stderr.lines().any(|line| !line.trim().is_empty());
    assert!(output.code == Some(0) || is_explained, "{what}: no message\n{output}");
}

/// A server in Perl inside the sandbox that sends the same to every connection, and its port. `send` is the code that
/// writes to the socket `$c`.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
}

impl Server {
    pub(crate) fn start(world: &World, send: &str) -> Self {
        let script = format!(
            "use IO::Socket::INET; $|=1; $SIG{{CHLD}}='IGNORE'; $SIG{{PIPE}}='DEFAULT';
            $s=IO::Socket::INET->new(Listen=>64,LocalAddr=>'127.0.0.1',LocalPort=>0) or die;
            print $s->sockport,\"\\n\"; while(1){{$c=$s->accept or next; if(fork){{close $c; next}} close $s; $c->autoflush(1); {send}; exit}}"
        );
        let mut command = world.sandbox.command("perl");
        command.args(["-e", &script]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("perl");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("a port");
        Self { child, port: line.trim().parse().expect("a port") }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
