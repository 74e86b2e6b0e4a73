//! What comes out: an aligned table for people, every number for programs.

use std::fmt;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;

use crate::machine::Machine;

/// A number that means something.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Quantity {
    /// So many times as much as something else.
    Ratio(f64),
    /// Of memory.
    MiB(f64),
    /// Of things.
    Count(f64),
}

impl Quantity {
    fn number(self) -> f64 {
        match self {
            Self::Ratio(number) | Self::MiB(number) | Self::Count(number) => number,
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ratio(number) if *number < 0.995 => write!(f, "{number:.3}x"),
            Self::Ratio(number) => write!(f, "{number:.2}x"),
            Self::MiB(number) => write!(f, "{number:.1} MiB"),
            Self::Count(number) => write!(f, "{number:.0}"),
        }
    }
}

/// What is to be said of a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// Within its limit.
    Ok,
    /// Over its limit.
    Over,
    /// Over its limit, and so is the floor: nobody could do better here.
    Floor,
    /// There is no limit, or nothing was measured.
    None,
}

/// One line of the table.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Line {
    row: &'static str,
    /// What is measured, against what.
    what: String,
    /// What it may come to.
    limit: Option<Quantity>,
    /// The least that it could come to.
    floor: Option<Quantity>,
    measured: Option<Quantity>,
    verdict: Verdict,
    /// The figures behind it, or why there are none.
    detail: String,
    /// Every sample.
    raw: Value,
}

impl Line {
    /// A measurement.
    pub(crate) fn new(what: impl Into<String>, measured: Quantity, detail: impl Into<String>) -> Self {
        Self {
            row: "",
            what: what.into(),
            limit: None,
            floor: None,
            measured: Some(measured),
            verdict: Verdict::None,
            detail: detail.into(),
            raw: Value::Null,
        }
    }

    /// What could not be measured here.
    pub(crate) fn missing(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { measured: None, ..Self::new(what, Quantity::Count(0.0), why) }
    }

    pub(crate) fn limit(mut self, limit: Quantity) -> Self {
        self.limit = Some(limit);
        self
    }

    pub(crate) fn floor(mut self, floor: Option<Quantity>) -> Self {
        self.floor = floor;
        self
    }

    pub(crate) fn raw(mut self, raw: Value) -> Self {
        self.raw = raw;
        self
    }

    /// Names the row, and judges.
    pub(crate) fn of(mut self, row: &'static str) -> Self {
        self.row = row;
        self.verdict = match (self.limit, self.measured) {
            (Some(limit), Some(measured)) if measured.number() <= limit.number() => Verdict::Ok,
            (Some(limit), Some(_)) if self.floor.is_some_and(|floor| floor.number() > limit.number()) => Verdict::Floor,
            (Some(_), Some(_)) => Verdict::Over,
            _ => Verdict::None,
        };
        self
    }

    fn cells(&self) -> [String; 7] {
        let text = |quantity: Option<Quantity>| quantity.map_or_else(|| "-".into(), |quantity| quantity.to_string());
        let verdict = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Over => "OVER",
            Verdict::Floor => "floor",
            Verdict::None => "-",
        };
        let limit = self.limit.map_or_else(|| "-".into(), |limit| format!("<= {limit}"));
        let (floor, measured) = (text(self.floor), text(self.measured));
        [self.row.into(), self.what.clone(), limit, floor, measured, verdict.into(), self.detail.clone()]
    }
}

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    /// Few runs of small fleets.
    pub(crate) short: bool,
    pub(crate) lines: Vec<Line>,
}

const HEAD: [&str; 7] = ["row", "what", "limit", "floor", "measured", "verdict", "detail"];
/// Which columns hold numbers.
const RIGHT: [bool; 7] = [false, false, true, true, true, false, false];

const LEGEND: &str = "measured: ratio of medians (of peaks: the largest). floor: the least that it could come to here.\n\
                      verdict: ok within the limit, OVER it, or floor where even the floor is over it.";

impl Report {
    pub(crate) fn print(&self, output: &mut impl Write) -> io::Result<()> {
        writeln!(output, "{}", self.machine.describe())?;
        if self.short {
            writeln!(output, "--short: few runs of small fleets; the figures only show that everything works")?;
        }
        writeln!(output)?;
        let mut table = vec![HEAD.map(String::from)];
        table.extend(self.lines.iter().map(Line::cells));
        let width = |column: usize| table.iter().map(|cells| cells[column].chars().count()).max().unwrap_or_default();
        let widths: [usize; 7] = std::array::from_fn(width);
        for cells in &table {
            let padded = cells.iter().zip(widths).zip(RIGHT).map(|((cell, width), right)| {
                if right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            });
            writeln!(output, "{}", padded.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        writeln!(output, "\n{LEGEND}")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Line, Quantity, Verdict};

    #[test]
    fn a_verdict_needs_a_limit_and_a_measurement() {
        let line = |measured| Line::new("sync", Quantity::Ratio(measured), "");
        let verdict = |line: Line| line.of("P0").verdict;
        let limit = Quantity::Ratio(0.2);
        assert_eq!(verdict(line(0.1)), Verdict::None);
        assert_eq!(verdict(line(0.2).limit(limit)), Verdict::Ok);
        assert_eq!(verdict(line(0.3).limit(limit)), Verdict::Over);
        assert_eq!(verdict(line(0.3).limit(limit).floor(Some(Quantity::Ratio(0.1)))), Verdict::Over);
        assert_eq!(verdict(line(0.3).limit(limit).floor(Some(Quantity::Ratio(0.25)))), Verdict::Floor);
        assert_eq!(verdict(Line::missing("sync", "no aws").limit(limit)), Verdict::None);
    }
}
