//! The small process that starts what is measured.
//!
//! It runs inside the sandbox, so that entering the namespaces is in no number, and it is small, because Linux counts
//! the memory of whoever starts a program towards the peak of that program.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Instant;

use sandbox::Sandbox;
use serde::{Deserialize, Serialize};
use wait4::Wait4;

/// The subcommand, for ourselves.
pub(crate) const COMMAND: &str = "meter";

/// A program to run, with additions to its environment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Step {
    argv: Vec<String>,
    env: Vec<(String, String)>,
}

impl Step {
    pub(crate) fn new<I>(argv: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        Self { argv: argv.into_iter().map(Into::into).collect(), env: Vec::new() }
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
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

/// What one run of a program took, with all processes that it started and waited for.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) wall_s: f64,
    pub(crate) cpu_s: f64,
    /// The peak of the largest of the processes.
    pub(crate) peak_mib: f64,
}

/// Runs the steps inside a sandbox, so many times after one round that does not count; the samples of each.
pub(crate) fn interleaved(sandbox: &Sandbox, steps: &[Step], rounds: usize) -> io::Result<Vec<Vec<Sample>>> {
    run(sandbox, &Job { steps: steps.to_vec(), warmups: 1, rounds })
}

/// Runs one program inside a sandbox once, as it is.
pub(crate) fn once(sandbox: &Sandbox, step: &Step) -> io::Result<Sample> {
    let samples = run(sandbox, &Job { steps: vec![step.clone()], warmups: 0, rounds: 1 })?;
    samples.into_iter().flatten().next().ok_or_else(|| io::Error::other("the meter brought no sample"))
}

fn run(sandbox: &Sandbox, job: &Job) -> io::Result<Vec<Vec<Sample>>> {
    let mut command = sandbox.command(std::env::current_exe()?);
    command.arg(COMMAND).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(&serde_json::to_vec(job)?)?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
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
            let sample = measure(step)?;
            if round >= job.warmups {
                samples.push(sample);
            }
        }
    }
    serde_json::to_writer(io::stdout().lock(), &samples).map_err(io::Error::from)
}

#[expect(clippy::cast_precision_loss, reason = "no program has petabytes")]
fn measure(step: &Step) -> io::Result<Sample> {
    let [program, args @ ..] = step.argv.as_slice() else { return Err(io::Error::other("a step without a program")) };
    let said = tempfile::tempfile()?;
    let mut command = Command::new(program);
    command.args(args).envs(step.env.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.try_clone()?);
    let begun = Instant::now();
    let child = command.spawn().map_err(|error| io::Error::other(format!("{program}: {error}")))?;
    let used = child.wait4()?;
    let wall = begun.elapsed();
    check(step, used.status, said)?;
    Ok(Sample {
        wall_s: wall.as_secs_f64(),
        cpu_s: (used.rusage.utime + used.rusage.stime).as_secs_f64(),
        peak_mib: used.rusage.maxrss as f64 / 1_048_576.0,
    })
}

fn check(step: &Step, status: ExitStatus, mut said: File) -> io::Result<()> {
    if status.success() {
        return Ok(());
    }
    let mut text = String::new();
    said.rewind()?;
    said.read_to_string(&mut text)?;
    Err(io::Error::other(format!("`{}` ended with {status}: {}", step.argv.join(" "), text.trim())))
}
