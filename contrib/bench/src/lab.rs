//! Sandboxes with fleets, and the programs that run in them. A sandbox is made once for each size and handed from row to
//! row; a row leaves it without latency.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sandbox::{Instance, Network, Options, Sandbox, Switches, UBUNTU};

use crate::meter::{self, Sample, Step};

/// The profile and region that a fleet lives in.
const PROFILE: &str = "prod";
const REGION: &str = sandbox::REGION;

/// Says on stderr what is going on.
pub(crate) fn progress(words: &str) {
    eprintln!("==> {words}");
}

/// Where everything is measured.
#[derive(Debug)]
pub(crate) struct Lab {
    bin: PathBuf,
    short: bool,
    fleets: BTreeMap<usize, Site>,
}

impl Lab {
    pub(crate) fn new(bin: &Path, short: bool) -> io::Result<Self> {
        Ok(Self { bin: bin.canonicalize()?, short, fleets: BTreeMap::new() })
    }

    /// One of two numbers, by how much time there is.
    pub(crate) fn pick(&self, full: usize, short: usize) -> usize {
        if self.short { short } else { full }
    }

    /// As many hosts as the budgets speak of.
    pub(crate) fn hosts(&self) -> usize {
        self.pick(10_000, 2_000)
    }

    /// A sandbox with so many instances in one account and region, which `sync` is configured for.
    pub(crate) fn fleet(&mut self, hosts: usize) -> io::Result<&Site> {
        if !self.fleets.contains_key(&hosts) {
            progress(&format!("a sandbox with {hosts} instances"));
            let mut site = self.site()?;
            site.add((0..hosts).map(instance).collect())?;
            site.configure(&format!("[[source]]\nprofile = \"{PROFILE}\"\nregions = [\"{REGION}\"]\n"))?;
            self.fleets.insert(hosts, site);
        }
        self.fleets.get(&hosts).ok_or_else(|| io::Error::other("no such fleet"))
    }

    /// An empty sandbox.
    pub(crate) fn site(&self) -> io::Result<Site> {
        let options = Options { tls: true, server: Some(std::env::current_exe()?), ..Options::default() };
        let mut sandbox = Sandbox::start(options)?;
        sandbox.path_with(&self.bin);
        Ok(Site { sandbox, hosts: 0 })
    }
}

/// A host as there are many: two images, so that not all log in as the same user, and a few tags.
fn instance(n: usize) -> Instance {
    let role = ["web", "api", "db", "batch", "cache"][n % 5];
    let instance = Instance::new(&format!("prod-{role}-{n}")).tag("Environment", "prod").tag("Role", role);
    let instance = instance.tag("Owner", format!("team-{}", n % 37)).tag("CostCentre", format!("{:05}", n % 101));
    // Nobody connects to these, and the loopback form has not enough ports for them.
    let instance = instance.network(Network::Away);
    if n % 10 < 3 { instance.image(UBUNTU) } else { instance }
}

/// One sandbox.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) sandbox: Sandbox,
    hosts: usize,
}

impl Site {
    pub(crate) fn add(&mut self, instances: Vec<Instance>) -> io::Result<()> {
        self.hosts += instances.len();
        self.sandbox.add_many(instances).map(drop)
    }

    /// Says how many hosts the next config covers.
    pub(crate) fn expect(&mut self, hosts: usize) {
        self.hosts = hosts;
    }

    /// Writes config.toml.
    pub(crate) fn configure(&self, config: &str) -> io::Result<()> {
        let folder = self.sandbox.home().join(".config/ssh-eic");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("config.toml"), config)
    }

    /// Sets how long each page of instances takes.
    pub(crate) fn latency(&self, milliseconds: u64) -> io::Result<()> {
        let latency_ms = [(String::from("DescribeInstances"), milliseconds)].into();
        self.sandbox.switches(Switches { latency_ms, ..Switches::default() })
    }

    /// Removes everything that `sync` wrote.
    pub(crate) fn forget(&self) -> io::Result<()> {
        for folder in [".ssh", ".local", ".cache"] {
            match fs::remove_dir_all(self.sandbox.home().join(folder)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// One `ssh-eic sync`, over whatever is there.
    pub(crate) fn sync(&self) -> io::Result<Sample> {
        meter::once(&self.sandbox, &Step::new(["ssh-eic", "sync"]))
    }

    /// One `ssh-eic sync` with nothing there, which must have brought all hosts.
    pub(crate) fn first_sync(&self) -> io::Result<Sample> {
        self.forget()?;
        let sample = self.sync()?;
        let written = crate::files::hosts(self)?.len();
        if written == self.hosts {
            return Ok(sample);
        }
        Err(io::Error::other(format!("sync wrote {written} of {} hosts", self.hosts)))
    }

    /// A sync, unless there was one.
    pub(crate) fn synced(&self) -> io::Result<&Self> {
        if !self.sandbox.home().join(".ssh/eic/hosts").is_file() {
            self.first_sync()?;
        }
        Ok(self)
    }

    /// The AWS CLI as this sandbox can run it, or why not.
    pub(crate) fn aws(&self) -> Result<String, String> {
        let program = self.find_aws().ok_or("aws: not installed")?;
        let output = self.sandbox.command(&program).arg("--version").stdin(Stdio::null()).output();
        match output {
            Ok(output) if output.status.success() => Ok(program.display().to_string()),
            _ => Err(format!("{} does not run", program.display())),
        }
    }

    fn find_aws(&self) -> Option<PathBuf> {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut folders = path.split(':').chain(self.sandbox.path().split(':')).map(Path::new);
        let found = folders.find(|folder| folder.join("aws").is_file())?.join("aws");
        if !found.parent().is_some_and(|folder| folder.ends_with("shims")) {
            return Some(found);
        }
        // pyenv's shim is a shell script that finds the program anew at each call: not what is to be measured.
        let output = Command::new("pyenv").args(["which", "aws"]).output().ok()?;
        let path = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| PathBuf::from(path.trim()))
    }

    /// One request for the whole fleet by curl, which does nothing with the answer: what the server and TLS take.
    /// `None` without curl.
    pub(crate) fn curl_describe(&self) -> Option<Step> {
        let version = self.sandbox.command("curl").arg("--version").output().ok()?;
        let key = &self.sandbox.credential(PROFILE)?.access_key_id;
        let scope = format!("Credential={key}/20260101/{REGION}/ec2/aws4_request");
        let signed = format!("authorization: AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0");
        let body = "Action=DescribeInstances&Version=2016-11-15";
        let ca = self.sandbox.ca()?.display().to_string();
        let arguments = ["curl", "-sSf", "--cacert", &ca, "-H", &signed, "-d", body, self.sandbox.endpoint()];
        version.status.success().then(|| Step::new(arguments))
    }
}

/// `aws ec2 describe-instances` of a fleet, in pages of 1,000 as `sync` asks for them.
pub(crate) fn aws_describe(aws: &str) -> Step {
    let arguments = ["ec2", "describe-instances", "--page-size", "1000", "--output", "json"];
    Step::new([aws].into_iter().chain(arguments).chain(["--profile", PROFILE, "--region", REGION]))
}
