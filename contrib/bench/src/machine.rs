//! What it all ran on.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

/// The machine and the programs.
#[derive(Debug, Serialize, Deserialize)]
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
            system: output_of(Command::new("uname").args(["-srm"])),
            openssh,
            ssh_eic: String::from_utf8_lossy(&version.stdout).trim().to_owned(),
            program,
        })
    }

    /// In two lines, for the terminal.
    pub(crate) fn describe(&self) -> String {
        let [hardware, programs] = self.in_words();
        format!("{hardware}\n{programs} ({})", self.program.display())
    }

    /// In two lines, for publication: without the path of the program.
    pub(crate) fn in_words(&self) -> [String; 2] {
        let Self { cpu, cores, system, openssh, ssh_eic, .. } = self;
        let plural = if *cores == 1 { "" } else { "s" };
        [format!("{cpu}, {cores} core{plural}, {system}"), format!("{openssh}, {ssh_eic}")]
    }
}

#[cfg(test)]
pub(crate) fn sample() -> Machine {
    let text = |text: &str| String::from(text);
    Machine {
        cpu: text("A <fast> CPU"),
        cores: 2,
        system: text("Linux 6.1"),
        openssh: text("OpenSSH_9.2p1"),
        ssh_eic: text("ssh-eic 0.1.0"),
        program: "/secret/place/ssh-eic".into(),
    }
}

fn cpu() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
    match model {
        Some((_, model)) => model.trim().to_owned(),
        None => output_of(Command::new("sysctl").args(["-n", "machdep.cpu.brand_string"])),
    }
}

fn output_of(command: &mut Command) -> String {
    match command.output() {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => String::from("unknown"),
    }
}
