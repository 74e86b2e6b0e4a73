//! What is measured: a row for each budget. Another budget is another entry here and a function beside it.

mod company;
mod config;
mod scale;
mod sync;

use std::io;

use crate::lab::Lab;
use crate::report::Line;

/// One budget, or a family of them that are measured together.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// For the help.
    about: &'static str,
    pub(crate) measure: fn(&mut Lab) -> io::Result<Vec<Line>>,
}

const ROWS: [Row; 5] = [
    Row { name: "P5", about: "sync of 10,000 instances against `aws ec2 describe-instances`", measure: sync::measure },
    Row { name: "P6", about: "`ssh -G` of the last of 10,000 hosts against bare pairs", measure: config::managed },
    Row { name: "P11", about: "`ssh -G` of a foreign host with 10,000 managed ones", measure: config::foreign },
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
    let lines: Vec<String> = ROWS.iter().map(|row| format!("  {:<4} {}\n", row.name, row.about)).collect();
    format!("Rows:\n{}", lines.concat())
}
