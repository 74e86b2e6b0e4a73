//! The small process that starts what is measured.
//!
//! It runs inside the sandbox, so that entering the namespaces is in no number, and it is small, because Linux counts
//! the memory of whoever starts a program towards the peak of that program. It is this program again, told so by its
//! environment: its command line is needed for playing an ssh that calls the hook.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use sandbox::Sandbox;
use serde::{Deserialize, Serialize};
use wait4::{ResUse, Wait4};

/// The environment variable that makes this program a meter.
const METER: &str = "SSH_EIC_BENCH_METER";

/// Whether this process is to be one.
pub(crate) fn is_called() -> bool {
    std::env::var_os(METER).is_some()
}

/// What is run and measured as one: a program, or several at once.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Step {
    programs: Vec<Vec<String>>,
    env: Vec<(String, String)>,
    stdin: Option<String>,
    caller: Vec<String>,
    uncounted: bool,
    may_fail: bool,
}

impl Step {
    pub(crate) fn new<I>(argv: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        Self { programs: vec![argv.into_iter().map(Into::into).collect()], ..Self::default() }
    }

    /// Several programs, started at once and all waited for: one sample.
    pub(crate) fn burst(programs: Vec<Vec<String>>) -> Self {
        Self { programs, ..Self::default() }
    }

    /// An addition to the environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// A file as its input, instead of none.
    pub(crate) fn stdin(mut self, file: &str) -> Self {
        self.stdin = Some(file.into());
        self
    }

    /// Starts it from a process whose command line reads `ssh ARGS`, which is where the hook looks.
    pub(crate) fn called_by_ssh<const N: usize>(mut self, args: [&str; N]) -> Self {
        self.caller = args.map(Into::into).into();
        self
    }

    /// Runs it in each round without keeping a sample, for whatever has to be so before the next step.
    pub(crate) fn uncounted(mut self) -> Self {
        self.uncounted = true;
        self
    }

    /// Takes a failure as it is; the sample counts it.
    pub(crate) fn may_fail(mut self) -> Self {
        self.may_fail = true;
        self
    }
}

/// Steps that are run one after the other, all of them in each round: what disturbs one disturbs all.
#[derive(Debug, Serialize, Deserialize)]
struct Job {
    steps: Vec<Step>,
    warmups: usize,
    rounds: usize,
}

/// What one run of a step took, with all processes that its programs started and waited for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) wall_s: f64,
    pub(crate) cpu_s: f64,
    /// The peak of the largest of the processes.
    pub(crate) peak_mib: f64,
    /// Linux only.
    pub(crate) minor_faults: f64,
    /// How many of the programs did not succeed.
    pub(crate) failed: usize,
    /// What they wrote to stderr then.
    pub(crate) said: String,
}

/// Runs the steps inside a sandbox, so many times after one round that does not count; the samples of each, none of an
/// uncounted one.
pub(crate) fn interleaved(sandbox: &Sandbox, steps: &[Step], rounds: usize) -> io::Result<Vec<Vec<Sample>>> {
    run(sandbox, &Job { steps: steps.to_vec(), warmups: 1, rounds })
}

/// Runs one step inside a sandbox once, as it is.
pub(crate) fn once(sandbox: &Sandbox, step: &Step) -> io::Result<Sample> {
    let samples = run(sandbox, &Job { steps: vec![step.clone()], warmups: 0, rounds: 1 })?;
    samples.into_iter().flatten().next().ok_or_else(|| io::Error::other("the meter brought no sample"))
}

fn run(sandbox: &Sandbox, job: &Job) -> io::Result<Vec<Vec<Sample>>> {
    let output = told(&mut sandbox.command(std::env::current_exe()?), job)?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// What a meter that is given a job on stdin says.
fn told(meter: &mut Command, job: &Job) -> io::Result<Output> {
    meter.env(METER, "1").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = meter.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(&serde_json::to_vec(job)?)?;
    }
    child.wait_with_output()
}

/// Runs the job on stdin and writes its samples to stdout.
///
/// # Errors
/// If a program does not succeed; the text holds what it said.
pub(crate) fn obey() -> io::Result<()> {
    let job: Job = serde_json::from_reader(io::stdin().lock())?;
    let mut samples = vec![Vec::with_capacity(job.rounds); job.steps.len()];
    for round in 0..job.warmups + job.rounds {
        for (step, samples) in job.steps.iter().zip(&mut samples) {
            let sample = if step.caller.is_empty() { measure(step)? } else { by_caller(step)? };
            if round >= job.warmups && !step.uncounted {
                samples.push(sample);
            }
        }
    }
    serde_json::to_writer(io::stdout().lock(), &samples).map_err(io::Error::from)
}

/// Has a step measured by a meter with another command line.
fn by_caller(step: &Step) -> io::Result<Sample> {
    let mut meter = Command::new(std::env::current_exe()?);
    meter.arg0("ssh").args(&step.caller);
    let step = Step { caller: Vec::new(), uncounted: false, ..step.clone() };
    let output = told(&mut meter, &Job { steps: vec![step], warmups: 0, rounds: 1 })?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    let samples: [[Sample; 1]; 1] = serde_json::from_slice(&output.stdout)?;
    let [[sample]] = samples;
    Ok(sample)
}

#[expect(clippy::cast_precision_loss, reason = "no program has petabytes")]
fn measure(step: &Step) -> io::Result<Sample> {
    let mut said = tempfile::tempfile()?;
    let faults = minor_faults_of_children();
    let begun = Instant::now();
    let started = step.programs.iter().map(|program| start(step, program, &said));
    let started: io::Result<Vec<Child>> = started.collect();
    let ended: Vec<ResUse> = started?.into_iter().map(Wait4::wait4).collect::<io::Result<_>>()?;
    let wall = begun.elapsed();
    let failed: Vec<&ResUse> = ended.iter().filter(|ended| !ended.status.success()).collect();
    let mut text = String::new();
    if let Some(first) = failed.first() {
        said.rewind()?;
        said.read_to_string(&mut text)?;
        if !step.may_fail {
            let what = step.programs.first().map(|program| program.join(" ")).unwrap_or_default();
            let what = if step.programs.len() > 1 { format!("{} of many like `{what}`", failed.len()) } else { what };
            return Err(io::Error::other(format!("{what}: {}: {}", first.status, text.trim())));
        }
    }
    Ok(Sample {
        wall_s: wall.as_secs_f64(),
        cpu_s: ended.iter().map(|ended| (ended.rusage.utime + ended.rusage.stime).as_secs_f64()).sum(),
        peak_mib: ended.iter().map(|ended| ended.rusage.maxrss).max().unwrap_or_default() as f64 / 1_048_576.0,
        minor_faults: minor_faults_of_children() - faults,
        failed: failed.len(),
        said: text,
    })
}

fn start(step: &Step, program: &[String], said: &File) -> io::Result<Child> {
    let [name, args @ ..] = program else { return Err(io::Error::other("a step without a program")) };
    let stdin = step.stdin.as_ref().map_or_else(|| Ok(Stdio::null()), |file| File::open(file).map(Stdio::from))?;
    let mut command = Command::new(name);
    command.args(args).envs(step.env.iter().map(|(name, value)| (name, value))).env_remove(METER);
    command.stdin(stdin).stdout(Stdio::null()).stderr(said.try_clone()?);
    command.spawn().map_err(|error| io::Error::other(format!("{name}: {error}")))
}

/// The minor page faults of all children that were waited for: what getrusage(2) says of them, from `proc_pid_stat(5)`.
fn minor_faults_of_children() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is the program's name, in parentheses; this is the eleventh.
    let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    rest.split(' ').nth(8).and_then(|field| field.parse().ok()).unwrap_or_default()
}
