//! The command line.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use clap::Parser;

use crate::lab::Lab;
use crate::machine::Machine;
use crate::report::{Line, Report};
use crate::rows;

const BIN: &str = "The folder of the ssh-eic program [default: $CARGO_TARGET_DIR/release or target/release]";

/// Measures the budgets of ssh-eic against what people use without it, on a pretended AWS.
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
    /// Write every number to a file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Measures what was asked for and prints the table.
///
/// # Errors
/// Whatever could not be measured, in words for a person.
pub(crate) fn run() -> io::Result<()> {
    let cli = Cli::parse();
    let rows = rows::chosen(&cli.rows).map_err(io::Error::other)?;
    let bin = program_folder(cli.bin)?;
    // Known now whether it can be written, and not after minutes.
    let create = |path: &PathBuf| {
        File::create(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
    };
    let json = cli.json.as_ref().map(create).transpose()?;
    let mut lab = Lab::new(&bin, cli.short)?;
    let machine = Machine::of(&bin)?;
    let mut lines: Vec<Line> = Vec::new();
    for row in rows {
        let measured = (row.measure)(&mut lab).map_err(|error| io::Error::other(format!("{}: {error}", row.name)))?;
        lines.extend(measured.into_iter().map(|line| line.of(row.name)));
    }
    let report = Report { machine, short: cli.short, lines };
    report.print(&mut io::stdout().lock())?;
    json.map_or(Ok(()), |file| serde_json::to_writer_pretty(file, &report).map_err(io::Error::from))
}

fn program_folder(given: Option<PathBuf>) -> io::Result<PathBuf> {
    let folder = given.unwrap_or_else(|| match std::env::var_os("CARGO_TARGET_DIR").filter(|path| !path.is_empty()) {
        Some(target) => Path::new(&target).join("release"),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/release"),
    });
    if folder.join("ssh-eic").is_file() {
        return folder.canonicalize();
    }
    let place = folder.display();
    let hint = "build it with `cargo build --release -p ssh-eic`, or name its folder with --bin";
    Err(io::Error::other(format!("there is no ssh-eic program in {place}: {hint}")))
}
