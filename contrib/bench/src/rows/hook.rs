//! P1: the hook, which runs at every connection, against a program that does nothing.

use std::fs;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::lab::{FIRST, Lab, Site, progress};
use crate::meter::{self, Step};
use crate::report::{Line, Quantity};
use crate::stats::Runs;
use crate::ways;

const TIME: Quantity = Quantity::Ratio(1.8);
const NOTHING: &str = "/bin/true";
/// An unmanaged name, such as a mistyped one.
const FOREIGN: &str = "github.com";

pub(super) fn measure(lab: &mut Lab) -> io::Result<Vec<Line>> {
    let (hosts, rounds) = (lab.hosts(), lab.pick(301, 31));
    let site = lab.fleet(hosts)?.synced()?;
    let user = ways::seen(site, FIRST)?.user;
    // From now on there is a key, pushed and in use; each call of the hook keeps it so.
    meter::once(&site.sandbox, &ways::ours(site).login(FIRST))?;
    site.sandbox.clear_calls()?;
    progress(&format!("P1: the hook with {hosts} hosts, {rounds} rounds"));
    let steps = [vec!["ssh-eic", "match", FIRST, &user], vec!["ssh-eic", "match", FOREIGN, &user], vec![NOTHING]];
    let called = |argv: &Vec<&str>| Step::new(argv.iter().copied()).called_by_ssh([FIRST, NOTHING]);
    let [managed, foreign, nothing] = &steps;
    // It answers with the exit code.
    let [hook, no, nothing] = site.runs(&[called(managed), called(foreign).may_fail(), called(nothing)], rounds)?;
    let what = format!("warm hook, {hosts} hosts");
    let calls = site.sandbox.calls()?.len();
    if calls > 0 {
        return Ok(vec![Line::missing(what, format!("{calls} calls of AWS: it was not warm")).limit(TIME)]);
    }
    let raw = json!({"hook": hook, "not_managed": no, "nothing": nothing});
    let kernel = [&steps[0], &steps[1], &steps[2]].map(|argv| system_calls(site, argv).ok());
    let line = |what: &str, runs: &Runs, calls: Option<usize>| {
        let detail = runs.beside(&nothing) + &efforts((runs, calls), (&nothing, kernel[2]));
        Line::new(format!("{what} / {NOTHING}"), runs.ratio(&nothing), detail)
    };
    Ok(vec![
        line(&what, &hook, kernel[0]).limit(TIME).raw(raw),
        line("hook of a name that is not managed", &no, kernel[1]),
    ])
}

/// Page faults and system calls of a program in comparison with another one, if they could be counted.
fn efforts(this: (&Runs, Option<usize>), other: (&Runs, Option<usize>)) -> String {
    let faults = [this.0, other.0].map(|runs| runs.faults.median);
    let faults =
        faults.iter().all(|&faults| faults > 0.0).then(|| format!(", page faults {} / {}", faults[0], faults[1]));
    let calls = this.1.zip(other.1).map(|(this, other)| format!(", system calls {this} / {other}"));
    [faults, calls].into_iter().flatten().collect()
}

/// Counts system calls, the program's children's included. The tracer stands aside (-D), since the hook looks at who
/// called it.
fn system_calls(site: &Site, argv: &[&str]) -> io::Result<usize> {
    let log = site.sandbox.dir().join("bench/calls");
    fs::create_dir_all(log.parent().unwrap_or(&log))?;
    let file = log.display().to_string();
    let traced = ["strace", "-D", "-f", "-q", "-o", &file].into_iter().chain(argv.iter().copied());
    let step = Step::new(traced).called_by_ssh([FIRST, NOTHING]).may_fail();
    fs::write(&log, "")?;
    meter::once(&site.sandbox, &step)?;
    // It may still be writing when the program has ended.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        if let Some(count) = counted(&fs::read_to_string(&log)?) {
            return Ok(count);
        }
        thread::sleep(Duration::from_millis(5));
    }
    Err(io::Error::other("strace does not work here"))
}

/// The system calls in strace's log, once it is complete.
fn counted(log: &str) -> Option<usize> {
    let complete = log.trim_end().rsplit('\n').next().is_some_and(|line| line.contains("+++ exited with "));
    let is_call = |line: &&str| line.contains('(') && !line.contains("+++") && !line.contains("---");
    complete.then(|| log.lines().filter(is_call).count())
}

#[cfg(test)]
mod tests {
    use super::counted;

    #[test]
    fn a_log_is_counted_when_it_is_complete() {
        let log = "12 execve(\"/bin/true\", [\"true\"], 0x7ff) = 0\n12 brk(NULL) = 0x1\n12 read(3, <unfinished ...>\n\
                   12 <... read resumed>, \"\", 1) = 0\n12 --- SIGCHLD {si_signo=SIGCHLD} ---\n12 exit_group(0) = ?\n";
        assert_eq!(counted(log), None);
        assert_eq!(counted(&format!("{log}12 +++ exited with 0 +++\n")), Some(4));
    }
}
