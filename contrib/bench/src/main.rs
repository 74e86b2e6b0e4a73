//! The budgets of ssh-eic, measured side by side: `cargo run --release -p bench`.
//!
//! A budget is a ratio of two things that were measured in one run on one machine, or a difference of them; a time by
//! itself says more about the machine. Nothing passes or fails here: an exit code other than 0 means that something
//! could not be measured at all.
//!
//! - `cli`: the command line
//! - `rows`: what is measured, a row for each budget
//! - `lab`: sandboxes with fleets, and the programs that run in them
//! - `files`: ssh configs to compare with, made from the one that `sync` wrote
//! - `ways`: ways to log in to the same instances
//! - `tls_relay`: a TLS relay to compare tunnels with
//! - `programs`: where the programs are that people use instead
//! - `meter`: the small process that starts what is measured
//! - `stats`: what many samples say
//! - `report`: the table and the raw numbers
//! - `markdown`: the table in contrib/bench/README.md
//! - `chart`: the picture for the README
//! - `machine`: what it all ran on

mod chart;
mod cli;
mod files;
mod lab;
mod machine;
mod markdown;
mod meter;
mod programs;
mod report;
mod rows;
mod stats;
mod tls_relay;
mod ways;

use std::process::ExitCode;

fn main() -> ExitCode {
    // This program is also what it needs to have running: one build makes everything.
    let result = match std::env::args().nth(1).as_deref() {
        _ if meter::is_called() => meter::obey(),
        Some("serve") => sandbox::cli::run(),
        Some(tls_relay::ARGUMENT) => tls_relay::run(&std::env::args().skip(2).collect::<Vec<_>>()),
        _ => cli::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: error: {error}");
            ExitCode::FAILURE
        }
    }
}
