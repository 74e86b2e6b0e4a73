//! What comes out: an aligned table for people, every number for programs.

use std::fmt;
use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::machine::Machine;

/// A number that means something.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Quantity {
    /// So many times as much as something else.
    Ratio(f64),
    /// Of time.
    Ms(f64),
    /// Of memory.
    MiB(f64),
    /// Of things.
    Count(f64),
}

impl Quantity {
    fn number(self) -> f64 {
        match self {
            Self::Ratio(number) | Self::Ms(number) | Self::MiB(number) | Self::Count(number) => number,
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ratio(number) if *number < 0.995 => write!(f, "{number:.3}x"),
            Self::Ratio(number) => write!(f, "{number:.2}x"),
            Self::Ms(number) => write!(f, "{number:.1} ms"),
            Self::MiB(number) => write!(f, "{number:.1} MiB"),
            Self::Count(number) => write!(f, "{number:.0}"),
        }
    }
}

/// What a quantity may come to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Limit {
    AtMost(Quantity),
    AtLeast(Quantity),
    Exactly(Quantity),
}

impl Limit {
    fn allows(self, quantity: Quantity) -> bool {
        match self {
            Self::AtMost(most) => quantity.number() <= most.number(),
            Self::AtLeast(least) => quantity.number() >= least.number(),
            Self::Exactly(wanted) => quantity == wanted,
        }
    }

    /// How much of it is used up: up to 1 it is kept.
    fn share(self, quantity: Quantity) -> f64 {
        let times = |over: Quantity, under: Quantity| match (over.number(), under.number()) {
            (0.0, _) => 0.0,
            (over, under) => over / under,
        };
        match self {
            Self::AtMost(most) => times(quantity, most),
            Self::AtLeast(least) => times(least, quantity),
            Self::Exactly(_) if self.allows(quantity) => 0.0,
            Self::Exactly(_) => f64::INFINITY,
        }
        .max(0.0)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "<= {most}"),
            Self::AtLeast(least) => write!(f, ">= {least}"),
            Self::Exactly(wanted) => write!(f, "= {wanted}"),
        }
    }
}

/// What is to be said of a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// Within its limit.
    Ok,
    /// On the wrong side of it.
    Over,
    /// So too, and so is the floor: nobody could do better here.
    Floor,
    /// There is no limit, or nothing was measured.
    None,
}

/// One line of the table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) row: String,
    /// What is measured, against what.
    pub(crate) what: String,
    /// What it may come to.
    limit: Option<Limit>,
    /// The best that it could come to.
    floor: Option<Quantity>,
    pub(crate) measured: Option<Quantity>,
    pub(crate) verdict: Verdict,
    /// The figures behind it, or why there are none.
    pub(crate) detail: String,
    /// Every sample.
    pub(crate) raw: Value,
}

impl Line {
    /// A measurement.
    pub(crate) fn new(what: impl Into<String>, measured: Quantity, detail: impl Into<String>) -> Self {
        Self {
            row: String::new(),
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

    /// No more than this.
    pub(crate) fn limit(mut self, limit: Quantity) -> Self {
        self.limit = Some(Limit::AtMost(limit));
        self
    }

    /// No less than this.
    pub(crate) fn at_least(mut self, limit: Quantity) -> Self {
        self.limit = Some(Limit::AtLeast(limit));
        self
    }

    /// This and nothing else.
    pub(crate) fn exactly(mut self, wanted: Quantity) -> Self {
        self.limit = Some(Limit::Exactly(wanted));
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
    pub(crate) fn of(mut self, row: &str) -> Self {
        row.clone_into(&mut self.row);
        self.verdict = match (self.limit, self.measured) {
            (Some(limit), Some(measured)) if limit.allows(measured) => Verdict::Ok,
            (Some(limit), Some(_)) if self.floor.is_some_and(|floor| !limit.allows(floor)) => Verdict::Floor,
            (Some(_), Some(_)) => Verdict::Over,
            _ => Verdict::None,
        };
        self
    }

    /// How much of its limit a measurement uses up: 1 is all of it.
    pub(crate) fn share(&self) -> Option<f64> {
        Some(self.limit?.share(self.measured?))
    }

    /// How much of it the floor would.
    pub(crate) fn floor_share(&self) -> Option<f64> {
        Some(self.limit?.share(self.floor?))
    }

    /// As [`HEAD`] names them.
    pub(crate) fn cells(&self) -> [String; 7] {
        let text = |quantity: Option<Quantity>| quantity.map_or_else(|| "-".into(), |quantity| quantity.to_string());
        let verdict = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Over => "OVER",
            Verdict::Floor => "floor",
            Verdict::None => "-",
        };
        let limit = self.limit.map_or_else(|| "-".into(), |limit| limit.to_string());
        let (floor, measured) = (text(self.floor), text(self.measured));
        [self.row.clone(), self.what.clone(), limit, floor, measured, verdict.into(), self.detail.clone()]
    }
}

/// Everything that was measured.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    /// Few runs of small fleets.
    pub(crate) short: bool,
    pub(crate) lines: Vec<Line>,
}

const HEAD: [&str; 7] = ["row", "what", "limit", "floor", "measured", "verdict", "detail"];
/// Which columns hold numbers.
const RIGHT: [bool; 7] = [false, false, true, true, true, false, false];

const LEGEND: &str = "measured: ratio of medians (of peaks: the largest). floor: the best that it could come to here.\n\
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

/// One line of each kind, as `--json` writes them.
#[cfg(test)]
pub(crate) fn sample() -> Report {
    let line = |what: &str, measured: f64| Line::new(what, Quantity::Ratio(measured), "");
    let login = |connection: &str, ms: f64| {
        let line = Line::new(format!("mssh, {connection} connection"), Quantity::Ms(ms), "");
        line.raw(serde_json::json!({"peer": "mssh", "connection": connection}))
    };
    let lines = vec![
        line("first sync | a <b> & \"c\"", 0.1).limit(Quantity::Ratio(0.2)).of("P5"),
        Line::new("memory", Quantity::MiB(96.0), "")
            .limit(Quantity::MiB(48.0))
            .floor(Some(Quantity::MiB(12.0)))
            .of("P5"),
        line("ssh -G", 2.0).limit(Quantity::Ratio(1.8)).floor(Some(Quantity::Ratio(1.9))).of("P6"),
        Line::missing("1 GiB", "no `cat`").at_least(Quantity::Ratio(0.97)).of("P7"),
        Line::new("pushes", Quantity::Count(100.0), "").exactly(Quantity::Count(100.0)).of("P8"),
        login("first", 812.0).of("PEERS"),
        login("second", 799.6).of("PEERS"),
    ];
    Report { machine: crate::machine::sample(), short: false, lines }
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

    #[test]
    fn a_throughput_may_be_more_and_not_less() {
        let line = |measured| Line::new("1 GiB", Quantity::Ratio(measured), "").at_least(Quantity::Ratio(0.97));
        let verdict = |line: Line| line.of("P0").verdict;
        assert_eq!(verdict(line(1.2)), Verdict::Ok);
        assert_eq!(verdict(line(0.9)), Verdict::Over);
        assert_eq!(verdict(line(0.9).floor(Some(Quantity::Ratio(0.95)))), Verdict::Floor);
        assert_eq!(line(0.9).cells()[2], ">= 0.970x");
    }

    #[test]
    fn milliseconds_are_said_and_compared() {
        let line = Line::new("cold - warm", Quantity::Ms(12.34), "").limit(Quantity::Ms(20.0)).of("P0");
        assert_eq!((line.verdict, line.cells()[2].as_str()), (Verdict::Ok, "<= 20.0 ms"));
        assert_eq!(line.cells()[4], "12.3 ms");
    }

    #[test]
    fn a_report_is_the_same_when_it_is_read_again() {
        let written = serde_json::to_value(super::sample()).unwrap();
        let read: super::Report = serde_json::from_value(written.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), written);
    }
}
