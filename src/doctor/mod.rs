//! Why a connection fails: checks in the order in which a connection meets what they are about, up to the first cause.
//!
//! A check looks at one thing and says what it found; it guesses nothing that a later one would know. The first problem
//! ends the list, since whatever comes behind it may be its consequence. Nothing prompts, and each check has its limit.
//!
//! Not here: the causes themselves (`domain::diagnosis`), and printing them (`command::doctor`).

use crate::domain::diagnosis::{Cause, Finding, Status};
use crate::error::{Error, Kind, Result};
use crate::ui;

mod address;
mod client;
mod context;
mod credentials;
mod files;
mod include;
mod instance;
mod login;
mod options;
mod push;
mod state;

pub use context::CheckContext;

/// One look at one thing. An error is a problem, too.
type Look = fn(&CheckContext<'_>) -> Result<Vec<Finding>>;

struct Check {
    name: &'static str,
    /// It is about one host.
    of_host: bool,
    look: Look,
}

const fn of_machine(name: &'static str, look: Look) -> Check {
    Check { name, of_host: false, look }
}

const fn of_host(name: &'static str, look: Look) -> Check {
    Check { name, of_host: true, look }
}

/// What is checked, in order.
const CHECKS: [Check; 17] = [
    of_machine("client", client::version),
    of_machine("shell", |context| Ok(client::shell(context))),
    of_machine("config", state::config),
    of_machine("index", state::index),
    of_machine("home", files::home),
    of_machine("files", files::trusted),
    of_machine("include", include::place),
    of_machine("generated", files::generated),
    of_machine("program", state::program),
    of_machine("ssh-config", include::readable),
    of_machine("editor", files::editor),
    of_host("host", options::host),
    of_host("options", options::shadowed),
    of_machine("credentials", credentials::standing),
    of_host("instance", instance::state),
    of_host("address", address::reachable),
    of_host("push", push::key),
];

/// The last one: what no other check could tell.
const LOGIN: Check = of_host("login", login::real);

/// Runs the checks. `begins` hears of each before it begins, `tell` of each finding at once.
pub fn run(context: &CheckContext<'_>, begins: &dyn Fn(&str), tell: &mut dyn FnMut(&Finding)) -> Vec<Finding> {
    let mut all: Vec<Finding> = Vec::new();
    for check in CHECKS.iter().chain([&LOGIN]).filter(|check| context.wanted.is_some() || !check.of_host) {
        let is_over = all.iter().any(|finding| finding.status == Status::Problem);
        let found = if is_over {
            vec![Finding::skipped(check.name, "not checked")]
        } else {
            begins(check.name);
            (check.look)(context).unwrap_or_else(|error| vec![problem(check.name, &error)])
        };
        found.iter().for_each(&mut *tell);
        all.extend(found);
    }
    all
}

/// An error as what a check found.
fn problem(check: &'static str, error: &Error) -> Finding {
    // What only some errors know of themselves their kind tells of the others.
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
    let what = error.message.replace("; nothing was changed", "");
    let cause = error.cause.or(by_kind);
    let finding = match cause {
        Some(cause) => Finding::problem(check, cause, what),
        None => Finding { status: Status::Problem, ..Finding::ok(check, what) }.fix("run it with -v and report it"),
    };
    if let Some(source) = &error.source {
        ui::verbose(|| source.clone());
    }
    if error.hints.is_empty() { finding } else { finding.fix(error.hints.join("; ")) }
}
