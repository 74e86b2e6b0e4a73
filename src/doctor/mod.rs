//! `ssh-eic doctor`: checks in the order of a connection, up to the first cause of a failure.
//!
//! A check is about one thing and reports what it found, without guesses about later checks. The first problem ends the
//! checks, because later ones may fail as its consequence. Before the set-up (no config, no index) the credentials are
//! checked nevertheless, since `ssh-eic init` needs them. No check prompts, and each has a timeout.
//!
//! Not here: the causes (`domain::diagnosis`) and printing (`command::doctor`).

use crate::domain::diagnosis::{Cause, Finding, Status};
use crate::error::{Error, Kind, Result};
use crate::ui;

mod address;
mod agent;
mod client;
mod context;
mod credentials;
mod endpoint;
mod files;
mod host_key;
mod include;
mod instance;
mod jump;
mod login;
mod options;
mod push;
mod route;
mod sources;
mod state;

pub use context::CheckContext;

/// Returns the findings of a check; an error is a problem, too.
type CheckFn = fn(&CheckContext<'_>) -> Result<Vec<Finding>>;

/// When a check is run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// Always.
    Machine,
    /// Always; also before the set-up, after the problem that reports it.
    BeforeSetUp,
    /// Without a host.
    Sources,
    /// With a host.
    Host,
}

struct Check {
    name: &'static str,
    scope: Scope,
    run: CheckFn,
}

const fn check(name: &'static str, scope: Scope, run: CheckFn) -> Check {
    Check { name, scope, run }
}

/// All checks in order. The login is last: it finds what no other check can.
const CHECKS: [Check; 20] = [
    check("client", Scope::Machine, client::version),
    check("shell", Scope::Machine, |context| Ok(client::shell(context))),
    check("config", Scope::Machine, state::config),
    check("index", Scope::Machine, state::index),
    check("home", Scope::Machine, files::home),
    check("files", Scope::Machine, files::trusted),
    check("include", Scope::Machine, include::place),
    check("generated", Scope::Machine, files::generated),
    check("program", Scope::Machine, state::program),
    check("ssh-config", Scope::Machine, include::readable),
    check("editor", Scope::Machine, files::editor),
    check("host", Scope::Host, options::host),
    check("options", Scope::Host, options::shadowed),
    check("credentials", Scope::BeforeSetUp, credentials::valid),
    check("source", Scope::Sources, sources::hosts),
    check("instance", Scope::Host, instance::state),
    check("host-key", Scope::Host, host_key::trust),
    check("address", Scope::Host, route::usable),
    check("push", Scope::Host, push::key),
    check("login", Scope::Host, login::real),
];

/// The result of all checks.
#[derive(Debug)]
pub struct Report {
    /// The findings in order, also one for each check that was not run.
    pub findings: Vec<Finding>,
    /// The checks that were not run, after a problem.
    pub not_run: Vec<&'static str>,
}

/// Runs the checks. Calls `on_start` with the name of each check that is run, and `on_finding` with each of its findings.
pub fn run(context: &CheckContext<'_>, on_start: &dyn Fn(&str), on_finding: &mut dyn FnMut(&Finding)) -> Report {
    let mut report = Report { findings: Vec::new(), not_run: Vec::new() };
    let other_scope = if context.wanted.is_some() { Scope::Sources } else { Scope::Host };
    for check in CHECKS.iter().filter(|check| check.scope != other_scope) {
        let has_problem = report.findings.iter().any(|finding| finding.status == Status::Problem);
        if has_problem && (check.scope != Scope::BeforeSetUp || context.is_set_up()) {
            report.findings.push(Finding::skipped(check.name, "not checked"));
            report.not_run.push(check.name);
            continue;
        }
        on_start(check.name);
        let findings = (check.run)(context).unwrap_or_else(|error| vec![problem(check.name, &error)]);
        findings.iter().for_each(&mut *on_finding);
        report.findings.extend(findings);
    }
    report
}

/// The finding of a check that failed with an error.
fn problem(check: &'static str, error: &Error) -> Finding {
    // The cause of an error that has none.
    let by_kind = match error.kind {
        Kind::Config => Some(Cause::ConfigInvalid),
        Kind::NoHost => Some(Cause::NoSuchHost),
        Kind::Credentials => Some(Cause::NoCredentials),
        Kind::Denied => Some(Cause::PermissionDenied),
        Kind::Unavailable => Some(Cause::AwsFailed),
        Kind::Unreachable => Some(Cause::AddressSilent),
        Kind::File => Some(Cause::FileTrouble),
        Kind::Usage => Some(Cause::UserRefused),
        Kind::Bug | Kind::No => None,
    };
    let what = &error.message;
    let cause = error.cause.or(by_kind);
    let finding = match cause {
        Some(cause) => Finding::problem(check, cause, what),
        None => Finding { status: Status::Problem, ..Finding::ok(check, what) }
            .fix("run ssh-eic doctor -v and report the output"),
    };
    if let Some(source) = &error.source {
        ui::verbose(|| source.clone());
    }
    if error.hints.is_empty() { finding } else { finding.fixes(&error.hints) }
}
