//! The harness: a sandbox with a small fleet and a home in which `ssh-eic init` has run, and commands whose whole
//! story is printed when an assertion on them fails.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sandbox::{Call, Form, Instance, Options, Sandbox};

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
    pub(crate) fn eic(&self, args: &[&str]) -> Story {
        self.run("ssh-eic", args)
    }

    /// Runs `ssh`, with the config named where the form of the sandbox needs it.
    pub(crate) fn ssh(&self, args: &[&str]) -> Story {
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

    pub(crate) fn run(&self, program: &str, args: &[&str]) -> Story {
        let mut command = self.sandbox.command(program);
        command.args(args);
        run(command)
    }

    /// Runs a script inside.
    pub(crate) fn sh(&self, script: &str) -> Story {
        self.run("bash", &["-c", script])
    }

    /// From here on /etc is the sandbox's own copy, in the form of namespaces.
    pub(crate) fn own_etc(&self) {
        let script = "set -e; mount -t tmpfs tmpfs /mnt; cp -a /etc/. /mnt/; mount --bind /mnt /etc";
        self.sh(&format!("mountpoint -q /etc || {{ {script}; }}")).ok();
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

    /// Waits until no process of ours is left.
    pub(crate) fn nothing_lingers(&self, within: Duration) {
        let start = Instant::now();
        while !self.survivors().is_empty() {
            assert!(start.elapsed() < within, "still running after {within:?}: {:#?}", self.survivors());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// What a command did.
pub(crate) struct Story {
    command: String,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Story {
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

    /// Asserts that it ended soon enough.
    #[track_caller]
    pub(crate) fn within(&self, limit: Duration) -> &Self {
        assert!(self.took < limit, "it should end within {limit:?}\n{self}");
        self
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, code, stdout, stderr, took } = self;
        write!(f, "$ {command}\nexit code {code:?} after {took:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

/// Longest that anything in a test may take.
const PATIENCE: Duration = Duration::from_mins(2);
/// Longest that a command's output may stay open behind it.
const SLACK: Duration = Duration::from_secs(10);

/// A proxy that is not ours, for `-o ProxyCommand`: a plain relay in Perl, which every Debian and macOS has.
pub(crate) const OTHER_PROXY: &str = "perl -MIO::Socket::INET -MIO::Select -e '$s=IO::Socket::INET->new($ARGV[0].\":\".$ARGV[1]) or die;$l=IO::Select->new($s,\\*STDIN);while(@r=$l->can_read){for(@r){sysread($_,$b,65536) or exit;syswrite($_==$s?\\*STDOUT:$s,$b)}}' %h %p";

/// Runs to the end, or kills it and fails.
pub(crate) fn run(mut command: Command) -> Story {
    command.stdin(Stdio::null());
    let start = Instant::now();
    finish(spawn(&mut command), format!("{command:?}"), start)
}

/// Starts without waiting; both streams are kept.
pub(crate) fn spawn(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Waits for a started command.
pub(crate) fn finish(mut child: Child, command: String, start: Instant) -> Story {
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
        assert!(start.elapsed() < took + SLACK, "{command} ended, and something still holds its output open");
        std::thread::sleep(Duration::from_millis(2));
    }
    let (stdout, stderr) = (stdout.join().expect("stdout"), stderr.join().expect("stderr"));
    Story { command, code: status.code(), stdout, stderr, took }
}

/// Whether this machine can play the form of namespaces; a test that needs it is skipped elsewhere, never under CI.
pub(crate) fn can_have_namespaces() -> bool {
    let can = Form::detect() == Form::Namespaces;
    assert!(can || std::env::var_os("CI").is_none(), "CI has to run as root on Linux with unshare(1)");
    can
}
