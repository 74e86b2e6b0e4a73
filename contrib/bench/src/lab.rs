//! Sandboxes with fleets, and the programs that run in them. A sandbox is made once for each size and handed from row to
//! row; a row leaves it without latency.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sandbox::{Instance, Network, Options, Sandbox, Switches, UBUNTU};
use serde_json::json;

use crate::meter::{self, Sample, Step};
use crate::programs;
use crate::stats::Runs;

/// The profile and region of a fleet.
pub(crate) const PROFILE: &str = "prod";
pub(crate) const REGION: &str = sandbox::REGION;

/// A config with one source, and nothing that would start by itself in the middle of a measurement.
fn config() -> String {
    format!("[sync]\nrefresh = \"off\"\n\n[[source]]\nprofile = \"{PROFILE}\"\nregions = [\"{REGION}\"]\n")
}

/// The one host of a fleet that can be logged in to.
pub(crate) const FIRST: &str = "prod-web-0";

/// The name of a host of [`Lab::reachable`].
pub(crate) fn host(n: usize) -> String {
    format!("host-{n}")
}

/// Says on stderr what is going on.
pub(crate) fn progress(words: &str) {
    eprintln!("==> {words}");
}

/// Where everything is measured.
#[derive(Debug)]
pub(crate) struct Lab {
    bin: PathBuf,
    /// The folder of another OpenSSH client.
    pub(crate) client: Option<PathBuf>,
    short: bool,
    fleets: BTreeMap<usize, Site>,
    reachable: BTreeMap<usize, Site>,
}

impl Lab {
    pub(crate) fn new(bin: &Path, client: Option<&Path>, short: bool) -> io::Result<Self> {
        let client = client.map(Path::canonicalize).transpose()?;
        Ok(Self { bin: bin.canonicalize()?, client, short, fleets: BTreeMap::new(), reachable: BTreeMap::new() })
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
            site.configure(&config())?;
            self.fleets.insert(hosts, site);
        }
        self.fleets.get(&hosts).ok_or_else(|| io::Error::other("no such fleet"))
    }

    /// A sandbox with so many instances that can be logged in to, as `host-0`, `host-1` and so on; synced, and with host
    /// keys made.
    pub(crate) fn reachable(&mut self, hosts: usize) -> io::Result<&Site> {
        if !self.reachable.contains_key(&hosts) {
            let site = self.logins(hosts, "")?;
            self.reachable.insert(hosts, site);
        }
        self.reachable.get(&hosts).ok_or_else(|| io::Error::other("no such hosts"))
    }

    /// The same for one row alone, with further lines about the source of the hosts.
    pub(crate) fn logins(&self, hosts: usize, source: &str) -> io::Result<Site> {
        self.logins_by(None, hosts, source)
    }

    /// The same with the OpenSSH client in a folder.
    pub(crate) fn logins_by(&self, client: Option<&Path>, hosts: usize, source: &str) -> io::Result<Site> {
        progress(&format!("a sandbox with {hosts} instances to log in to"));
        let mut site = self.site()?;
        if let Some(client) = client {
            site.sandbox.path_with(client);
        }
        let instance = |n: usize| Instance::new(&host(n)).address(format!("10.9.{}.{}", n / 250, n % 250 + 1));
        site.add((0..hosts).map(instance).collect())?;
        site.configure(&(config() + source))?;
        site.first_sync()?;
        site.sandbox.warm()?;
        Ok(site)
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
    // Nobody connects to the others, and the loopback form has not enough ports for them.
    let instance = if n == 0 { instance } else { instance.network(Network::Away) };
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

    /// The runs of steps that alternate; an uncounted one has none.
    pub(crate) fn runs<const N: usize>(&self, steps: &[Step; N], rounds: usize) -> io::Result<[Runs; N]> {
        let samples = meter::interleaved(&self.sandbox, steps, rounds)?;
        let runs: Vec<Runs> = samples.into_iter().map(Runs::of).collect();
        runs.try_into().map_err(|_| io::Error::other("the meter lost a step"))
    }

    /// Sets how long each page of instances takes.
    pub(crate) fn latency(&self, milliseconds: u64) -> io::Result<()> {
        self.latency_of("DescribeInstances", milliseconds)
    }

    /// Sets how long an API call takes.
    pub(crate) fn latency_of(&self, action: &str, milliseconds: u64) -> io::Result<()> {
        let latency_ms = [(action.to_owned(), milliseconds)].into();
        self.sandbox.switches(Switches { latency_ms, ..Switches::default() })
    }

    /// Removes everything that `sync` wrote.
    pub(crate) fn forget(&self) -> io::Result<()> {
        [".ssh", ".local", ".cache"].into_iter().try_for_each(|folder| remove(&self.sandbox.home().join(folder)))
    }

    /// Takes the keys of a host away, so that the next connection is a first one.
    pub(crate) fn forget_keys(&self, id: &str) -> Step {
        let keys = self.sandbox.home().join(".ssh/eic/keys").join(id).display().to_string();
        Step::new(["sh", "-c", r#"rm -f "$0" "$0".*"#, &keys]).uncounted()
    }

    /// Makes the next connection to each host the first one ever, of which not even the rate of pushes is known.
    pub(crate) fn forget_logins(&self) -> io::Result<()> {
        for path in [".ssh/eic/keys", ".ssh/eic/known_hosts", ".local/state/ssh-eic/push-rate"] {
            remove(&self.sandbox.home().join(path))?;
        }
        Ok(())
    }

    /// One `ssh-eic sync`, over the existing files.
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
        programs::find(&self.sandbox, "aws")
    }

    /// One request for the whole fleet by curl, which does nothing with the answer: what the server and TLS take.
    /// `None` without curl.
    pub(crate) fn curl_describe(&self) -> Option<Step> {
        self.curl("ec2", &["-d", "Action=DescribeInstances&Version=2016-11-15"])
    }

    /// One push by curl, which signs nothing.
    pub(crate) fn curl_push(&self, push: &Push) -> Option<Step> {
        let Push { id, user, key } = push;
        let body = json!({"InstanceId": id, "InstanceOSUser": user, "SSHPublicKey": key}).to_string();
        let target = "x-amz-target: AWSEC2InstanceConnectService.SendSSHPublicKey";
        let arguments = ["-H", target, "-H", "content-type: application/x-amz-json-1.1", "-d", &body];
        self.curl("ec2-instance-connect", &arguments)
    }

    fn curl(&self, service: &str, arguments: &[&str]) -> Option<Step> {
        let version = self.sandbox.command("curl").arg("--version").output().ok()?;
        let key = &self.sandbox.credential(PROFILE)?.access_key_id;
        let scope = format!("Credential={key}/20260101/{REGION}/{service}/aws4_request");
        let signed = format!("authorization: AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0");
        let ca = self.sandbox.ca()?.display().to_string();
        let common = ["curl", "-sSf", "--cacert", &ca, "-H", &signed, self.sandbox.endpoint()];
        version.status.success().then(|| Step::new(common.into_iter().chain(arguments.iter().copied())))
    }
}

/// Removes a file or a folder, if there is one.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// A key for an OS user of an instance.
#[derive(Debug)]
pub(crate) struct Push {
    pub(crate) id: String,
    pub(crate) user: String,
    /// The public half, in a line.
    pub(crate) key: String,
}

/// `aws ec2-instance-connect send-ssh-public-key`.
pub(crate) fn aws_push(aws: &str, push: &Push) -> Step {
    let Push { id, user, key } = push;
    let arguments = ["ec2-instance-connect", "send-ssh-public-key", "--instance-id", id, "--instance-os-user", user];
    let arguments = [aws].into_iter().chain(arguments).chain(["--ssh-public-key", key]);
    Step::new(arguments.chain(["--profile", PROFILE, "--region", REGION]))
}

/// `aws ec2 describe-instances` of a fleet, in pages of 1,000, as `sync` requests them.
pub(crate) fn aws_describe(aws: &str) -> Step {
    let arguments = ["ec2", "describe-instances", "--page-size", "1000", "--output", "json"];
    Step::new([aws].into_iter().chain(arguments).chain(["--profile", PROFILE, "--region", REGION]))
}
