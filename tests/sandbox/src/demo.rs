//! The demonstration, step by step: the real program, real ssh, scp and rsync, a real sshd, a fake AWS on loopback.
//!
//! What is printed behind each `$` is what the shell inside the sandbox runs, word for word; what follows is its output.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::Stdio;

use crate::control::Call;
use crate::fleet;
use crate::model::Instance;
use crate::options::{Form, Options};
use crate::program;
use crate::sandbox::Sandbox;

/// Shows everything and cleans up.
pub(crate) fn run(options: Options, bin: Option<PathBuf>) -> io::Result<()> {
    let Some(bin) = fleet::program_folder(bin)? else {
        return Err(io::Error::other("no ssh-eic program there: name its folder with --bin"));
    };
    let form = options.form;
    let sandbox = fleet::start(options, Some(&bin))?;
    introduce(form);
    let script = Script::new(form);
    step(&sandbox, "ssh-eic init --profile prod --region eu-west-1", 0)?;
    step(&sandbox, "ssh-eic list", 0)?;
    for line in script.logins() {
        step(&sandbox, &line, 0)?;
    }
    println!("# A stopped instance is reported as stopped, not as a network error:");
    step(&sandbox, &format!("{} prod-batch-1 uptime", script.ssh), 255)?;
    for line in script.copies(&sandbox) {
        step(&sandbox, &line, 0)?;
    }
    conclude(&sandbox)
}

fn introduce(form: Form) {
    println!("# A fake AWS on loopback with four instances of account 111122223333, each a real sshd process.");
    match form {
        Form::Namespaces => println!("# Private network and mount namespaces: nothing outside them is touched.\n"),
        Form::Loopback => println!(
            "# Without root there are no namespaces: every instance is a port of 127.0.0.1, and ssh, which finds\n\
             # ~/.ssh/config by the user database and not by $HOME, has to be told with -F where the file is.\n"
        ),
    }
}

/// How the three programs are called in each form.
struct Script {
    ssh: &'static str,
    scp: &'static str,
    rsync: &'static str,
    form: Form,
}

impl Script {
    fn new(form: Form) -> Self {
        let (ssh, scp, rsync) = match form {
            Form::Namespaces => ("ssh", "scp", "rsync -a"),
            Form::Loopback => {
                ("ssh -F ~/.ssh/config", "scp -F ~/.ssh/config", "rsync -a -e \"ssh -F $HOME/.ssh/config\"")
            }
        };
        Self { ssh, scp, rsync, form }
    }

    fn logins(&self) -> [String; 3] {
        ["prod-web-1 hostname", "prod-web-1 uptime", "prod-db-1 id -un"].map(|rest| format!("{} {rest}", self.ssh))
    }

    fn copies(&self, sandbox: &Sandbox) -> Vec<String> {
        let Self { ssh, scp, rsync, form } = self;
        // Off namespaces a remote path without a root would lie in the real home.
        let remote = match form {
            Form::Namespaces => String::new(),
            Form::Loopback => format!("{}/", sandbox.dir().join("users").display()),
        };
        let mut lines = vec![
            String::from("mkdir site && date > site/index.html"),
            format!("{scp} site/index.html prod-web-1:{remote}page.html"),
            format!("{scp} prod-web-1:{remote}page.html back.html && cmp site/index.html back.html && echo same"),
        ];
        if program::find("rsync").is_ok() {
            lines.push(format!("{rsync} site/ prod-web-2:{remote}site/ && {ssh} prod-web-2 ls {remote}site"));
        } else {
            println!("# rsync is not installed here and left out.");
        }
        lines
    }
}

/// Prints one line, runs it inside, and wants this exit status.
fn step(sandbox: &Sandbox, line: &str, expected: i32) -> io::Result<()> {
    println!("$ {line}");
    io::stdout().flush()?;
    let status = sandbox.command("bash").args(["-c", line]).stdin(Stdio::null()).status()?;
    println!();
    if status.code() == Some(expected) {
        return Ok(());
    }
    Err(io::Error::other(format!("the demo stops here: `{line}` ended with {status}, expected {expected}")))
}

/// Prints the API calls and the pushed keys.
fn conclude(sandbox: &Sandbox) -> io::Result<()> {
    let instances = sandbox.instances()?;
    let calls = sandbox.calls()?;
    let mut actions: BTreeMap<&str, usize> = BTreeMap::new();
    for call in &calls {
        *actions.entry(&call.action).or_default() += 1;
    }
    let actions: Vec<String> = actions.iter().map(|(action, count)| format!("{action} {count}x")).collect();
    println!("# API calls: {}. Pushed keys, valid for a minute each:", actions.join(", "));
    let pushed = calls.iter().filter(|call| call.action == "SendSSHPublicKey" && call.error.is_none());
    let mut count = 0;
    for call in pushed {
        count += 1;
        println!("#   {}", describe(call, &instances));
    }
    if count == 0 {
        return Err(io::Error::other("not one key was pushed: this was not ssh-eic"));
    }
    println!("# No key management, no bastion, no wrapper command. The sandbox has been removed.");
    Ok(())
}

fn describe(call: &Call, instances: &[Instance]) -> String {
    let param = |name: &str| call.params.get(name).and_then(|value| value.as_str()).unwrap_or_default();
    let id = param("InstanceId");
    let name = instances.iter().find(|instance| instance.id == id).map_or("?", Instance::name);
    format!("{id} ({name}) for {}", param("InstanceOSUser"))
}
