//! The table of hosts.

use std::collections::BTreeSet;

use crate::cli::Column;
use crate::domain::fleet::Host;
use crate::store::host_keys::{Overview, Trust};
use crate::sys::clock;
use crate::ui;

/// Columns between two cells.
const GAP: usize = 2;
/// A name is truncated to no fewer characters than this.
const MIN_NAME: usize = 12;

/// The colour of a state, as an SGR parameter.
pub(super) fn colour(state: &str) -> &'static str {
    match state {
        "running" => "32",
        "stopped" => "31",
        _ => "33",
    }
}

/// A header and one line for each host.
///
/// If the table is wider than `width`, columns are omitted, those with the fewest different values first; host, instance
/// and state always remain. After that, long host names are truncated. `paint` colours a cell by the state of the host.
pub(super) fn render(
    hosts: &[Host],
    columns: &[Column],
    width: Option<usize>,
    host_keys: &Overview,
    is_live: &dyn Fn(&Host) -> bool,
    paint: &dyn Fn(&str, &str) -> String,
) -> String {
    let header: Vec<String> = columns.iter().map(|column| column.to_string().to_uppercase()).collect();
    let cells = |host: &Host| columns.iter().map(|column| cell(host, column, host_keys, is_live(host))).collect();
    let mut rows: Vec<Vec<String>> = std::iter::once(header).chain(hosts.iter().map(cells)).collect();
    let max = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let mut widths: Vec<usize> = (0..columns.len()).map(max).collect();
    let mut shown: Vec<usize> = (0..columns.len()).collect();
    if let Some(width) = width {
        fit(&rows, columns, &mut widths, &mut shown, width);
        for row in &mut rows {
            truncate(&mut row[0], widths[0]);
        }
    }
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let mut line = String::new();
        for &at in &shown {
            let gap = if line.is_empty() { 0 } else { GAP };
            let is_last = shown.last() == Some(&at);
            let cell = if is_last { row[at].clone() } else { format!("{:<1$}", row[at], widths[at]) };
            let is_state = number > 0 && columns[at] == Column::State;
            let cell = if is_state { paint(&hosts[number - 1].state, &cell) } else { cell };
            line.push_str(&" ".repeat(gap));
            line.push_str(&cell);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Omits columns, then shortens the first one, until the table fits.
fn fit(rows: &[Vec<String>], columns: &[Column], widths: &mut [usize], shown: &mut Vec<usize>, width: usize) {
    let total = |shown: &[usize], widths: &[usize]| -> usize {
        shown.iter().map(|&at| widths[at]).sum::<usize>() + GAP * shown.len().saturating_sub(1)
    };
    let different = |at: usize| rows[1..].iter().map(|row| row[at].as_str()).collect::<BTreeSet<_>>().len();
    let is_optional = |at: &usize| !matches!(columns[*at], Column::Host | Column::Instance | Column::State);
    let mut optional: Vec<usize> = (0..columns.len()).filter(is_optional).collect();
    // Of columns with equally many values, the one further right is omitted first.
    optional.sort_by_key(|&at| (different(at), std::cmp::Reverse(at)));
    for column in optional {
        if total(shown, widths) > width {
            shown.retain(|&other| other != column);
        }
    }
    let excess = total(shown, widths).saturating_sub(width);
    widths[0] = widths[0].saturating_sub(excess).max(MIN_NAME.min(widths[0]));
}

/// How a host key came to be trusted, in one word.
pub(super) fn trust(trust: &Trust) -> &'static str {
    match trust {
        Trust::Verified(_) => "verified",
        Trust::FirstUse => "first-use",
        Trust::Unknown => "unknown",
    }
}

fn cell(host: &Host, column: &Column, host_keys: &Overview, is_live: bool) -> String {
    let address = host.address.as_deref().unwrap_or("-");
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { ui::shown(text) };
    match column {
        Column::Host => or_dash(host.alias.as_deref().unwrap_or_default()),
        Column::Instance => host.id.to_string(),
        Column::Address if host.port == 22 => address.to_owned(),
        Column::Address => format!("{address}:{}", host.port),
        Column::User => host.user.to_string(),
        Column::State if is_live => host.state.clone(),
        Column::State => format!("{} (not live)", host.state),
        Column::Route => host.route.to_string(),
        Column::Source => or_dash(&host.source),
        Column::Account => host.account.clone(),
        Column::Region => host.region.clone(),
        Column::Az => or_dash(&host.az),
        Column::Vpc => or_dash(&host.vpc),
        Column::Image => or_dash(&host.image),
        Column::Dns => or_dash(&host.dns),
        Column::Launched if host.launched == 0 => "-".to_owned(),
        Column::Launched => clock::rfc3339(u64::try_from(host.launched).unwrap_or(0).saturating_mul(1000)),
        Column::HostKey => trust(&host_keys.of(&host.id)).to_owned(),
        Column::Tag(key) => or_dash(host.tags.get(key).map_or("", String::as_str)),
    }
}

fn truncate(cell: &mut String, width: usize) {
    if cell.chars().count() > width {
        *cell = cell.chars().take(width.saturating_sub(1)).chain(['…']).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fleet::samples;

    fn lines(hosts: &[Host], width: Option<usize>) -> Vec<String> {
        let text = render(hosts, &Column::DEFAULT, width, &Overview::default(), &|_| true, &|_, cell| cell.to_owned());
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_table_fits_its_terminal_and_is_complete_in_a_file() {
        let long = "a".repeat(60);
        let hosts = [
            samples::host(Some(&long), "i-0abc12def34567890", "ec2-user"),
            samples::host(Some("web"), "i-0abc12de", "u"),
        ];
        let complete = lines(&hosts, None);
        assert!(complete[1].contains(&long) && complete[1].ends_with("eu-west-1"), "{complete:?}");
        for width in [60, 80, 100, 120, 200] {
            let lines = lines(&hosts, Some(width));
            assert!(lines.iter().all(|line| line.chars().count() <= width), "{width} {lines:#?}");
            assert!(lines[2].contains("web") && lines[2].contains("i-0abc12de") && lines[2].contains("running"));
        }
        assert_eq!(lines(&hosts, Some(200)), complete);
    }

    #[test]
    fn columns_with_the_fewest_different_values_are_omitted_first() {
        let mut hosts = [
            samples::host(Some("web-1"), "i-0abc12de", "ec2-user"),
            samples::host(Some("web-2"), "i-0abc12df", "ec2-user"),
            samples::host(Some("web-3"), "i-0abc12d0", "ec2-user"),
        ];
        hosts[1].region = "us-east-1".to_owned();
        hosts[2].region = "ap-south-1".to_owned();
        hosts[2].source = "dev".to_owned();
        for (width, header) in [
            (80, "HOST   INSTANCE    ADDRESS   USER      STATE    SOURCE  REGION"),
            (62, "HOST   INSTANCE    ADDRESS   STATE    SOURCE  REGION"),
            (50, "HOST   INSTANCE    STATE    SOURCE  REGION"),
            (40, "HOST   INSTANCE    STATE    REGION"),
            (30, "HOST   INSTANCE    STATE"),
        ] {
            assert_eq!(lines(&hosts, Some(width))[0], header, "{width}");
        }
    }

    #[test]
    fn states_are_coloured_and_marked_if_they_are_not_live() {
        let hosts = [samples::host(Some("web"), "i-0abc12de", "u")];
        let paint = |state: &str, cell: &str| format!("<{}>{cell}", colour(state));
        let columns = [Column::Host, Column::State, Column::Tag("Nope".to_owned())];
        assert_eq!(
            render(&hosts, &columns, None, &Overview::default(), &|_| true, &paint),
            "HOST  STATE    TAG:NOPE\nweb   <32>running  -\n"
        );
        let marked = render(&hosts, &columns[..2], None, &Overview::default(), &|_| false, &paint);
        assert_eq!(marked, "HOST  STATE\nweb   <32>running (not live)\n");
    }
}
