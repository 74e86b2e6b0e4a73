//! P8: Ansible over many hosts, each of them by a first connection, against the same with static keys.
//!
//! Ansible is as it comes: its own control sockets and ControlPersist, no pipelining. Host keys are known to both.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use sandbox::Form;
use serde_json::json;

use crate::lab::{Lab, Site, host, progress};
use crate::meter::{self, Sample, Step};
use crate::programs;
use crate::report::{Line, Quantity};
use crate::stats::Runs;
use crate::ways::{self, Plain, Way};

const TIME: Quantity = Quantity::Ratio(1.05);

/// The system's, named so that Ansible need not look for it.
const PYTHON: &str = "/usr/bin/python3";

pub(super) fn measure(lab: &mut Lab) -> io::Result<Vec<Line>> {
    let (hosts, forks, rounds) = (lab.pick(100, 10), lab.pick(25, 5), lab.pick(3, 1));
    let run = format!("ansible -m ping, {hosts} hosts, {forks} forks");
    let time = format!("{run}, cold / static keys");
    let site = lab.reachable(hosts)?;
    let missing = |why: &str| Ok(vec![Line::missing(&*time, why).limit(TIME)]);
    let ansible = match programs::find(&site.sandbox, "ansible") {
        Ok(ansible) => ansible,
        Err(why) => return missing(&why),
    };
    let names: Vec<String> = (0..hosts).map(host).collect();
    let play = |name: &str, way: &Way| Play::new(site, &ansible, name, way, &names, forks);
    let ours = play("ours", &ways::ours(site))?;
    let plain = play("plain", &Plain::new(site, &names, None)?.way)?;
    // The first runs make the host keys known, and Python compiles what it runs.
    progress("P8: Ansible, to begin with");
    if let Err(error) = plain.cold(site) {
        return missing(&format!("with static keys: {error}"));
    }
    ours.cold(site)?;
    let measured = Rounds::measure(site, &ours, &plain, rounds)?;
    Ok(measured.lines(time, &run, hosts))
}

/// All rounds.
#[derive(Default)]
struct Rounds {
    ours: Vec<Sample>,
    plain: Vec<Sample>,
    pushes: Vec<usize>,
    /// Of all pushes.
    refused: usize,
}

impl Rounds {
    fn measure(site: &Site, ours: &Play, plain: &Play, rounds: usize) -> io::Result<Self> {
        let mut all = Self::default();
        for round in 1..=rounds {
            progress(&format!("P8: Ansible, round {round} of {rounds}"));
            site.sandbox.clear_calls()?;
            if round % 2 == 0 {
                all.plain.push(plain.cold(site)?);
                all.ours.push(ours.cold(site)?);
            } else {
                all.ours.push(ours.cold(site)?);
                all.plain.push(plain.cold(site)?);
            }
            let pushes = site.sandbox.pushes()?;
            all.refused += pushes.iter().filter(|call| call.status != 200).count();
            all.pushes.push(pushes.len());
        }
        Ok(all)
    }

    fn lines(self, time: String, run: &str, hosts: usize) -> Vec<Line> {
        #[expect(clippy::cast_precision_loss, reason = "some hundred")]
        let count = |things: usize| Quantity::Count(things as f64);
        let failed = |samples: &[Sample]| samples.iter().map(|sample| sample.failed).sum::<usize>();
        let unreached = failed(&self.ours);
        let first = self.ours.iter().find(|sample| sample.failed > 0).map_or("", |sample| &sample.said);
        let of = format!("of {}; {} with static keys", hosts * self.ours.len(), failed(&self.plain));
        let unreached = Line::new(format!("hosts that {run} failed on"), count(unreached), format!("{of} {first}"));
        let worst = self.pushes.iter().copied().max_by_key(|pushes| pushes.abs_diff(hosts)).unwrap_or_default();
        let each: Vec<String> = self.pushes.iter().map(usize::to_string).collect();
        let each = format!("each round: {}; {} without success", each.join(", "), self.refused);
        let pushes = Line::new(format!("pushes of {run}, cold"), count(worst), each);
        let (ours, plain) = (Runs::of(self.ours), Runs::of(self.plain));
        let detail = format!("{:.2} / {:.2} s", ours.wall.median, plain.wall.median);
        let cpu = format!(", {:.1} / {:.1} s of CPU", ours.cpu.median, plain.cpu.median);
        let time = Line::new(time, ours.ratio(&plain), detail + &cpu);
        vec![
            time.limit(TIME).floor(Some(Quantity::Ratio(1.0))).raw(json!({"ours": ours, "plain": plain})),
            pushes.exactly(count(hosts)).raw(json!(self.pushes)),
            unreached.limit(count(0)),
        ]
    }
}

/// Ansible with its own home, by one way to log in.
struct Play {
    sockets: PathBuf,
    log: PathBuf,
    hosts: usize,
    step: Step,
}

impl Play {
    fn new(site: &Site, ansible: &str, name: &str, way: &Way, hosts: &[String], forks: usize) -> io::Result<Self> {
        // Errors are printed on stdout.
        const SCRIPT: &str = r#"exec "$@" >"$LOG" 2>&1"#;
        let home = site.sandbox.dir().join("bench/ansible").join(name);
        let path = |name: &str| home.join(name).display().to_string();
        fs::create_dir_all(&home)?;
        fs::write(home.join("hosts"), format!("{}\n", hosts.join("\n")))?;
        fs::write(home.join("ansible.cfg"), format!("[defaults]\ninventory = {}\n", path("hosts")))?;
        let (forks, python) = (forks.to_string(), format!("ansible_python_interpreter={PYTHON}"));
        let command = ["sh", "-c", SCRIPT, "sh", ansible, "all", "-m", "ping", "-f", &forks, "-e", &python];
        let step = Step::new(command)
            .may_fail()
            .env("LOG", &path("log"))
            .env("ANSIBLE_CONFIG", &path("ansible.cfg"))
            .env("ANSIBLE_HOME", &path("home"))
            .env("ANSIBLE_SSH_CONTROL_PATH_DIR", &path("cp"))
            .env("ANSIBLE_SSH_COMMON_ARGS", &way.flags().join(" "));
        // There the instances have the home of the current user, which must not be changed.
        let loopback = site.sandbox.form() == Form::Loopback;
        let step = if loopback { step.env("ANSIBLE_REMOTE_TEMP", &path("remote")) } else { step };
        Ok(Self { sockets: home.join("cp"), log: home.join("log"), hosts: hosts.len(), step })
    }

    /// One run that finds no masters, no keys and no pushes. The sample counts the hosts that it failed on, which must not
    /// be all.
    fn cold(&self, site: &Site) -> io::Result<Sample> {
        let keys = site.sandbox.home().join(".ssh/eic/keys");
        for file in fs::read_dir(keys).into_iter().flatten() {
            // Whoever still held one may have taken it away in the meantime.
            let _ = fs::remove_file(file?.path());
        }
        let sample = meter::once(&site.sandbox, &self.step);
        self.disconnect(site)?;
        let sample = sample?;
        let said = fs::read_to_string(&self.log)?;
        let failed = self.hosts.saturating_sub(said.lines().filter(|line| line.contains("| SUCCESS =>")).count());
        let why = said.lines().find(|line| line.contains("ERROR") || line.contains("\"msg\":"));
        let why = why.unwrap_or_default().trim().to_owned();
        if failed == self.hosts { Err(io::Error::other(why)) } else { Ok(Sample { failed, said: why, ..sample }) }
    }

    /// Ends the masters that Ansible leaves behind for a minute, and waits for that.
    fn disconnect(&self, site: &Site) -> io::Result<()> {
        const SCRIPT: &str = r#"for socket in "$0"/*; do ssh -F none -o ControlPath="$socket" -O exit master; done"#;
        let sockets = || fs::read_dir(&self.sockets).into_iter().flatten().count();
        if sockets() == 0 {
            return Ok(());
        }
        let mut exit = site.sandbox.command("sh");
        exit.args(["-c", SCRIPT]).arg(&self.sockets).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        exit.status()?;
        let deadline = Instant::now() + Duration::from_secs(20);
        while sockets() > 0 {
            if Instant::now() > deadline {
                return Err(io::Error::other("Ansible's masters do not end"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        // Their proxies get a SIGHUP from them and take the keys with them.
        thread::sleep(Duration::from_millis(300));
        Ok(())
    }
}
