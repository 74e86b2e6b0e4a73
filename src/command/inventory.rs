//! `ssh-eic inventory`: the index as a dynamic inventory for Ansible.
//!
//! Nothing is asked of AWS and nothing is written. A host is called by the name that ssh knows it by, and ssh does the
//! rest, unless `--self-contained` asks for all of it in variables.

use std::collections::BTreeMap;
use std::path::Path;

use crate::cli;
use crate::command::{Context, Exit, print_json};
use crate::discover::sync;
use crate::domain::fleet::Host;
use crate::domain::inventory::{self, Inventory, Options};
use crate::domain::render::{self, Settings};
use crate::domain::standalone;
use crate::error::{Error, Kind, Result};
use crate::store::config;
use crate::store::index::Index;
use crate::sys::environment;

/// States in which a play can reach a host, or will by the time that it comes to it.
const REACHABLE: [&str; 2] = ["running", "pending"];

/// Runs it.
///
/// # Errors
///
/// [`Kind::NoHost`] if there is no index yet, or no such host in it; a config file that cannot be read.
pub fn run(context: &Context, args: &cli::Inventory) -> Result<Exit> {
    let index = Index::open_existing(&context.paths.index())?;
    let config = config::load(&context.paths.config, &context.paths.machine_config)?;
    let settings = sync::settings(&context.paths, &config, &environment::own_binary()?, context.flags.clone())?;
    let hosts = match &args.host {
        Some(name) => vec![index.host(name)?.ok_or_else(|| {
            Error::new(Kind::NoHost, format!("no managed host is called {name:?}")).hint("ssh-eic sync, if it is new")
        })?],
        None => index.hosts()?,
    };
    let connection =
        if args.self_contained { Some(Connection::new(context, &settings, &index, &hosts)?) } else { None };
    let options = |host: &Host| connection.as_ref().map(|connection| connection.options(host));
    let printed = if args.host.is_some() {
        inventory::vars(&hosts[0], options(&hosts[0]).as_ref())
    } else {
        let listed = hosts.iter().filter(|host| args.all_states || REACHABLE.contains(&host.state.as_str()));
        Inventory::of(listed, &|host| settings.names(host)).list(&options)
    };
    print_json(&printed)?;
    Ok(Exit::default())
}

/// How a client without any config reaches hosts.
struct Connection {
    settings: Settings,
    /// The folder as it is here and now.
    folder: String,
    /// What the proxy has to know of each source.
    sources: BTreeMap<String, Vec<(&'static str, String)>>,
}

impl Connection {
    fn new(context: &Context, settings: &Settings, index: &Index, hosts: &[Host]) -> Result<Self> {
        let mut sources = BTreeMap::new();
        for host in hosts {
            if !sources.contains_key(&host.source) {
                let flags = index.source(&host.source)?.map(|record| record.proxy_flags()).unwrap_or_default();
                sources.insert(host.source.clone(), flags);
            }
        }
        let (folder, flags) = match by_variable(context) {
            Some(folder) => (folder, Vec::new()),
            None => {
                (settings.folder.clone(), context.flags.iter().filter(|(flag, _)| flag == "--home").cloned().collect())
            }
        };
        // Whether there are masters is in Ansible's hands.
        let here = Settings { folder, flags, control_persist: None, ..settings.clone() };
        Ok(Self { settings: here, folder: settings.folder.clone(), sources })
    }

    fn options(&self, host: &Host) -> Options {
        let flags = self.sources.get(&host.source).map(Vec::as_slice).unwrap_or_default();
        let has_room = render::has_room_for_sockets(&self.folder, host.user.as_str().len());
        inventory::for_ansible(standalone::options(host, &self.settings, flags), has_room)
    }
}

/// Our folder by the variable that leads to it, which ssh looks at when it connects (since 8.5): an inventory that was
/// made in one container is used in another. None if no variable does.
fn by_variable(context: &Context) -> Option<String> {
    let is = |name: &str, path: &Path| environment::variable(name).is_some_and(|value| Path::new(&value) == path);
    match &context.paths.home {
        None => is("SSH_EIC_HOME", &context.paths.eic).then(|| "${SSH_EIC_HOME}".to_owned()),
        Some(home) => is("HOME", home).then(|| "${HOME}/.ssh/eic".to_owned()),
    }
}
