//! One self-contained `ssh_config` for `ssh -F`, and for readers that know fewer tokens (paramiko, asyncssh): every
//! option is a literal in its own Host, and the proxy needs neither our index nor our config.
//!
//! No `Match exec`: the proxy pushes. What ends a user name with a quote is the same guard as in the other layout.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::core::fleet::Host;
use crate::core::identity::Identity;
use crate::core::ids::InstanceId;
use crate::core::names::Shared;
use crate::core::render::{self, Settings};

/// Renders it. `identity` gives the credentials of a source by its name.
#[must_use]
pub fn render<'a>(
    hosts: &[Host],
    shared: &BTreeMap<String, Shared>,
    settings: &Settings,
    identity: &dyn Fn(&str) -> Option<&'a Identity>,
) -> String {
    let mut out = render::guard();
    for host in hosts.iter().filter(|host| settings.names(host)) {
        let names: Vec<&str> = host.all_names().chain([host.id.as_str()]).collect();
        block(&mut out, host, &names, settings, identity(&host.source));
    }
    for host in hosts.iter().filter(|host| !settings.names(host)) {
        block(&mut out, host, &[host.id.as_str()], settings, identity(&host.source));
    }
    let labels: BTreeMap<&InstanceId, &str> = hosts.iter().map(|host| (&host.id, host.label())).collect();
    for (name, shared) in shared {
        let ids = match shared {
            Shared::By(ids) => ids.as_slice(),
            Shared::Waits { wants, .. } => std::slice::from_ref(wants),
        };
        let names: Vec<&str> = ids.iter().map(|id| labels.get(id).copied().unwrap_or(id.as_str())).collect();
        let _ = write!(
            out,
            "Host {name}\n    ProxyCommand {} proxy --shared-by '{}' -- {name} %h %p '%r'\n    ProxyUseFdpass no\n    ControlPath none\n",
            render::program(settings),
            names.join(",")
        );
    }
    out
}

fn block(out: &mut String, host: &Host, names: &[&str], settings: &Settings, identity: Option<&Identity>) {
    let address = host.address.as_deref().unwrap_or(host.id.as_str());
    let _ = write!(out, "Host {}\n    HostName {address}\n    HostKeyAlias {}\n", names.join(" "), host.id);
    render::options(out, &host.options, settings);
    render::login(out, host.user.as_str(), host.port);
    let mut target = format!(" --region {}", render::word(&host.region));
    for (flag, value) in identity.map(Identity::arguments).unwrap_or_default() {
        let _ = write!(target, " {flag} {}", render::word(value));
    }
    if identity.is_some_and(|identity| identity.sso.is_none()) && !host.account.is_empty() {
        let _ = write!(target, " --account {}", render::word(&host.account));
    }
    render::shared_as(out, settings, host.user.as_str(), host.id.as_str(), &format!("{target} -- {} %h %p", host.id));
}
