//! Playing one instance: its host key, its `sshd_config`, and one `sshd -i` for each connection.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::{World, host_keys};
use crate::model::Instance;
use crate::options::Form;
use crate::program::{self, SYSTEM_PATH, find, ssh_keygen};

/// The public host keys of the first boot, for the console output.
const BOOT_KEYS: &str = "console_keys.pub";

/// A script that `AuthorizedKeysCommand` runs, in place of the chain of curl and openssl commands on a real instance. It
/// records each run.
const KEY_COMMAND: &str = r#"# folder of the instance, seconds, user
echo run >>"$1/key_lookups"
sleep "$2"
cat "$1/keys/$3" 2>/dev/null
exit 0
"#;
/// Its name in the folder of programs.
const KEY_COMMAND_NAME: &str = "authorized_keys_command";

/// Which instances have their files, with a lock for each while they are made.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    instances: Mutex<HashMap<String, Arc<Mutex<bool>>>>,
    /// Held while the authority of host certificates is made.
    pub(super) authority: Mutex<()>,
}

/// The folder of an instance.
fn folder(world: &World, id: &str) -> PathBuf {
    world.dir.join("instances").join(id)
}

/// Makes host key and configuration, once.
fn prepare(world: &World, instance: &Instance) -> io::Result<PathBuf> {
    let lock = {
        let mut all = world.prepared.instances.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(instance.id.clone()).or_default())
    };
    let dir = folder(world, &instance.id);
    let mut done = lock.lock().unwrap_or_else(PoisonError::into_inner);
    if !*done {
        fs::create_dir_all(dir.join("keys"))?;
        host_keys::generate(&dir, instance)?;
        host_keys::certify(world, &dir, instance)?;
        fs::write(dir.join(BOOT_KEYS), host_keys::public_keys(&dir, instance)?)?;
        fs::write(dir.join("sshd_config"), configuration(world, instance, &dir)?)?;
        *done = true;
    }
    Ok(dir)
}

/// Prepares every instance.
pub(super) fn prepare_all(world: &World) -> io::Result<()> {
    let instances = world.lock().fleet.all().to_vec();
    instances.iter().try_for_each(|instance| prepare(world, instance).map(drop))
}

/// Replaces the instance's host keys if `generate`, and certifies them.
pub(super) fn update_host_keys(world: &World, instance: &Instance, generate: bool) -> io::Result<()> {
    let dir = prepare(world, instance)?;
    if generate {
        host_keys::generate(&dir, instance)?;
    }
    host_keys::certify(world, &dir, instance)?;
    fs::write(dir.join("sshd_config"), configuration(world, instance, &dir)?)
}

/// Forgets an instance's files.
pub(super) fn forget(world: &World, id: &str) {
    for id in [id, &stranger_id(id)] {
        world.prepared.instances.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        let _ = fs::remove_dir_all(folder(world, id));
    }
}

/// The public host keys of the first boot and their SHA-256 fingerprints, one a line, for the console output.
pub(crate) fn console_keys(world: &World, instance: &Instance) -> io::Result<(String, String)> {
    let keys = prepare(world, instance)?.join(BOOT_KEYS);
    let fingerprints = Command::new(ssh_keygen()?).arg("-lf").arg(&keys).output()?;
    Ok((fs::read_to_string(keys)?, String::from_utf8_lossy(&fingerprints.stdout).into_owned()))
}

fn configuration(world: &World, instance: &Instance, dir: &Path) -> io::Result<String> {
    let host_keys = host_keys::options(dir, instance);
    let dir = dir.display();
    let bin = world.dir.join("bin");
    let name: String = if instance.name().is_empty() { &instance.id } else { instance.name() }
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' })
        .collect();
    let id = &instance.id;
    let any_key = if instance.accepts_any_key {
        // The command prints the key that the client offers.
        let (echo, user) = (find("echo")?, &world.user);
        format!("AuthorizedKeysCommand {} %t %k\nAuthorizedKeysCommandUser {user}\n", echo.display())
    } else {
        String::new()
    };
    Ok(format!(
        "{host_keys}\
         {any_key}\
         AuthorizedKeysFile {dir}/keys/%u\n\
         StrictModes no\n\
         UsePAM no\n\
         PubkeyAuthentication yes\n\
         PasswordAuthentication no\n\
         KbdInteractiveAuthentication no\n\
         PermitRootLogin prohibit-password\n\
         PidFile none\n\
         MaxStartups 10000\n\
         MaxSessions 1000\n\
         Subsystem sftp internal-sftp\n\
         SetEnv SSH_EIC_INSTANCE={id} SSH_EIC_NAME={name} PATH={bin}:{SYSTEM_PATH}\n\
         AcceptEnv LANG LC_*\n\
         PrintMotd no\n\
         PrintLastLog no\n\
         UseDNS no\n\
         LogLevel VERBOSE\n\
         {more}\n",
        bin = bin.display(),
        more = instance.sshd_options,
    ))
}

/// The server's folders, and the `hostname` that sessions find first: all instances share the machine's own, and
/// people like to see where they are.
pub(super) fn furnish(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let bin = dir.join("bin");
    fs::create_dir(&bin)?;
    let hostname = bin.join("hostname");
    fs::write(&hostname, "#!/bin/sh\necho \"$SSH_EIC_NAME\"\n")?;
    fs::set_permissions(&hostname, fs::Permissions::from_mode(0o755))?;
    fs::write(bin.join(KEY_COMMAND_NAME), KEY_COMMAND)?;
    fs::create_dir(dir.join("instances"))?;
    fs::create_dir_all(dir.join("users"))
}

/// The sshd processes of open connections, by instance.
#[derive(Debug, Default)]
pub(crate) struct Children(Mutex<HashMap<i32, String>>);

impl Children {
    /// Ends the sessions of one instance.
    pub(super) fn kill(&self, id: &str) {
        self.kill_where(|instance| instance == id);
    }

    /// Ends all sessions.
    pub(super) fn kill_all(&self) {
        self.kill_where(|_| true);
    }

    fn kill_where(&self, condition: impl Fn(&str) -> bool) {
        let children = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (pid, _) in children.iter().filter(|(_, id)| condition(id)) {
            if let Some(pid) = Pid::from_raw(*pid) {
                let _ = kill_process(pid, Signal::TERM);
            }
        }
    }

    /// Waits for the child. It is reaped only after its pid has left the table, so that no kill hits a stranger.
    fn attend(&self, mut child: Child, id: &str) -> io::Result<()> {
        let pid = child.id().cast_signed();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(pid, id.to_owned());
        if let Some(pid) = Pid::from_raw(pid) {
            while waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
                .is_err_and(|error| error == rustix::io::Errno::INTR)
            {}
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&pid);
        child.wait().map(drop)
    }
}

/// A connection to a new sshd of the instance.
pub(crate) fn connect(world: &Arc<World>, instance: Arc<Instance>) -> io::Result<TcpStream> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    near.set_nodelay(true)?;
    let (far, _) = listener.accept()?;
    let world = Arc::clone(world);
    std::thread::spawn(move || {
        if let Err(error) = play(&world, &instance, far) {
            eprintln!("{}: {error}", instance.id);
        }
    });
    Ok(near)
}

/// Plays the instance on one connection, to its end.
pub(crate) fn play(world: &World, instance: &Instance, stream: TcpStream) -> io::Result<()> {
    let dir = prepare(world, instance)?;
    let log = File::options().create(true).append(true).open(dir.join("sshd.log"))?;
    let mut command = Command::new(program::sshd()?);
    command.args(["-i", "-e", "-f"]).arg(dir.join("sshd_config")).env_clear().env("PATH", SYSTEM_PATH);
    let key_command = world.lock().switches.key_command_ms;
    if let Some(milliseconds) = key_command.filter(|_| !instance.accepts_any_key) {
        command.args(key_command_options(world, &dir, milliseconds)?);
    }
    command.current_dir("/").stderr(log).stdin(OwnedFd::from(stream.try_clone()?)).stdout(OwnedFd::from(stream));
    let child = command.spawn()?;
    // The command still holds the socket.
    drop(command);
    world.children.attend(child, &instance.id)
}

/// Options that replace the file of authorized keys by a command. sshd requires that the owner of the program and of
/// every folder above it is root, so that the program is the system's shell.
fn key_command_options(world: &World, dir: &Path, milliseconds: u64) -> io::Result<Vec<String>> {
    let (shell, script) = (find("sh")?, world.dir.join("bin").join(KEY_COMMAND_NAME));
    let seconds = Duration::from_millis(milliseconds).as_secs_f64();
    let command = format!("{} {} {} {seconds} %u", shell.display(), script.display(), dir.display());
    let options = [
        "AuthorizedKeysFile=none".to_owned(),
        format!("AuthorizedKeysCommand={command}"),
        format!("AuthorizedKeysCommandUser={}", world.user),
    ];
    Ok(options.into_iter().flat_map(|option| ["-o".to_owned(), option]).collect())
}

/// Plays the host that answers at the instance's address in its place (`Network::Stranger`).
pub(super) fn play_stranger(world: &World, instance: &Instance, stream: TcpStream) -> io::Result<()> {
    let id = stranger_id(&instance.id);
    play(world, &Instance::new("stranger").id(id).accepts_any_key(), stream)
}

/// The name of a stranger's folder, beside those of the instances.
pub(crate) fn stranger_id(id: &str) -> String {
    format!("{id}-stranger")
}

/// What sshd needs on this machine outside namespaces.
pub(super) fn check(form: Form) -> io::Result<()> {
    program::sshd()?;
    ssh_keygen()?;
    if form == Form::Loopback && rustix::process::geteuid().is_root() {
        fs::create_dir_all("/run/sshd")?;
    }
    Ok(())
}
