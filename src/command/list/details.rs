//! One host in full.

use std::fmt::Write as _;

use crate::domain::fleet::Host;
use crate::domain::freshness::KEY_LIVES;
use crate::domain::known_hosts;
use crate::domain::source::Route;
use crate::store::host_keys::{Overview, Trust};
use crate::store::paths::Paths;
use crate::store::pushes::{self, Outcome};
use crate::store::trusted;
use crate::sys::clock;
use crate::ui;

/// One `name: value` line for each property that the host has. `now` is in milliseconds since 1970.
pub(super) fn text(paths: &Paths, host: &Host, is_live: bool, now: u64) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "{:<13} {}", format!("{name}:"), ui::shown(value));
        }
    };
    let address = |address: Option<String>| address.unwrap_or_default();
    line("host", host.label());
    line("other names", &host.names.join(", "));
    line("instance", host.id.as_str());
    line("state", &if is_live { host.state.clone() } else { format!("{} (not live)", host.state) });
    line("user", host.user.as_str());
    line("address", host.address.as_deref().unwrap_or("none"));
    line("port", &host.port.to_string());
    let route = if host.route == Route::Direct { "TCP to the address".to_owned() } else { host.route.to_string() };
    line("route", if host.hook_pushes { "ProxyCommand or ProxyJump of your ssh config" } else { &route });
    line("private IPv4", &address(host.addresses.private.map(|address| address.to_string())));
    line("public IPv4", &address(host.addresses.public.map(|address| address.to_string())));
    line("IPv6", &address(host.addresses.ipv6.map(|address| address.to_string())));
    line("DNS name", &host.dns);
    line("source", &host.source);
    line("account", &host.account);
    line("region", &host.region);
    line("zone", &host.az);
    line("VPC", &host.vpc);
    line("image", &host.image);
    if host.launched > 0 {
        line("launched", &clock::rfc3339(u64::try_from(host.launched).unwrap_or(0).saturating_mul(1000)));
    }
    line("host key", &host_key(paths, host));
    line("last push", &last_push(paths, host, now));
    for (key, value) in &host.tags {
        line("tag", &format!("{key} = {value}"));
    }
    text
}

/// The fingerprints in the `known_hosts` files of ssh-eic.
fn host_key(paths: &Paths, host: &Host) -> String {
    let name = known_hosts::name_with_port(host.id.as_str(), host.port);
    let mut keys = known_hosts::KnownKeys::default();
    for path in paths.known_hosts() {
        match trusted::read(&path) {
            Ok(content) => {
                let content = content.unwrap_or_default();
                // ssh looks up a HostKeyAlias without the port; entries of both forms count.
                keys.add(&path.display().to_string(), &content, host.id.as_str());
                if name != host.id.as_str() {
                    keys.add(&path.display().to_string(), &content, &name);
                }
            }
            Err(error) => return error.message,
        }
    }
    let trust = match Overview::read(paths).of(&host.id) {
        Trust::Verified(source) => format!("verified by {source}"),
        Trust::FirstUse | Trust::Unknown => "trusted on first use".to_owned(),
    };
    let shown: Vec<String> = keys.hosts.iter().map(|listed| listed.key.fingerprint().to_string()).collect();
    if shown.is_empty() {
        "none stored; the first connection stores it".to_owned()
    } else {
        format!("{} ({trust})", shown.join(", "))
    }
}

fn last_push(paths: &Paths, host: &Host, now: u64) -> String {
    match pushes::last(paths, &host.id, &host.user) {
        None => "none".to_owned(),
        Some(Outcome::Pushed(record)) => {
            let left = (record.sent + KEY_LIVES).saturating_sub(now) / 1000;
            let validity = if left == 0 { "expired".to_owned() } else { format!("valid for {left} s") };
            format!("{} for {}, {validity}", clock::rfc3339(record.sent - record.sent % 1000), record.user)
        }
        Some(Outcome::Failed { at, error }) => {
            format!("failed at {}: {}", clock::rfc3339(at - at % 1000), error.message)
        }
    }
}
