//! ssh configs to compare with, made from the one that `sync` wrote: the same hosts in as few words as possible.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::lab::Site;

/// A host of the generated config.
#[derive(Debug)]
pub(crate) struct Host {
    /// Everything behind `Host`.
    pub(crate) names: String,
    address: String,
    key_alias: String,
}

/// Config files for `ssh -F`, and the host that ssh finds last.
#[derive(Debug)]
pub(crate) struct Files {
    /// The user's whole config, hook included.
    pub(crate) whole: String,
    /// What it includes, without the file of the hook.
    pub(crate) routing: String,
    /// `Host` and `HostName` of each.
    pub(crate) bare: String,
    /// The same with a `HostKeyAlias`, without which a reused address is a false alarm.
    pub(crate) keyed: String,
    pub(crate) last: String,
}

/// The hosts that have an address, in their order.
pub(crate) fn hosts(site: &Site) -> io::Result<Vec<Host>> {
    let text = fs::read_to_string(site.sandbox.home().join(".ssh/eic/hosts"))?;
    Ok(parse(&text))
}

fn parse(text: &str) -> Vec<Host> {
    let mut hosts: Vec<Host> = Vec::new();
    let mut names = "";
    for line in text.lines() {
        match line.trim().split_once(' ') {
            Some(("Host", rest)) => names = rest,
            Some(("HostName", address)) => {
                let (names, address) = (names.to_owned(), address.to_owned());
                hosts.push(Host { names, address, key_alias: String::new() });
            }
            Some(("HostKeyAlias", alias)) => {
                if let Some(host) = hosts.last_mut() {
                    alias.clone_into(&mut host.key_alias);
                }
            }
            _ => {}
        }
    }
    hosts
}

/// Writes the files beside the sandbox's home.
pub(crate) fn write(site: &Site) -> io::Result<Files> {
    let folder = site.sandbox.dir().join("bench");
    fs::create_dir_all(&folder)?;
    let write = |name: &str, text: String| {
        let path: PathBuf = folder.join(name);
        fs::write(&path, text)?;
        Ok::<_, io::Error>(path.display().to_string())
    };
    let whole = site.sandbox.home().join(".ssh/config");
    let include = fs::read_to_string(&whole)?;
    let include = include.lines().find_map(|line| line.strip_prefix("Include ")).unwrap_or_default();
    let routing: Vec<&str> = include.split(' ').filter(|file| !file.trim_matches('"').ends_with("/hook")).collect();
    let hosts = hosts(site)?;
    let last = hosts.last().and_then(|host| host.names.split(' ').next());
    let bare = |host: &Host| format!("Host {}\n    HostName {}\n", host.names, host.address);
    let keyed = |host: &Host| format!("{}    HostKeyAlias {}\n", bare(host), host.key_alias);
    Ok(Files {
        whole: whole.display().to_string(),
        routing: write("routing", format!("Include {}\n", routing.join(" ")))?,
        bare: write("bare", hosts.iter().map(bare).collect())?,
        keyed: write("keyed", hosts.iter().map(keyed).collect())?,
        last: last.ok_or_else(|| io::Error::other("sync wrote no host"))?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn what_hosts_share_is_no_host() {
        let text = "# generated\nHost web-1 Web-1\n    HostName 10.0.0.1\n    HostKeyAlias i-01\n\nHost web-2\n    \
                    HostName 10.0.0.2\n    HostKeyAlias i-02\nHost web-1 web-2\n    User ec2-user\n";
        let hosts = parse(text);
        let seen: Vec<_> = hosts.iter().map(|h| (h.names.as_str(), h.address.as_str(), h.key_alias.as_str())).collect();
        assert_eq!(seen, [("web-1 Web-1", "10.0.0.1", "i-01"), ("web-2", "10.0.0.2", "i-02")]);
    }
}
