//! `ssh-eic doctor`: why a connection fails and what to do, a line for each check.

use std::io;

use crate::cli;
use crate::command::{Context, Exit, print, print_json};
use crate::doctor::CheckContext;
use crate::domain::diagnosis::{Cause, Finding, Status};
use crate::error::{Kind, Result};
use crate::ui;

/// Exits with 1 if a check failed, 4 if there is no such host.
///
/// # Errors
///
/// If standard output cannot be written; failures of checks are findings.
pub fn run(context: &Context, args: &cli::Doctor) -> Result<Exit> {
    let program = context.program()?;
    let checks = CheckContext::new(&context.paths, &program, args.host.as_deref(), args.valid_for);
    let activity = ui::Activity::start();
    let mut written = Ok(());
    let on_start = |check: &str| activity.about(&format!("checking {check}"));
    let report = crate::doctor::run(&checks, &on_start, &mut |finding| {
        let is_shown = !args.json && (finding.status == Status::Problem || !ui::is_quiet());
        if is_shown && written.is_ok() {
            let lines = ui::with_home_shortened(finding.lines(&paint) + "\n");
            written = activity.aside(|| print(&lines));
        }
    });
    drop(activity);
    written?;
    if args.json {
        print_json(&report.findings)?;
    } else if !report.not_run.is_empty() && !ui::is_quiet() {
        let status = paint(Status::Skipped, &format!("{:<8}", Status::Skipped.word()));
        print(&format!("{status} not checked: {}\n", report.not_run.join(", ")))?;
    }
    Ok(Exit::code(code(&report.findings)))
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
