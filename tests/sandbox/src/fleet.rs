//! The few hosts that the demo and the playground have.

use std::io;
use std::path::{Path, PathBuf};

use crate::model::{Instance, Network, STAGING_ACCOUNT, STAGING_REGION, State, UBUNTU};
use crate::options::{Form, Options};
use crate::sandbox::Sandbox;

/// Starts a sandbox with the fleet and with the folder of ssh-eic on PATH.
pub(crate) fn start(options: Options, bin: Option<&Path>) -> io::Result<Sandbox> {
    let form = options.form;
    let mut sandbox = Sandbox::start(options)?;
    if let Some(bin) = bin {
        sandbox.path_with(bin);
    }
    sandbox.add_many(fleet(form))?;
    Ok(sandbox)
}

/// The folder given, or that of this very program; `None` if no ssh-eic lies there.
pub(crate) fn program_folder(given: Option<PathBuf>) -> io::Result<Option<PathBuf>> {
    let folder = match given {
        Some(folder) => folder.canonicalize()?,
        None => std::env::current_exe()?.parent().map(Path::to_owned).unwrap_or_default(),
    };
    Ok(folder.join("ssh-eic").is_file().then_some(folder))
}

fn fleet(form: Form) -> Vec<Instance> {
    let prod = |name: &str, role: &str, address: &str| {
        Instance::new(name).tag("Environment", "prod").tag("Role", role).address(address)
    };
    let db = prod("prod-db-1", "db", "10.0.5.20").image(UBUNTU);
    let staging = Instance::new("staging-web-1").account(STAGING_ACCOUNT).region(STAGING_REGION);
    vec![
        prod("prod-web-1", "web", "10.0.3.7"),
        prod("prod-web-2", "web", "10.0.3.8"),
        // Without namespaces an unprivileged sshd can log in the current user only.
        if form == Form::Namespaces { db.user("ubuntu") } else { db },
        // The network of a stopped instance answers nothing at all.
        prod("prod-batch-1", "batch", "10.0.9.4").state(State::Stopped).network(Network::Blackhole),
        staging.tag("Environment", "staging").address("10.0.12.5"),
    ]
}
