//! What is measured: a row for each budget. Another budget is another entry here and a function beside it.

mod ansible;
mod burst;
mod company;
mod config;
mod hook;
mod idle;
mod login;
mod lookups;
pub(crate) mod peers;
mod push;
mod routes;
mod scale;
mod stream;
mod sync;

use std::io;

use crate::lab::Lab;
use crate::report::Line;

/// One budget, or a family of them that are measured together.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// For the help.
    pub(crate) about: &'static str,
    pub(crate) measure: fn(&mut Lab) -> io::Result<Vec<Line>>,
}

const ROWS: &[Row] = &[
    Row { name: "P1", about: "the warm hook against a program that does nothing", measure: hook::measure },
    Row { name: "P2", about: "a warm login against a bare relay, and against plain ssh", measure: login::warm },
    Row { name: "P3", about: "a first login against a warm one", measure: login::cold },
    Row { name: "P3b", about: "the same with an AWS that takes its time", measure: login::cold_slow },
    Row { name: "P4", about: "CPU of one push against the AWS CLI's", measure: push::measure },
    Row { name: "P5", about: "sync of 10,000 instances against `aws ec2 describe-instances`", measure: sync::measure },
    Row { name: "P6", about: "`ssh -G` of the last of 10,000 hosts against bare pairs", measure: config::managed },
    Row { name: "P7", about: "1 GiB through a session against a bare relay", measure: stream::measure },
    Row {
        name: "P8",
        about: "Ansible's first connections to 100 hosts, against static keys",
        measure: ansible::measure,
    },
    Row { name: "P9", about: "200 first connections at once while AWS takes 20 a second", measure: burst::measure },
    Row { name: "P10", about: "memory of an idle proxy", measure: idle::measure },
    Row { name: "P11", about: "`ssh -G` of a foreign host with 10,000 managed ones", measure: config::foreign },
    Row { name: "P12", about: "memory of an idle tunnel", measure: idle::tunnels },
    Row {
        name: "P13",
        about: "throughput and CPU of a tunnel through an endpoint, against a TLS relay",
        measure: routes::endpoint_stream,
    },
    Row {
        name: "P14",
        about: "a first login through an endpoint against a direct one, with a slow AWS",
        measure: routes::first_login,
    },
    Row { name: "P15", about: "`auto` where the address does not respond", measure: routes::black_hole },
    Row {
        name: "SSM",
        about: "Session Manager against `aws ssm start-session` (no budget)",
        measure: routes::session_manager,
    },
    Row {
        name: "P18",
        about: "how often sshd runs its AuthorizedKeysCommand for one login, by each client",
        measure: lookups::measure,
    },
    Row {
        name: "PEERS",
        about: "how long a login takes with what people use instead (no budget)",
        measure: peers::measure,
    },
    Row { name: "S1", about: "50,000 instances against 10,000", measure: scale::measure },
    Row { name: "S2", about: "40 accounts in 6 regions against the slowest one alone", measure: company::measure },
];

/// The rows of these names, in the table's order; all if there are no names.
pub(crate) fn chosen(names: &[String]) -> Result<Vec<&'static Row>, String> {
    let is = |row: &Row, name: &String| row.name.eq_ignore_ascii_case(name);
    if let Some(unknown) = names.iter().find(|name| !ROWS.iter().any(|row| is(row, name))) {
        let known: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        return Err(format!("there is no row {unknown:?}: there are {}", known.join(", ")));
    }
    Ok(ROWS.iter().filter(|row| names.is_empty() || names.iter().any(|name| is(row, name))).collect())
}

/// All rows, for the help.
pub(crate) fn overview() -> String {
    let lines: Vec<String> = ROWS.iter().map(|row| format!("  {:<5} {}\n", row.name, row.about)).collect();
    format!("Rows:\n{}", lines.concat())
}
