//! `ssh-eic doctor`: why a connection fails, and what to do about it, a line for each check.

use std::io;

use crate::cli;
use crate::command::{Context, Exit, print};
use crate::doctor::CheckContext;
use crate::domain::diagnosis::{Cause, Finding, Status};
use crate::error::{Error, Kind, Result};
use crate::ui;

/// Runs it: exit 1 if a check failed, 4 if there is no such host.
///
/// # Errors
///
/// None but a standard output that cannot be written: what goes wrong is a finding.
pub fn run(context: &Context, args: &cli::Doctor) -> Result<Exit> {
    let program = context.program()?;
    let checks = CheckContext::new(&context.paths, &program, args.host.as_deref(), args.valid_for);
    let activity = ui::Activity::start();
    let mut written = Ok(());
    let findings = crate::doctor::run(&checks, &|check| activity.about(&format!("checking {check}")), &mut |finding| {
        let is_shown = !args.json && (finding.status == Status::Problem || !ui::is_quiet());
        if is_shown && written.is_ok() {
            written = activity.aside(|| print(&(finding.line(&paint) + "\n")));
        }
    });
    drop(activity);
    written?;
    if args.json {
        let text = serde_json::to_string_pretty(&findings)
            .map_err(|error| Error::new(Kind::Bug, "cannot write JSON").because(error))?;
        print(&(text + "\n"))?;
    }
    Ok(Exit::code(code(&findings)))
}

fn code(findings: &[Finding]) -> u8 {
    match findings.iter().find(|finding| finding.status == Status::Problem).map(|finding| finding.cause) {
        None => 0,
        Some(Some(Cause::NoSuchHost | Cause::NameShared)) => Kind::NoHost.exit_code(),
        Some(_) => Kind::No.exit_code(),
    }
}

fn paint(status: Status, word: &str) -> String {
    let colour = match status {
        Status::Ok => "32",
        Status::Note => "33",
        Status::Problem => "31",
        Status::Skipped => "2",
    };
    ui::coloured(&io::stdout(), word, colour)
}
