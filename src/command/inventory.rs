//! `ssh-eic inventory`: the index as a dynamic inventory for Ansible.
//!
//! Reads the index only: no AWS requests, and no file is written. Ansible connects to each host by its alias, with the
//! generated ssh config; with `--self-contained`, host variables hold all ssh options instead.

use std::collections::BTreeMap;
use std::path::Path;

use crate::cli;
use crate::command::{Context, Exit, print_json};
use crate::discover::sync;
use crate::domain::fleet::Host;
use crate::domain::inventory::{self, Inventory, Options};
use crate::domain::ssh_config::render::{self, Settings};
use crate::domain::ssh_config::standalone;
use crate::error::{Error, Kind, Result};
use crate::store::config;
use crate::store::index::Index;
use crate::sys::environment;

/// States of the hosts in the inventory unless `--all-states` is given.
const REACHABLE: [&str; 2] = ["running", "pending"];

/// Prints the inventory, or the variables of one host.
///
/// # Errors
///
/// [`Kind::NoHost`] if there is no index or no such host in it; a config file that cannot be read.
pub fn run(context: &Context, args: &cli::Inventory) -> Result<Exit> {
    let index = Index::open_existing(&context.paths.index())?;
    let config = config::load(&context.paths.config, &context.paths.machine_config)?;
    let settings = sync::settings(&context.paths, &config, &environment::own_binary()?, context.flags.clone())?;
    let hosts = match &args.host {
        Some(name) => vec![index.host(name)?.ok_or_else(|| {
            Error::new(Kind::NoHost, format!("there is no managed host {name:?}"))
                .hint("if the instance is new, run ssh-eic sync")
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
        Inventory::new(listed, &|host| settings.names(host)).list(&options)
    };
    print_json(&printed)?;
    Ok(Exit::default())
}

/// The ssh options for a client that reads no config file.
struct Connection {
    settings: Settings,
    /// The absolute path of the folder with keys and sockets.
    folder: String,
    /// Proxy flags by source name.
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
        let (folder, flags) = match folder_by_variable(context) {
            Some(folder) => (folder, Vec::new()),
            None => {
                (settings.folder.clone(), context.flags.iter().filter(|(flag, _)| flag == "--home").cloned().collect())
            }
        };
        // Ansible sets ControlPersist itself.
        let settings_without_persist = Settings { folder, flags, control_persist: None, ..settings.clone() };
        Ok(Self { settings: settings_without_persist, folder: settings.folder.clone(), sources })
    }

    fn options(&self, host: &Host) -> Options {
        let flags = self.sources.get(&host.source).map(Vec::as_slice).unwrap_or_default();
        let has_room = render::has_room_for_sockets(&self.folder, host.user.as_str().len());
        inventory::for_ansible(standalone::options(host, &self.settings, flags), has_room)
    }
}

/// The folder with keys and sockets, written with an environment variable that ssh expands when it connects (OpenSSH 8.5
/// or later), so that an inventory from one container works in another; `None` if no variable names the folder.
fn folder_by_variable(context: &Context) -> Option<String> {
    let is = |name: &str, path: &Path| environment::variable(name).is_some_and(|value| Path::new(&value) == path);
    match &context.paths.home {
        None => is("SSH_EIC_HOME", &context.paths.eic).then(|| "${SSH_EIC_HOME}".to_owned()),
        Some(home) => is("HOME", home).then(|| "${HOME}/.ssh/eic".to_owned()),
    }
}
