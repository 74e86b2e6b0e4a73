//! The test harness: a sandbox with a small fleet and a home in which `ssh-eic init` has run, and commands whose streams
//! and exit code are printed when an assertion on them fails.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sandbox::{Call, Fail, Form, Instance, Options, Sandbox, Switches, Throttle};

/// Where the binary under test lies.
pub(crate) fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_ssh-eic"))
}

/// A fleet, a home, and the real programs.
pub(crate) struct World {
    pub(crate) sandbox: Sandbox,
    pub(crate) web1: String,
    pub(crate) web2: String,
}

impl World {
    /// A sandbox with prod-web-1 and prod-web-2, nothing set up in the home.
    pub(crate) fn bare() -> Self {
        Self::in_form(Form::detect())
    }

    pub(crate) fn in_form(form: Form) -> Self {
        Self::with(Options { form, ..Options::default() })
    }

    fn with(options: Options) -> Self {
        let mut sandbox = Sandbox::start(options).expect("a sandbox");
        sandbox.path_with(binary().parent().expect("a folder"));
        let web1 = sandbox.add(Instance::new("prod-web-1").address("10.0.3.7")).expect("prod-web-1");
        let web2 = sandbox.add(Instance::new("prod-web-2").address("10.0.3.8")).expect("prod-web-2");
        Self { sandbox, web1, web2 }
    }

    /// The same after `ssh-eic init --profile prod`.
    pub(crate) fn new() -> Self {
        Self::bare().initialised()
    }

    /// The same with another OpenSSH client, the programs in that folder.
    pub(crate) fn with_client(folder: &Path) -> Self {
        let mut world = Self::bare();
        world.sandbox.path_with(folder);
        world.initialised()
    }

    /// The same with AWS over TLS, by an authority that nobody but the commands inside trusts.
    pub(crate) fn over_tls() -> Self {
        Self::with(Options { tls: true, ..Options::default() }).initialised()
    }

    fn initialised(self) -> Self {
        let world = self;
        world.eic(&["init", "--profile", "prod", "--region", "eu-west-1"]).ok();
        world.sandbox.clear_calls().expect("the call log");
        world
    }

    /// Gives connections as much time as a test may take: for many at once, which a busy machine serves slowly.
    pub(crate) fn without_hurry(&self) {
        let config = self.read(".config/ssh-eic/config.toml") + "\n[limits]\nconnect_timeout = \"5m\"\n";
        self.write(".config/ssh-eic/config.toml", &config);
        self.eic(&["sync"]).ok();
        self.sandbox.clear_calls().expect("the call log");
    }

    /// Adds an instance, and syncs.
    pub(crate) fn add(&self, instance: Instance) -> String {
        let id = self.sandbox.add(instance).expect("an instance");
        self.eic(&["sync"]).ok();
        self.sandbox.clear_calls().expect("the call log");
        id
    }

    pub(crate) fn home(&self) -> &Path {
        self.sandbox.home()
    }

    pub(crate) fn eic_folder(&self) -> PathBuf {
        self.home().join(".ssh/eic")
    }

    /// Runs `ssh-eic`.
    pub(crate) fn eic(&self, args: &[&str]) -> CommandOutput {
        self.run("ssh-eic", args)
    }

    /// Runs `ssh`, with the config named where the form of the sandbox needs it.
    pub(crate) fn ssh(&self, args: &[&str]) -> CommandOutput {
        run(self.ssh_command(args))
    }

    pub(crate) fn ssh_command(&self, args: &[&str]) -> Command {
        let mut command = self.sandbox.command("ssh");
        if self.sandbox.form() == Form::Loopback {
            command.arg("-F").arg(self.home().join(".ssh/config"));
        }
        command.args(args);
        command
    }

    pub(crate) fn run(&self, program: &str, args: &[&str]) -> CommandOutput {
        let mut command = self.sandbox.command(program);
        command.args(args);
        run(command)
    }

    /// Runs a script inside.
    pub(crate) fn sh(&self, script: &str) -> CommandOutput {
        self.run("bash", &["-c", script])
    }

    /// From here on /etc is the sandbox's own copy, in the form of namespaces.
    pub(crate) fn own_etc(&self) {
        let script = "set -e; mount -t tmpfs tmpfs /mnt; cp -a /etc/. /mnt/; mount --bind /mnt /etc";
        self.sh(&format!("mountpoint -q /etc || {{ {script}; }}")).ok();
    }

    /// Merges switches into those that are set. In these and the following methods an action is `ACTION` or
    /// `ACTION@SCOPE`, see [`Switches`]. `sandbox.reset_switches()` ends all of them.
    #[track_caller]
    pub(crate) fn switch(&self, switches: Switches) {
        self.sandbox.switches(switches).expect("the sandbox's switches");
    }

    /// IAM denies an action, and no other one.
    #[track_caller]
    pub(crate) fn deny(&self, action: &str) {
        self.switch(Switches { deny: Some(vec![action.to_owned()]), ..Switches::default() });
    }

    /// Responses to an action take this long.
    #[track_caller]
    pub(crate) fn latency(&self, action: &str, time: Duration) {
        let milliseconds = u64::try_from(time.as_millis()).expect("a latency");
        self.switch(Switches { latency_ms: [(action.to_owned(), milliseconds)].into(), ..Switches::default() });
    }

    /// Requests for an action are not answered before [`World::release_held`].
    #[track_caller]
    pub(crate) fn hold(&self, action: &str) {
        self.switch(Switches { hold: Some(vec![action.to_owned()]), ..Switches::default() });
    }

    /// Answers the requests that [`World::hold`] delays.
    #[track_caller]
    pub(crate) fn release_held(&self) {
        self.switch(Switches { hold: Some(Vec::new()), ..Switches::default() });
    }

    /// The next `times` calls of an action are throttled.
    #[track_caller]
    pub(crate) fn throttle(&self, action: &str, times: u32) {
        let throttle = Throttle { times, ..Throttle::default() };
        self.switch(Switches { throttle: [(action.to_owned(), throttle)].into(), ..Switches::default() });
    }

    /// An action fails.
    #[track_caller]
    pub(crate) fn fail(&self, action: &str, fail: Fail) {
        self.switch(Switches { fail: [(action.to_owned(), fail)].into(), ..Switches::default() });
    }

    /// An access key or SSO token has expired.
    #[track_caller]
    pub(crate) fn expire(&self, credential: &str) {
        self.switch(Switches { expired: Some(vec![credential.to_owned()]), ..Switches::default() });
    }

    pub(crate) fn pushes(&self) -> Vec<Call> {
        self.sandbox.pushes().expect("the call log")
    }

    /// The access key id of a profile.
    pub(crate) fn access_key(&self, profile: &str) -> String {
        self.sandbox.credential(profile).expect("a profile").access_key_id.clone()
    }

    pub(crate) fn write(&self, path: &str, content: &str) {
        let path = self.home().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, content).expect("a file");
    }

    pub(crate) fn read(&self, path: &str) -> String {
        let path = self.home().join(path);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Makes a file look as if it had been touched so many seconds ago.
    pub(crate) fn age(&self, path: &str, seconds: u64) {
        let path = self.home().join(path);
        let then = std::time::SystemTime::now() - Duration::from_secs(seconds);
        fs::File::open(&path)
            .and_then(|file| file.set_modified(then))
            .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }

    /// Processes of ours that run inside the sandbox, those with its home in their environment: their folders below
    /// /proc, and their command lines.
    pub(crate) fn processes(&self) -> Vec<(PathBuf, String)> {
        let home = format!("HOME={}", self.home().display());
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").expect("/proc").flatten() {
            let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
            let environment = read("environ");
            let line = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
            let is_ours = line.contains("ssh-eic") && !line.contains("sandbox serve");
            if is_ours && environment.split(|&b| b == 0).any(|variable| variable == home.as_bytes()) {
                found.push((entry.path(), line));
            }
        }
        found
    }

    pub(crate) fn survivors(&self) -> Vec<String> {
        self.processes().into_iter().map(|(_, line)| line).collect()
    }

    /// Waits until no ssh-eic process is left, for `within` on an idle machine.
    pub(crate) fn nothing_lingers(&self, within: Duration) {
        let start = Instant::now();
        while !self.survivors().is_empty() {
            assert!(!is_over(start, within), "still running after {within:?}: {:#?}", self.survivors());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// What a finished command printed, its exit code and its duration.
pub(crate) struct CommandOutput {
    command: String,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl CommandOutput {
    /// Asserts that it went well, and returns its stdout.
    #[track_caller]
    pub(crate) fn ok(&self) -> &str {
        assert_eq!(self.code, Some(0), "{self}");
        &self.stdout
    }

    /// Asserts on the exit code.
    #[track_caller]
    pub(crate) fn fails_with(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Asserts that stderr has these words.
    #[track_caller]
    pub(crate) fn says(&self, words: &str) -> &Self {
        assert!(self.stderr.contains(words), "it should say {words:?}\n{self}");
        self
    }

    /// Asserts that it waited for nothing longer than `limit`. On a busy machine it may take longer: see [`allowance`].
    #[track_caller]
    pub(crate) fn within(&self, limit: Duration) -> &Self {
        assert!(self.took < limit || self.took < limit + allowance(), "it should end within {limit:?}\n{self}");
        self
    }
}

impl fmt::Display for CommandOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, code, stdout, stderr, took } = self;
        write!(f, "$ {command}\nexit code {code:?} after {took:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

/// Longest that anything in a test may take, also on a busy machine.
const PATIENCE: Duration = Duration::from_mins(5);
/// Longest that a command's output may stay open behind it.
const SLACK: Duration = Duration::from_secs(10);
/// Processor time that ssh and a debug build of ours may need for whatever a test limits.
const WORK: Duration = Duration::from_millis(1500);

/// What the machine may add to a limit: the time that [`WORK`] takes now. Other processes slow a test down by a factor
/// that is measured here, with work of a known amount, so that a limit says how long a program waits and not how fast the
/// machine is.
fn allowance() -> Duration {
    let amount = Duration::from_millis(200);
    let start = Instant::now();
    let used = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("nanoseconds"))
    };
    let before = used();
    while used() < before + amount {
        std::hint::black_box(used());
    }
    WORK.mul_f64(start.elapsed().as_secs_f64() / amount.as_secs_f64())
}

/// Whether `limit` has passed since `start`, with the [`allowance`] for a busy machine.
pub(crate) fn is_over(start: Instant, limit: Duration) -> bool {
    start.elapsed() > limit && start.elapsed() > limit + allowance()
}

/// Waits until `condition` holds, and fails with `what` where it never does.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A proxy that is not ours, for `-o ProxyCommand`: a plain relay in Perl, which every Debian and macOS has.
pub(crate) const OTHER_PROXY: &str = "perl -MIO::Socket::INET -MIO::Select -e '$s=IO::Socket::INET->new($ARGV[0].\":\".$ARGV[1]) or die;$l=IO::Select->new($s,\\*STDIN);while(@r=$l->can_read){for(@r){sysread($_,$b,65536) or exit;syswrite($_==$s?\\*STDOUT:$s,$b)}}' %h %p";

/// Runs to the end, or kills it and fails.
pub(crate) fn run(mut command: Command) -> CommandOutput {
    command.stdin(Stdio::null());
    let start = Instant::now();
    finish(spawn(&mut command), format!("{command:?}"), start)
}

/// Starts without waiting; both streams are kept.
pub(crate) fn spawn(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Waits for a started command.
pub(crate) fn finish(mut child: Child, command: String, start: Instant) -> CommandOutput {
    use std::io::Read;
    let reader = |stream: Option<Box<dyn Read + Send>>| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(mut stream) = stream {
                let _ = stream.read_to_end(&mut text);
            }
            String::from_utf8_lossy(&text).into_owned()
        })
    };
    let stdout = reader(child.stdout.take().map(|s| Box::new(s) as Box<dyn Read + Send>));
    let stderr = reader(child.stderr.take().map(|s| Box::new(s) as Box<dyn Read + Send>));
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child") {
            break status;
        }
        if start.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("{command} did not end within {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let took = start.elapsed();
    while !(stdout.is_finished() && stderr.is_finished()) {
        assert!(!is_over(start, took + SLACK), "{command} ended, and something still holds its output open");
        std::thread::sleep(Duration::from_millis(2));
    }
    let (stdout, stderr) = (stdout.join().expect("stdout"), stderr.join().expect("stderr"));
    crate::messages::collect(&stderr);
    CommandOutput { command, code: status.code(), stdout, stderr, took }
}

/// Whether this machine can play the form of namespaces; a test that needs it is skipped elsewhere, never under CI.
pub(crate) fn can_have_namespaces() -> bool {
    let can = Form::detect() == Form::Namespaces;
    assert!(can || std::env::var_os("CI").is_none(), "CI has to run as root on Linux with unshare(1)");
    can
}
