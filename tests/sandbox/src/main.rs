//! The sandbox's own program: server, demo and playground.

use std::process::ExitCode;

fn main() -> ExitCode {
    match sandbox::cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sandbox: error: {error}");
            ExitCode::FAILURE
        }
    }
}
