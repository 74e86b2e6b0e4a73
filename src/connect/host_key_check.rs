//! The comparison of the server's host key with the trusted ones, before the client receives it (`host_keys = "console"`
//! and `"require-console"`).
//!
//! On first contact a worker reads the console output meanwhile, and nothing of the server's is relayed until it has
//! answered: ssh reads its `known_hosts` files after the server's version line. Every unit that is relayed goes through
//! [`HostKeyCheck::server_units`] or [`HostKeyCheck::client_units`] first, and NEWKEYS only after
//! [`HostKeyCheck::finish`]; each error ends the connection.
//! Not here: the decision (`domain::host_trust`), the key exchange (`domain::kex`), the signature (ssh).

use std::time::{Duration, Instant};

use crate::connect::console::{self, REPORT_AFTER, TIMEOUT};
use crate::connect::push::Job;
use crate::connect::worker::{Answer, Program, Request, Worker};
use crate::domain::console::ConsoleKeys;
use crate::domain::diagnosis::Cause;
use crate::domain::host_certificate::Presented;
use crate::domain::host_trust::{Console, Reason, Refusal, Source, Trust, Verdict};
use crate::domain::kex::{self, KexError, KeyExchange, Sender};
use crate::domain::known_hosts::KnownKeys;
use crate::domain::source::HostKeys;
use crate::error::{Error, Kind, Result};
use crate::store::files;
use crate::store::host_keys::{self, Accepted, CONSOLE};
use crate::store::paths::Paths;
use crate::sys::{clock, running_time};
use crate::ui;

/// What the worker has on top of [`TIMEOUT`] to report its error.
const SLACK: Duration = Duration::from_secs(2);

/// What a connection is checked by.
#[derive(Debug)]
pub struct Setting {
    /// `Console` or `RequireConsole`.
    pub mode: HostKeys,
    /// When the instance was launched, seconds since 1970; 0 if unknown.
    pub launched: i64,
    /// The `known_hosts` files of the configuration.
    pub known_hosts: Vec<String>,
}

/// The console output of the instance.
#[derive(Debug)]
enum Output {
    Reading { worker: Worker, since: Instant, is_reported: bool, deadline: Deadline },
    Known(Console),
    Failed(Box<Error>),
}

/// When the wait for the console output ends.
#[derive(Debug, Clone, Copy)]
struct Deadline {
    at: Instant,
    /// It is the end of ssh's `ConnectTimeout`, not of [`TIMEOUT`].
    of_ssh: bool,
}

impl Deadline {
    /// The earlier one of [`TIMEOUT`] from `since` and the end of the `ConnectTimeout` of ssh.
    fn new(since: Instant, connect_timeout: Option<Instant>) -> Self {
        let own = since + TIMEOUT + SLACK;
        match connect_timeout.filter(|at| *at < own) {
            Some(at) => Self { at, of_ssh: true },
            None => Self { at: own, of_ssh: false },
        }
    }

    /// The error for an output that did not arrive in time.
    fn error(self, instance: &str, since: Instant) -> Error {
        let waited = self.at.saturating_duration_since(since).as_secs_f32().round();
        let what = format!("AWS did not return the console output of {instance} within {waited} s");
        let error = if self.of_ssh {
            Error::new(Kind::Unavailable, what + " (ConnectTimeout)")
                .hint("raise ConnectTimeout in your ssh config, or read the console output with ssh-eic sync")
        } else {
            Error::new(Kind::Unavailable, what)
        };
        error.cause(Cause::AwsUnreachable)
    }
}

/// The check of one connection.
#[derive(Debug)]
pub struct HostKeyCheck {
    paths: Paths,
    job: Job,
    mode: HostKeys,
    known: KnownKeys,
    output: Output,
    key_exchange: KeyExchange,
    accepted: bool,
}

impl HostKeyCheck {
    /// Reads what is known of the instance, and starts a worker that reads the console if that is needed.
    /// `connect_timeout` is when the calling ssh gives up, with the time to report an error before.
    ///
    /// # Errors
    ///
    /// [`Kind::File`] if a file of keys cannot be read; a worker that cannot be started.
    pub fn start(
        paths: &Paths,
        program: &Program,
        job: &Job,
        setting: &Setting,
        connect_timeout: Option<Instant>,
    ) -> Result<Self> {
        let record = host_keys::load(paths, &job.id)?;
        let known = company_keys(job, &setting.known_hosts)?;
        let is_listed = !(known.hosts.is_empty() && known.authorities.is_empty());
        // A host of the company's files needs no keys of the console: it is not read at every connection for them.
        let needed = if is_listed { HostKeys::Console } else { setting.mode };
        let output = if console::is_needed(needed, record.as_ref(), setting.launched) {
            let worker = program.start(&Request::Console(Box::new(job.clone())))?;
            let since = running_time::now();
            let connect_timeout = connect_timeout.map(running_time::at);
            Output::Reading { worker, since, is_reported: false, deadline: Deadline::new(since, connect_timeout) }
        } else {
            let keys = record.map_or(Console::Unavailable, |record| Console::Read(record.console_keys()));
            Output::Known(keys)
        };
        Ok(Self::new(paths, job, setting.mode, known, output))
    }

    fn new(paths: &Paths, job: &Job, mode: HostKeys, known: KnownKeys, output: Output) -> Self {
        Self {
            paths: paths.clone(),
            job: job.clone(),
            mode,
            known,
            output,
            key_exchange: KeyExchange::new(),
            accepted: false,
        }
    }

    /// Whether bytes of the server have to wait for the console output.
    #[must_use]
    pub fn is_reading(&self) -> bool {
        matches!(self.output, Output::Reading { .. })
    }

    /// The worker that reads the console.
    #[must_use]
    pub fn worker(&self) -> Option<&Worker> {
        match &self.output {
            Output::Reading { worker, .. } => Some(worker),
            Output::Known(_) | Output::Failed(_) => None,
        }
    }

    /// When [`HostKeyCheck::check_timers`] is to be called.
    #[must_use]
    pub fn next_timer(&self) -> Option<Instant> {
        match &self.output {
            Output::Reading { since, is_reported: false, deadline, .. } => Some(deadline.at.min(*since + REPORT_AFTER)),
            Output::Reading { deadline, .. } => Some(deadline.at),
            Output::Known(_) | Output::Failed(_) => None,
        }
    }

    /// Reports a reading that takes long, and ends one that takes too long.
    pub fn check_timers(&mut self) {
        let Output::Reading { since, is_reported, deadline, .. } = &mut self.output else { return };
        if !*is_reported && running_time::since(*since) >= REPORT_AFTER {
            *is_reported = true;
            ui::warning(&format!("waiting for the console output of {}", self.job.name()));
        }
        if running_time::now() >= deadline.at {
            self.output = Output::Failed(Box::new(deadline.error(&self.job.name(), *since)));
        }
    }

    /// Reads from the worker. Returns it once it has answered, to wait for its exit later.
    pub fn read_worker(&mut self) -> Option<Worker> {
        let Output::Reading { worker, since, .. } = &mut self.output else { return None };
        let answer = worker.read()?;
        let taken = running_time::since(*since).as_millis();
        ui::verbose(|| format!("the console output of {} was read after {taken} ms", self.job.label));
        let output = match answer {
            Ok(Answer::Console(record)) => Output::Known(Console::Read(record.console_keys())),
            Ok(_) => Output::Failed(Box::new(Error::new(Kind::Bug, "the worker gave another answer"))),
            Err(error) => Output::Failed(Box::new(error)),
        };
        match std::mem::replace(&mut self.output, output) {
            Output::Reading { worker, .. } => Some(worker),
            Output::Known(_) | Output::Failed(_) => None,
        }
    }

    /// Takes whole lines and packets of the server before they are relayed. The first value is how many bytes may be
    /// relayed, which are all of them unless there is an error: the host key is refused, or the key exchange cannot be
    /// checked.
    pub fn server_units(&mut self, units: &[u8]) -> (usize, Result<()>) {
        let packets = self.key_exchange.after_version(Sender::Server, units);
        let mut accepted = units.len() - packets.len();
        for packet in kex::packets(packets) {
            let decided = match self.read(Sender::Server, packet) {
                Ok(Some(presented)) => self.decide(&presented),
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            if decided.is_err() {
                return (accepted, decided);
            }
            accepted += packet.len();
        }
        (accepted, Ok(()))
    }

    /// Whether the server's version line may have been relayed.
    #[must_use]
    pub fn version_relayed(&self) -> bool {
        self.key_exchange.version_seen(Sender::Server)
    }

    /// Takes whole lines and packets of the client before they are relayed.
    ///
    /// # Errors
    ///
    /// The key exchange cannot be checked.
    pub fn client_units(&mut self, units: &[u8]) -> Result<()> {
        for packet in kex::packets(self.key_exchange.after_version(Sender::Client, units)) {
            self.read(Sender::Client, packet)?;
        }
        Ok(())
    }

    /// Has to succeed before either side's NEWKEYS is relayed.
    ///
    /// # Errors
    ///
    /// No host key has been accepted.
    pub fn finish(&self) -> Result<()> {
        if self.accepted && self.key_exchange.host_key_seen() {
            return Ok(());
        }
        Err(self.unreadable(&KexError::NoHostKey))
    }

    /// The error for bytes that are not SSH.
    #[must_use]
    pub fn not_ssh(&self) -> Error {
        self.unreadable(&KexError::Packet)
    }

    fn read(&mut self, sender: Sender, packet: &[u8]) -> Result<Option<Presented>> {
        self.key_exchange.read(sender, packet).map_err(|error| self.unreadable(&error))
    }

    fn unreadable(&self, error: &KexError) -> Error {
        let what = format!("cannot verify the host key of {}: {error}", self.job.name());
        let hint = match error {
            KexError::Unsupported { name } if name.starts_with("gss-") => {
                "set GSSAPIKeyExchange no for this host in your ssh config"
            }
            KexError::Unsupported { .. } => {
                "exclude it with KexAlgorithms in your ssh config, or update ssh-eic; host_keys = \"accept-new\" leaves the check to ssh"
            }
            _ => "ssh -v shows the key exchange; host_keys = \"accept-new\" leaves the check to ssh",
        };
        Error::new(Kind::Unreachable, what).hint(hint)
    }

    fn decide(&mut self, presented: &Presented) -> Result<()> {
        let unavailable = Console::Unavailable;
        let console = match &self.output {
            Output::Known(console) => console,
            Output::Reading { .. } | Output::Failed(_) => &unavailable,
        };
        let trust = Trust { mode: self.mode, console, known: &self.known };
        let accepted = match trust.decide(&self.job.id, presented, clock::now() / 1000) {
            Verdict::Refused(refusal) => return Err(self.refused(&refusal)),
            Verdict::Trusted { fingerprint, source } => {
                if source == Source::Console && matches!(console, Console::Read(ConsoleKeys::Fingerprints(_))) {
                    host_keys::add_key(&self.paths, &self.job.id, presented.key())?;
                }
                let source = match source {
                    Source::Console => CONSOLE.to_owned(),
                    Source::KnownHosts { .. } => source.to_string(),
                };
                Accepted { fingerprint: fingerprint.to_string(), source: Some(source) }
            }
            Verdict::LeftToSsh { fingerprint, reason } => {
                let accepted = Accepted { fingerprint: fingerprint.to_string(), source: None };
                // Reported for each key once.
                if let Some(reason) = reason
                    && host_keys::accepted(&self.paths, &self.job.id)?.as_ref() != Some(&accepted)
                {
                    let what = reason.describe(&self.job.name());
                    ui::warning(&format!("{what}: the host key {fingerprint} is trusted on first use"));
                }
                accepted
            }
        };
        self.accepted = true;
        // For `list` and `doctor` only.
        if let Err(error) = host_keys::set_accepted(&self.paths, &self.job.id, &accepted) {
            ui::verbose(|| error.message);
        }
        Ok(())
    }

    fn refused(&self, refusal: &Refusal) -> Error {
        if let (Reason::ConsoleUnavailable, Output::Failed(error)) = (&refusal.reason, &self.output) {
            // The cause says more than the consequence.
            return Error { message: format!("cannot verify the host key: {}", error.message), ..(**error).clone() };
        }
        let error = Error::new(Kind::Unreachable, refusal.message(&self.job.id)).hint(refusal.hint());
        match &refusal.reason {
            Reason::Mismatch(_) | Reason::UnlistedType(_) | Reason::Revoked(_) | Reason::Certificate => {
                error.cause(Cause::HostKeyChanged)
            }
            Reason::ConsoleUnavailable => error,
            Reason::NoConsoleKeys(reason) => error.cause(unusable_cause(*reason)),
        }
    }
}

/// The cause that stands for an unusable console output.
#[must_use]
pub fn unusable_cause(reason: crate::domain::console::Unusable) -> Cause {
    use crate::domain::console::Unusable;
    match reason {
        Unusable::NoOutput => Cause::ConsoleNoOutput,
        Unusable::NoBlock => Cause::ConsoleNoBlock,
        Unusable::EmptyBlock => Cause::ConsoleEmptyBlock,
        Unusable::TruncatedKey => Cause::ConsoleTruncatedKey,
        Unusable::UnclosedBlock => Cause::ConsoleUnclosedBlock,
    }
}

/// The keys that the files of the configuration list for the instance. A file that does not exist lists none, as for ssh.
fn company_keys(job: &Job, known_hosts: &[String]) -> Result<KnownKeys> {
    let mut known = KnownKeys::default();
    for file in known_hosts {
        if let Some(content) = files::read(file.as_ref())? {
            known.add(file, &content, job.id.as_str());
        }
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::console::Unusable;
    use crate::domain::handshake::{Direction, Phase};
    use crate::domain::host_key::HostKey;
    use crate::domain::identity::Identity;
    use crate::domain::ids::{InstanceId, OsUser};
    use crate::store::paths::Environment;

    const ED25519: &str = include_str!("../../domain/src/testdata/kex/ed25519.pub");
    const RSA: &str = include_str!("../../domain/src/testdata/kex/rsa.pub");
    const CLIENT: &[u8] = include_bytes!("../../domain/src/testdata/kex/curve25519-sha256.client");
    const SERVER: &[u8] = include_bytes!("../../domain/src/testdata/kex/curve25519-sha256.server");
    const ID: &str = "i-0123456789abcdef0";

    struct Fixture {
        dir: tempfile::TempDir,
        check: HostKeyCheck,
    }

    fn check(mode: HostKeys, console: Console, known: &str) -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let home = Some(dir.path().join("eic"));
        let paths = Paths::new(&Environment { own_home: home, ..Environment::default() }).unwrap();
        files::make_private_folder(&paths.eic).unwrap();
        let id = InstanceId::parse(ID).unwrap();
        let job = Job::new(id, "web", OsUser::ec2_user(), None, Identity::default());
        let known = crate::domain::known_hosts::keys_for("/etc/known", known.as_bytes(), ID);
        let check = HostKeyCheck::new(&paths, &job, mode, known, Output::Known(console));
        Fixture { dir, check }
    }

    fn keys(lines: &[&str]) -> Console {
        Console::Read(ConsoleKeys::Keys(lines.iter().map(|line| HostKey::parse(line).unwrap()).collect()))
    }

    /// Relays the recordings as the proxy does, in pieces of `piece` bytes; what of the server's was relayed.
    fn relay(check: &mut HostKeyCheck, piece: usize) -> (Vec<u8>, Result<()>) {
        let (mut client, mut server) = (Direction::new(), Direction::new());
        let mut relayed = Vec::new();
        for piece in CLIENT.chunks(piece) {
            if let Err(error) = check.client_units(&client.read(piece)) {
                return (relayed, Err(error));
            }
        }
        for piece in SERVER.chunks(piece) {
            let units = server.read(piece);
            let (accepted, decided) = check.server_units(&units);
            relayed.extend(&units[..accepted]);
            if decided.is_err() {
                return (relayed, decided);
            }
        }
        assert_eq!((client.phase(), server.phase()), (Phase::NewKeys, Phase::NewKeys));
        (relayed, check.finish())
    }

    /// Whether the host key of the recording is in `bytes`.
    fn has_host_key(bytes: &[u8]) -> bool {
        let key = HostKey::parse(ED25519).unwrap();
        bytes.windows(key.blob().len()).any(|window| window == key.blob())
    }

    fn accepted(fixture: &Fixture) -> Option<Accepted> {
        host_keys::accepted(&fixture.check.paths, &fixture.check.job.id).unwrap()
    }

    #[test]
    fn a_key_of_the_console_is_relayed_however_the_stream_is_cut() {
        for piece in [1, 7, 100, 16 * 1024] {
            let mut fixture = check(HostKeys::RequireConsole, keys(&[RSA, ED25519]), "");
            let (relayed, end) = relay(&mut fixture.check, piece);
            end.unwrap();
            assert!(has_host_key(&relayed));
            assert_eq!(accepted(&fixture).unwrap().source.as_deref(), Some(CONSOLE));
        }
    }

    #[test]
    fn another_key_is_refused_before_it_is_relayed_and_nothing_is_written() {
        let other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJN/wQ9UqbQJ3lXHV3ndWXkVzY3xWyOYsmS1OeylV1Gx";
        for (console, words) in [(keys(&[other]), "console output lists SHA256:"), (keys(&[RSA]), "lists only RSA")] {
            let mut fixture = check(HostKeys::Console, console, "");
            let (relayed, end) = relay(&mut fixture.check, 100);
            let error = end.unwrap_err();
            assert!(!has_host_key(&relayed));
            assert!(relayed.starts_with(b"SSH-2.0-") && SERVER.starts_with(&relayed));
            assert!(error.message.contains("host identification has changed"), "{error:?}");
            assert!(error.message.contains(words), "{error:?}");
            assert_eq!(error.cause, Some(Cause::HostKeyChanged));
            assert!(fixture.check.finish().is_err());
            assert_eq!(std::fs::read_dir(fixture.dir.path().join("eic")).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_key_that_matches_a_fingerprint_is_listed_for_ssh() {
        let key = HostKey::parse(ED25519).unwrap();
        let listed =
            crate::domain::console::ConsoleFingerprint { fingerprint: key.fingerprint(), label: "ED25519".to_owned() };
        let console = Console::Read(ConsoleKeys::Fingerprints(vec![listed]));
        let mut fixture = check(HostKeys::RequireConsole, console, "");
        relay(&mut fixture.check, 100).1.unwrap();
        let [_, path] = fixture.check.paths.known_hosts();
        assert_eq!(std::fs::read_to_string(path).unwrap(), key.known_hosts_line(ID));
    }

    #[test]
    fn without_keys_the_mode_decides_and_an_unavailable_console_is_refused() {
        let none = Console::Read(ConsoleKeys::Unusable(Unusable::EmptyBlock));
        let mut fixture = check(HostKeys::Console, none.clone(), "");
        relay(&mut fixture.check, 100).1.unwrap();
        assert_eq!(accepted(&fixture).unwrap().source, None);
        let mut fixture = check(HostKeys::RequireConsole, none, "");
        let error = relay(&mut fixture.check, 100).1.unwrap_err();
        assert_eq!(error.cause, Some(Cause::ConsoleEmptyBlock));
        for mode in [HostKeys::Console, HostKeys::RequireConsole] {
            let mut fixture = check(mode, Console::Unavailable, "");
            fixture.check.output = Output::Failed(Box::new(Error::new(Kind::Denied, "AWS denies it")));
            let (relayed, end) = relay(&mut fixture.check, 100);
            assert!(!has_host_key(&relayed));
            assert_eq!(end.unwrap_err().message, "cannot verify the host key: AWS denies it");
            let mut fixture = check(mode, Console::Unavailable, &format!("{ID} {ED25519}"));
            relay(&mut fixture.check, 100).1.unwrap();
            assert_eq!(accepted(&fixture).unwrap().source.as_deref(), Some("/etc/known:1"));
        }
    }

    #[test]
    fn newkeys_is_not_released_without_a_host_key() {
        let fixture = check(HostKeys::Console, keys(&[ED25519]), "");
        let error = fixture.check.finish().unwrap_err();
        assert_eq!(
            error.message,
            format!("cannot verify the host key of web ({ID}): the key exchange ended without a host key")
        );
    }
}
