//! What it all ran on.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;

/// The machine and the programs.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    cpu: String,
    cores: usize,
    system: String,
    openssh: String,
    ssh_eic: String,
    program: PathBuf,
}

impl Machine {
    /// This machine, with the ssh-eic of a folder.
    pub(crate) fn of(bin: &Path) -> io::Result<Self> {
        let program = bin.join("ssh-eic");
        let output = Command::new("ssh").arg("-V").output()?;
        let openssh = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let version = Command::new(&program).arg("--version").output()?;
        Ok(Self {
            cpu: cpu(),
            cores: std::thread::available_parallelism()?.get(),
            system: said(Command::new("uname").args(["-srm"])),
            openssh,
            ssh_eic: String::from_utf8_lossy(&version.stdout).trim().to_owned(),
            program,
        })
    }

    /// In two lines.
    pub(crate) fn describe(&self) -> String {
        let Self { cpu, cores, system, openssh, ssh_eic, program } = self;
        let plural = if *cores == 1 { "" } else { "s" };
        format!("{cpu}, {cores} core{plural}, {system}\n{ssh_eic} ({}), {openssh}", program.display())
    }
}

fn cpu() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
    match model {
        Some((_, model)) => model.trim().to_owned(),
        None => said(Command::new("sysctl").args(["-n", "machdep.cpu.brand_string"])),
    }
}

fn said(command: &mut Command) -> String {
    match command.output() {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => String::from("unknown"),
    }
}
