//! Runs the program, prints its error, returns its exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    let exit = ssh_eic::run(&std::env::args_os().collect::<Vec<_>>());
    if let Some(error) = &exit.error {
        ssh_eic::ui::error(error);
    }
    ExitCode::from(exit.code)
}
