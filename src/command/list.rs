//! `ssh-eic list`: the managed hosts, from the index.

use std::io::{self, Write};

use serde::Serialize;

use crate::cli;
use crate::command::{Context, Exit};
use crate::core::fleet::Host;
use crate::core::pattern;
use crate::error::{Error, Kind, Result};
use crate::store::index::Index;

/// A host as `--json` shows it.
#[derive(Serialize)]
struct Row<'a> {
    alias: Option<&'a str>,
    names: &'a [String],
    id: &'a str,
    address: Option<&'a str>,
    port: u16,
    user: &'a str,
    state: &'a str,
    source: &'a str,
    account: &'a str,
    region: &'a str,
    az: &'a str,
    vpc: &'a str,
}

/// Runs it.
///
/// # Errors
///
/// [`Kind::NoHost`] if there is no index yet or nothing matches the pattern.
pub fn run(context: &Context, args: &cli::List) -> Result<Exit> {
    let index = Index::open(&context.paths.index())?
        .ok_or_else(|| Error::new(Kind::NoHost, "there is no index of instances yet").hint("ssh-eic sync"))?;
    let mut hosts = index.hosts()?;
    if let Some(pattern) = &args.pattern {
        hosts.retain(|host| is_meant(host, pattern));
        if hosts.is_empty() {
            return Err(Error::new(Kind::NoHost, format!("no managed host matches {pattern:?}"))
                .hint("ssh-eic sync, if it is new"));
        }
    }
    let text = if args.json {
        json(&hosts)?
    } else if args.names {
        hosts.iter().flat_map(Host::all_names).fold(String::new(), |text, name| text + name + "\n")
    } else {
        table(&hosts)
    };
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::new(Kind::File, format!("cannot write to stdout: {}", crate::error::reason(&error))))
        }
        _ => Ok(Exit::default()),
    }
}

/// An alias or a pattern of aliases, an id, or an address.
fn is_meant(host: &Host, wanted: &str) -> bool {
    host.all_names().chain([host.id.as_str()]).chain(host.address.as_deref()).any(|name| pattern::matches(wanted, name))
}

fn json(hosts: &[Host]) -> Result<String> {
    let rows: Vec<Row<'_>> = hosts
        .iter()
        .map(|host| Row {
            alias: host.alias.as_deref(),
            names: &host.names,
            id: host.id.as_str(),
            address: host.address.as_deref(),
            port: host.port,
            user: host.user.as_str(),
            state: &host.state,
            source: &host.source,
            account: &host.account,
            region: &host.region,
            az: &host.az,
            vpc: &host.vpc,
        })
        .collect();
    let text =
        serde_json::to_string_pretty(&rows).map_err(|e| Error::new(Kind::Bug, "cannot write JSON").because(e))?;
    Ok(text + "\n")
}

fn table(hosts: &[Host]) -> String {
    let head = ["HOST", "INSTANCE", "ADDRESS", "USER", "STATE", "SOURCE", "REGION"].map(str::to_owned);
    let rows = hosts.iter().map(|host| {
        let address = host.address.as_deref().unwrap_or("-");
        let address = if host.port == 22 { address.to_owned() } else { format!("{address}:{}", host.port) };
        [
            host.alias.as_deref().unwrap_or("-").to_owned(),
            host.id.to_string(),
            address,
            host.user.to_string(),
            host.state.clone(),
            host.source.clone(),
            host.region.clone(),
        ]
    });
    let rows: Vec<[String; 7]> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..7).map(width).collect();
    rows.iter().fold(String::new(), |text, row| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text + cells.collect::<Vec<_>>().join("  ").trim_end() + "\n"
    })
}
