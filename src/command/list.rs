//! `ssh-eic list`: the managed hosts, from the index or from AWS.

use std::io;

use serde::Serialize;

use crate::cli;
use crate::command::{Context, Exit, print};
use crate::discover::discovery::{self, DiscoveryRequest};
use crate::discover::failures;
use crate::domain::fleet::Host;
use crate::domain::pattern;
use crate::error::{Error, Kind, Result};
use crate::store::config;
use crate::store::index::Index;
use crate::store::reach::Reach;
use crate::store::ssh_config;
use crate::ui;

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
    dns: &'a str,
    image: &'a str,
}

/// Runs it.
///
/// # Errors
///
/// [`Kind::NoHost`] if there is no index yet or nothing matches the pattern; under `--live` what AWS says.
pub fn run(context: &Context, args: &cli::List) -> Result<Exit> {
    let (mut hosts, failures) = if args.live { live(context)? } else { (indexed(context)?, Vec::new()) };
    if let Some(pattern) = &args.pattern {
        hosts.retain(|host| is_meant(host, pattern));
        if hosts.is_empty() && failures.is_empty() {
            return Err(Error::new(Kind::NoHost, format!("no managed host matches {pattern:?}")).hint(if args.live {
                "ssh-eic list"
            } else {
                "ssh-eic sync, if it is new"
            }));
        }
    }
    let text = if args.json {
        json(&hosts)?
    } else if args.names {
        hosts.iter().flat_map(Host::all_names).fold(String::new(), |text, name| text + name + "\n")
    } else {
        let width = ui::width_of(&io::stdout());
        table(&hosts, width, &|state, cell| ui::coloured(&io::stdout(), cell, colour(state)))
    };
    print(&text)?;
    Ok(Exit::of_sources(&failures))
}

fn indexed(context: &Context) -> Result<Vec<Host>> {
    Index::open(&context.paths.index())?
        .ok_or_else(|| Error::new(Kind::NoHost, "there is no index of instances yet").hint("ssh-eic sync"))?
        .hosts()
}

/// As AWS has them now, under the names that a sync would give them; nothing is written.
fn live(context: &Context) -> Result<(Vec<Host>, Vec<Error>)> {
    let paths = &context.paths;
    let config = config::load(&paths.config, &paths.machine_config)?;
    let index = Index::open(&paths.index())?;
    let found = discovery::discover(&DiscoveryRequest {
        paths,
        config: &config,
        only: None,
        accept_moves: false,
        keep: false,
        reach: &Reach::read(paths, &ssh_config::include_line(paths)?),
        index: index.as_ref(),
    })?;
    for note in &found.notes {
        ui::warning(note);
    }
    Ok((found.fleet.hosts, failures::by_cause(found.failed)))
}

/// An alias or a pattern of aliases, an id, an address or a private DNS name.
fn is_meant(host: &Host, wanted: &str) -> bool {
    let dns = (!host.dns.is_empty()).then_some(host.dns.as_str());
    let own = host.all_names().chain([host.id.as_str()]).chain(host.address.as_deref()).chain(dns);
    own.into_iter().any(|name| pattern::matches(wanted, name))
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
            dns: &host.dns,
            image: &host.image,
        })
        .collect();
    let text =
        serde_json::to_string_pretty(&rows).map_err(|e| Error::new(Kind::Bug, "cannot write JSON").because(e))?;
    Ok(text + "\n")
}

fn colour(state: &str) -> &'static str {
    match state {
        "running" => "32",
        "stopped" => "31",
        _ => "33",
    }
}

const COLUMNS: usize = 7;
const STATE: usize = 4;
/// Columns that go where the width does not suffice for all, the first one first.
const EXPENDABLE: [usize; 4] = [6, 5, 3, 2];
/// What is between two columns.
const GAP: usize = 2;
/// A name is not cut to less than this.
const SHORTEST_NAME: usize = 12;

/// One line a host. On a terminal of `width` columns whatever does not fit is left out, the least telling first, and a
/// long name is cut at last; into a file goes all of it. `paint` colours a cell by the host's state.
fn table(hosts: &[Host], width: Option<usize>, paint: &dyn Fn(&str, &str) -> String) -> String {
    let head = ["HOST", "INSTANCE", "ADDRESS", "USER", "STATE", "SOURCE", "REGION"].map(str::to_owned);
    let mut rows: Vec<[String; COLUMNS]> = std::iter::once(head).chain(hosts.iter().map(cells)).collect();
    let widest =
        |rows: &[[String; COLUMNS]], column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let mut widths: Vec<usize> = (0..COLUMNS).map(|column| widest(&rows, column)).collect();
    let mut shown: Vec<usize> = (0..COLUMNS).collect();
    if let Some(width) = width {
        let total = |shown: &[usize], widths: &[usize]| -> usize {
            shown.iter().map(|&column| widths[column]).sum::<usize>() + GAP * (shown.len() - 1)
        };
        for column in EXPENDABLE {
            if total(&shown, &widths) > width {
                shown.retain(|&other| other != column);
            }
        }
        let excess = total(&shown, &widths).saturating_sub(width);
        widths[0] = widths[0].saturating_sub(excess).max(SHORTEST_NAME.min(widths[0]));
        for row in &mut rows {
            cut(&mut row[0], widths[0]);
        }
    }
    let mut text = String::new();
    for (at, row) in rows.iter().enumerate() {
        let mut line = String::new();
        for &column in &shown {
            let gap = if line.is_empty() { 0 } else { GAP };
            let last = shown.last() == Some(&column);
            let cell = if last { row[column].clone() } else { format!("{:<1$}", row[column], widths[column]) };
            let cell = if column == STATE && at > 0 { paint(&row[STATE], &cell) } else { cell };
            line.push_str(&" ".repeat(gap));
            line.push_str(&cell);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn cells(host: &Host) -> [String; COLUMNS] {
    let address = host.address.as_deref().unwrap_or("-");
    [
        host.alias.as_deref().unwrap_or("-").to_owned(),
        host.id.to_string(),
        if host.port == 22 { address.to_owned() } else { format!("{address}:{}", host.port) },
        host.user.to_string(),
        host.state.clone(),
        host.source.clone(),
        host.region.clone(),
    ]
}

/// Everything in a table is ASCII but the names of sources, which are not cut.
fn cut(cell: &mut String, width: usize) {
    if cell.len() > width && cell.is_ascii() {
        cell.truncate(width.saturating_sub(1));
        cell.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fleet::samples;

    fn plain(hosts: &[Host], width: Option<usize>) -> Vec<String> {
        table(hosts, width, &|_, cell| cell.to_owned()).lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_table_fits_its_terminal_and_loses_nothing_in_a_file() {
        let long = "a".repeat(60);
        let hosts = [
            samples::host(Some(&long), "i-0abc12def34567890", "ec2-user"),
            samples::host(Some("web"), "i-0abc12de", "u"),
        ];
        let whole = plain(&hosts, None);
        assert!(whole[1].contains(&long) && whole[1].ends_with("eu-west-1"), "{whole:?}");
        for width in [60, 80, 100, 120, 200] {
            let lines = plain(&hosts, Some(width));
            assert!(lines.iter().all(|line| line.chars().count() <= width), "{width} {lines:#?}");
            assert!(lines[2].contains("web") && lines[2].contains("i-0abc12de") && lines[2].contains("running"));
        }
        assert_eq!(plain(&hosts, Some(200)), whole);
    }

    #[test]
    fn the_state_has_its_colour() {
        let hosts = [samples::host(Some("web"), "i-0abc12de", "u")];
        let text = table(&hosts, None, &|state, cell| format!("<{}>{cell}", colour(state)));
        assert!(text.contains("<32>running"), "{text}");
    }
}
