//! A sandbox to play with: a shell inside, and orders to one that runs.

use std::fs;
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use clap::ValueEnum;

use crate::control::{Request, Response, Switches, ask};
use crate::fleet;
use crate::inside::Inside;
use crate::model::{Change, Instance, Network, State};
use crate::options::{Form, Options};
use crate::sandbox::Sandbox;

/// Tells orders which sandbox is meant.
const DIR_VARIABLE: &str = "SANDBOX_DIR";

/// How an instance's address can behave, as a word on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Behaviour {
    /// sshd answers
    Ok,
    /// connections are reset
    Refuse,
    /// no answer at all
    Blackhole,
    /// accepts and never sends a byte
    Silent,
    /// on another network
    Away,
    /// an sshd with another host key answers
    Stranger,
}

const SWITCH_EXAMPLES: &str = r#"Examples:
  '{"latency_ms":{"*":500}}'
  '{"deny":["SendSSHPublicKey@ubuntu"]}'
  '{"fail":{"DescribeInstances@eu-west-1":{"status":503,"code":"Unavailable","times":2}}}'
  '{"throttle":{"SendSSHPublicKey":{"rate_per_s":20,"burst":20}}}'
  '{"key_ttl_s":5,"clock_skew_s":900,"denied_regions":["us-east-1"]}'"#;

#[derive(Debug, Subcommand)]
pub(crate) enum Order {
    /// Lists the instances
    List,
    /// Starts an instance
    Start {
        /// Its Name tag or id
        name: String,
    },
    /// Stops an instance, which ends its sessions
    Stop {
        /// Its Name tag or id
        name: String,
    },
    /// Terminates an instance
    Terminate {
        /// Its Name tag or id
        name: String,
    },
    /// Launches an instance
    Add {
        /// Its Name tag
        name: String,
        /// Its private address [default: some of 10.64.0.0/10]
        #[arg(long)]
        address: Option<String>,
        /// More tags
        #[arg(long = "tag", value_name = "KEY=VALUE")]
        tags: Vec<String>,
    },
    /// Changes how an instance's address behaves
    Network {
        /// Its Name tag or id
        name: String,
        /// What it does
        behaviour: Behaviour,
    },
    /// Throws switches, given as JSON
    #[command(after_help = SWITCH_EXAMPLES)]
    Switch {
        /// The switches to merge
        json: String,
    },
    /// Puts all switches back
    Reset,
    /// Shows the API calls so far
    Calls,
    /// Sends one raw request to the control socket and prints the answer
    Ctl {
        /// Such as '"warm"' or '{"keys":{"id":"i-…","user":"ubuntu"}}'
        json: String,
    },
    /// Runs a program inside
    Run {
        /// Program and arguments
        #[arg(trailing_var_arg = true, required = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
}

/// Starts a sandbox with a shell in it, or without a terminal keeps it until stdin ends.
pub(crate) fn run(options: Options, bin: Option<PathBuf>) -> io::Result<()> {
    let bin = fleet::program_folder(bin)?;
    let mut sandbox = fleet::start(options, bin.as_deref())?;
    if let Some(own) = std::env::current_exe()?.parent() {
        sandbox.path_with(own);
    }
    explain(&sandbox, bin.is_some())?;
    if !io::stdin().is_terminal() {
        io::stdin().read_to_end(&mut Vec::new())?;
        return Ok(());
    }
    fs::write(sandbox.home().join(".bashrc"), "PS1='(sandbox) \\w \\$ '\n")?;
    let mut shell = sandbox.command("bash");
    shell.env(DIR_VARIABLE, sandbox.dir()).env("TERM", std::env::var_os("TERM").unwrap_or_else(|| "dumb".into()));
    shell.status().map(drop)
}

fn explain(sandbox: &Sandbox, has_program: bool) -> io::Result<()> {
    println!("A fake AWS listens at {}, with these instances:\n", sandbox.endpoint());
    list(&sandbox.instances()?)?;
    let ssh = match sandbox.form() {
        Form::Namespaces => "ssh",
        Form::Loopback => "ssh -F ~/.ssh/config",
    };
    let program = if has_program { "" } else { "    (no ssh-eic program here: name its folder with --bin)\n" };
    println!(
        "\n{program}    ssh-eic init --profile prod --region eu-west-1\n    {ssh} prod-web-1 hostname\n\n\
         sandbox stop prod-web-1, sandbox network prod-web-1 blackhole, sandbox calls,\n\
         sandbox switch '{{\"latency_ms\":{{\"SendSSHPublicKey\":2000}}}}', sandbox reset, sandbox help.\n\
         From another terminal: {DIR_VARIABLE}={} sandbox run bash\n",
        sandbox.dir().display()
    );
    Ok(())
}

/// Carries out one order to the sandbox of `$SANDBOX_DIR`.
pub(crate) fn obey(order: Order) -> io::Result<()> {
    let dir = std::env::var_os(DIR_VARIABLE).map(PathBuf::from);
    let dir = dir.ok_or_else(|| io::Error::other(format!("which sandbox? Set {DIR_VARIABLE} to its folder")))?;
    let state = |name: &str, state| change(&dir, name, Change { state: Some(state), ..Change::default() });
    match order {
        Order::List => list(&instances(&dir)?),
        Order::Start { name } => state(&name, State::Running),
        Order::Stop { name } => state(&name, State::Stopped),
        Order::Terminate { name } => state(&name, State::Terminated),
        Order::Add { name, address, tags } => add(&dir, &name, address, &tags),
        Order::Network { name, behaviour } => {
            let network = Some(network(behaviour));
            change(&dir, &name, Change { network, ..Change::default() })
        }
        Order::Switch { json } => {
            let switches: Switches = serde_json::from_str(&json)?;
            ask(&dir, &Request::Switches(Box::new(switches))).map(drop)
        }
        Order::Reset => ask(&dir, &Request::ResetSwitches).map(drop),
        Order::Calls => calls(&dir),
        Order::Ctl { json } => {
            let response = ask(&dir, &serde_json::from_str(&json)?)?;
            writeln!(io::stdout(), "{}", serde_json::to_string(&response)?)
        }
        Order::Run { command } => inside(&dir, &command),
    }
}

fn network(behaviour: Behaviour) -> Network {
    match behaviour {
        Behaviour::Ok => Network::Ok,
        Behaviour::Refuse => Network::Refuse,
        Behaviour::Blackhole => Network::Blackhole,
        Behaviour::Silent => Network::Silent,
        Behaviour::Away => Network::Away,
        Behaviour::Stranger => Network::Stranger,
    }
}

fn instances(dir: &Path) -> io::Result<Vec<Instance>> {
    match ask(dir, &Request::Instances)? {
        Response::Instances(instances) => Ok(instances),
        other => Err(io::Error::other(format!("unexpected answer {other:?}"))),
    }
}

fn change(dir: &Path, name: &str, change: Change) -> io::Result<()> {
    let all = instances(dir)?;
    let found = all.iter().find(|instance| instance.id == name || instance.name() == name);
    let id = found.ok_or_else(|| io::Error::other(format!("no instance {name}")))?.id.clone();
    ask(dir, &Request::Update { id, change: Box::new(change) }).map(drop)
}

fn add(dir: &Path, name: &str, address: Option<String>, tags: &[String]) -> io::Result<()> {
    let mut instance = Instance::new(name).address(address.unwrap_or_default());
    for tag in tags {
        let (key, value) = tag.split_once('=').unwrap_or((tag, ""));
        instance = instance.tag(key, value);
    }
    match ask(dir, &Request::Add(vec![instance]))? {
        Response::Ids(ids) => writeln!(io::stdout(), "{}", ids.join("\n")),
        other => Err(io::Error::other(format!("unexpected answer {other:?}"))),
    }
}

fn list(instances: &[Instance]) -> io::Result<()> {
    let mut output = io::stdout().lock();
    for i in instances {
        let state = i.state.name_and_code().0;
        let place = format!("{}:{}", i.address, i.listen);
        writeln!(output, "    {:<16} {} {:<15} {state:<8} {} {}", i.name(), i.id, place, i.account, i.region)?;
    }
    Ok(())
}

fn calls(dir: &Path) -> io::Result<()> {
    let Response::Calls(calls) = ask(dir, &Request::Calls)? else { return Ok(()) };
    let mut output = io::stdout().lock();
    for call in calls {
        let outcome = call.error.as_deref().unwrap_or("ok");
        writeln!(
            output,
            "{} {} {} {} {outcome} {}",
            call.time_ms, call.service, call.action, call.region, call.params
        )?;
    }
    Ok(())
}

fn inside(dir: &Path, command: &[String]) -> io::Result<()> {
    let mut inside = Inside::of(dir)?;
    if let Some(own) = std::env::current_exe()?.parent() {
        inside.path_with(own);
    }
    let [program, args @ ..] = command else { return Ok(()) };
    let mut run = inside.command(program);
    run.args(args).env(DIR_VARIABLE, dir);
    // Its exit status is the exit status of this program.
    Err(run.exec())
}
