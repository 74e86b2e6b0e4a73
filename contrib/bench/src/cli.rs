//! The command line.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use clap::{Args, Parser};

use crate::lab::Lab;
use crate::machine::Machine;
use crate::report::{Line, Report};
use crate::{chart, markdown, programs, rows};

const BIN: &str = "The folder of the ssh-eic program [default: $CARGO_TARGET_DIR/release or target/release]";

/// Measures the budgets of ssh-eic against what people use without it, against a fake AWS.
#[derive(Debug, Parser)]
#[command(name = "bench", version, after_help = rows::overview())]
struct Cli {
    /// The rows to measure [default: all]
    rows: Vec<String>,
    /// Fewer runs and 2,000 hosts: to see that it works
    #[arg(long)]
    short: bool,
    #[arg(long, value_name = "DIR", help = BIN)]
    bin: Option<PathBuf>,
    /// The folder of another OpenSSH client, for the rows that measure with two of them
    #[arg(long, value_name = "DIR")]
    ssh: Option<PathBuf>,
    /// Measure nothing: read what an earlier run wrote with --json
    #[arg(long, value_name = "FILE", conflicts_with_all = ["rows", "short", "bin", "ssh", "json"])]
    from: Option<PathBuf>,
    #[command(flatten)]
    outputs: Outputs,
}

/// Where the results go besides the terminal.
#[derive(Debug, Args)]
struct Outputs {
    /// Write every number to a file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the table as markdown, into a file that marks its place with `bench: begin` and `bench: end` comments
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write a chart
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Measures what was asked for, or reads it, and prints the table.
///
/// # Errors
/// Whatever could not be measured, in words for a person.
pub(crate) fn run() -> io::Result<()> {
    let cli = Cli::parse();
    cli.outputs.check()?;
    let (report, failed) = match &cli.from {
        Some(path) => (read(path).map_err(|error| about(path, &error))?, Vec::new()),
        None => measured(&cli)?,
    };
    report.print(&mut io::stdout().lock())?;
    cli.outputs.write(&report)?;
    if failed.is_empty() { Ok(()) } else { Err(io::Error::other(failed.join("; "))) }
}

/// The report, and which rows could not be measured.
fn measured(cli: &Cli) -> io::Result<(Report, Vec<String>)> {
    let rows = rows::chosen(&cli.rows).map_err(io::Error::other)?;
    let bin = program_folder(cli.bin.clone())?;
    let new_lab = || Lab::new(&bin, cli.ssh.as_deref(), cli.short);
    let mut lab = new_lab()?;
    let machine = Machine::of(&bin)?;
    let (mut lines, mut failed): (Vec<Line>, _) = (Vec::new(), Vec::new());
    for row in rows {
        let measured = (row.measure)(&mut lab).or_else(|error| {
            let error = error.to_string().lines().collect::<Vec<_>>().join(" ");
            failed.push(format!("{}: {error}", row.name));
            // Whatever it has left behind is not the next one's.
            lab = new_lab()?;
            Ok::<_, io::Error>(vec![Line::missing(row.about, error)])
        })?;
        lines.extend(measured.into_iter().map(|line| line.of(row.name)));
    }
    Ok((Report { machine, short: cli.short, lines }, failed))
}

fn read(path: &Path) -> io::Result<Report> {
    Ok(serde_json::from_reader(BufReader::new(File::open(path)?))?)
}

fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

impl Outputs {
    /// Known now whether they can be written, and not after minutes.
    fn check(&self) -> io::Result<()> {
        for path in [&self.json, &self.svg].into_iter().flatten() {
            File::options().append(true).create(true).open(path).map_err(|error| about(path, &error))?;
        }
        self.markdown.as_deref().map_or(Ok(()), markdown::check)
    }

    fn write(&self, report: &Report) -> io::Result<()> {
        let write = |path: &PathBuf, text: &[u8]| fs::write(path, text).map_err(|error| about(path, &error));
        if let Some(path) = &self.json {
            write(path, &serde_json::to_vec_pretty(report)?)?;
        }
        if let Some(path) = &self.svg {
            write(path, chart::svg(report).as_bytes())?;
        }
        self.markdown.as_ref().map_or(Ok(()), |path| markdown::put(path, &markdown::table(report)))
    }
}

fn program_folder(given: Option<PathBuf>) -> io::Result<PathBuf> {
    let folder = given.unwrap_or_else(|| programs::target().join("release"));
    if folder.join("ssh-eic").is_file() {
        return folder.canonicalize();
    }
    let place = folder.display();
    let hint = "build it with `cargo build --release -p ssh-eic`, or name its folder with --bin";
    Err(io::Error::other(format!("there is no ssh-eic program in {place}: {hint}")))
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::Cli;

    #[test]
    fn what_was_measured_before_is_not_measured_again() {
        Cli::command().debug_assert();
        for flags in [&["--short"][..], &["P5"], &["--json", "new.json"], &["--bin", "."], &["--ssh", "."]] {
            assert!(Cli::try_parse_from(["bench", "--from", "old.json"].iter().chain(flags)).is_err(), "{flags:?}");
        }
        assert!(Cli::try_parse_from(["bench", "--from", "old.json", "--svg", "a.svg", "--markdown", "a.md"]).is_ok());
    }
}
