//! What the last sync found in each source: a line for each source of the config.

use std::collections::BTreeSet;

use super::CheckContext;
use crate::domain::diagnosis::{Cause, Finding};
use crate::domain::fleet::Host;
use crate::error::Result;
use crate::store::index::{Content, SourceRecord};

const CHECK: &str = "source";

/// Each source has hosts, they have names, and the last sync of the source succeeded.
pub(super) fn hosts(context: &CheckContext<'_>) -> Result<Vec<Finding>> {
    let index = context.index()?;
    let indexed: Content<Host> = index.content()?;
    let failed = |source: &str| index.header.failed.iter().any(|name| configured(name, &indexed.sources) == source);
    let mut findings = Vec::new();
    for source in &context.config()?.sources {
        let records: BTreeSet<&str> = indexed
            .sources
            .iter()
            .filter(|record| record.of == source.name)
            .map(|record| record.name.as_str())
            .collect();
        let hosts: Vec<&Host> = indexed.hosts.iter().filter(|host| records.contains(host.source.as_str())).collect();
        let count = hosts.len();
        let counted = format!("{}: {count} host{}", source.name, if count == 1 { "" } else { "s" });
        findings.push(if failed(&source.name) {
            let what = format!("{counted} from an earlier sync; the last sync of it failed");
            Finding::problem(CHECK, Cause::SourceFailed, what)
        } else if count == 0 {
            let what = format!("{}: no instance matches", source.name);
            if indexed.hosts.is_empty() {
                Finding::problem(CHECK, Cause::NoHosts, what)
            } else {
                Finding::note(CHECK, Cause::NoHosts, what)
            }
        } else if hosts.iter().all(|host| host.all_names().next().is_none()) {
            Finding::problem(CHECK, Cause::NoNames, format!("{counted}, none of which has a name"))
        } else {
            Finding::ok(CHECK, counted)
        });
    }
    Ok(findings)
}

/// The source of the config for a source of the index: one of an SSO session or a pattern becomes several there.
fn configured<'s>(name: &'s str, records: &'s [SourceRecord]) -> &'s str {
    records.iter().find(|record| record.name == name).map_or(name, |record| record.of.as_str())
}
