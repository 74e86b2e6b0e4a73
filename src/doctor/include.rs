//! Our part of the user's ssh config: there, in its place, unchanged; and whether ssh takes the config at all.

use super::CheckContext;
use crate::domain::diagnosis::{Cause, Finding};
use crate::domain::ssh_config::shadow;
use crate::domain::ssh_words;
use crate::error::Result;
use crate::store::{files, ssh_config};
use crate::sys::ssh_client;

/// It is there, outside of every block, and nothing ahead of it wins over it.
pub(super) fn place(context: &CheckContext<'_>) -> Result<Vec<Finding>> {
    let path = &context.paths.ssh_config;
    let file = path.display();
    let parts = context.present()?;
    let Some(first) = parts.first() else {
        let message = format!("{file} has no Include line of ssh-eic, so ssh finds no managed host");
        let fix = format!("ssh-eic sync, or put this at its top: {}", ssh_config::include_line(context.paths)?);
        return Ok(vec![Finding::problem("include", Cause::IncludeMissing, message).fix(fix)]);
    };
    if let Some(trouble) = first.misplaced {
        return Ok(vec![super::problem("include", &ssh_config::explained(trouble, path))]);
    }
    let config = files::read(path)?.unwrap_or_default();
    if let Some(line) = shadow::ahead(&config, first.line).first() {
        let number = line.number;
        let value = line.arguments.join(" ");
        let shown = if line.keyword == "proxycommand" { ssh_words::program(&value) } else { &value };
        let message = format!(
            "{file} line {number}: {} {shown} stands before our Include (line {}), and wins for every host",
            line.keyword, first.line
        );
        let fix = format!("move it behind our Include, or our line {} to the top", first.line);
        return Ok(vec![Finding::problem("include", Cause::IncludeNotFirst, message).fix(fix)]);
    }
    Ok(vec![Finding::ok("include", format!("{file} line {}", first.line))])
}

/// ssh reads it without complaint; any host will do.
pub(super) fn readable(context: &CheckContext<'_>) -> Result<Vec<Finding>> {
    ssh_client::effective(context.named_config(), "localhost")?;
    Ok(vec![Finding::ok("ssh-config", "ssh reads it")])
}
