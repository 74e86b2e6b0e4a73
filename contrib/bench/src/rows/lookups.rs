//! P18: how often an instance's sshd runs its `AuthorizedKeysCommand` for one login, and what a slow one costs.

use std::io;
use std::path::Path;

use sandbox::Switches;
use serde_json::json;

use super::login::pause;
use crate::lab::{Lab, Site, host, progress};
use crate::report::{Line, Quantity};
use crate::stats::Runs;
use crate::ways;

/// How long the command takes, in milliseconds. On EC2 it is a chain of curl and openssl commands.
const COMMAND_MS: u64 = 150;

pub(super) fn measure(lab: &mut Lab) -> io::Result<Vec<Line>> {
    let rounds = lab.pick(15, 3);
    let rsa = "key_type = \"rsa\"\n";
    let mut lines = Vec::new();
    let client = lab.client.clone();
    for (client, source) in std::iter::once(None).chain(client.as_deref().map(Some)).flat_map(|c| [(c, ""), (c, rsa)]) {
        lines.extend(by_client(lab, client, source, rounds)?);
    }
    Ok(lines)
}

/// The lines of one client and one type of keys.
fn by_client(lab: &Lab, client: Option<&Path>, source: &str, rounds: usize) -> io::Result<Vec<Line>> {
    let site = lab.logins_by(client, 1, source)?;
    let version = site.sandbox.command("ssh").arg("-V").output()?;
    let version = String::from_utf8_lossy(&version.stderr).split([' ', ',']).next().unwrap_or_default().to_owned();
    let keys = if source.is_empty() { "Ed25519" } else { "RSA" };
    progress(&format!("P18: {version}, {keys}, {rounds} rounds"));
    site.sandbox.switches(Switches { key_command_ms: Some(COMMAND_MS), ..Switches::default() })?;
    let id = ways::seen(&site, &host(0))?.id;
    let cold = Measurement::take(&site, &id, true, rounds)?;
    let warm = Measurement::take(&site, &id, false, rounds)?;
    let key = std::fs::read_to_string(site.sandbox.home().join(".ssh/eic/keys").join(&id))?;
    let is_limited = !key.contains("OPENSSH");
    let line = |what: &str, measurement: &Measurement| {
        let times = format!("{:.1} ms with a command of {COMMAND_MS} ms", measurement.runs.wall.median * 1000.0);
        let detail = format!("{times}, {} runs in {} logins", measurement.lookups, measurement.logins);
        let raw = json!({"client": version, "keys": keys, "connection": what, "logins": measurement.runs});
        let line =
            Line::new(format!("key lookups of a {what} login, {version}, {keys}"), measurement.each(), detail).raw(raw);
        // An older client reads the public half of the key from OpenSSH's format, and asks first.
        if is_limited || what == "cold" { line.exactly(Quantity::Count(1.0)) } else { line }
    };
    Ok(vec![line("cold", &cold), line("warm", &warm)])
}

/// Logins of one kind, and the lookups of all of them.
struct Measurement {
    lookups: usize,
    logins: usize,
    runs: Runs,
}

impl Measurement {
    fn take(site: &Site, id: &str, cold: bool, rounds: usize) -> io::Result<Self> {
        let login = ways::ours(site).login(&host(0));
        let before = site.sandbox.key_lookups(id);
        let runs = if cold {
            let [_, _, runs] = site.runs(&[site.forget_keys(id), pause(), login], rounds)?;
            runs
        } else {
            let [_, runs] = site.runs(&[pause(), login], rounds)?;
            runs
        };
        // The first round does not count as a sample, and its lookup does.
        Ok(Self { lookups: site.sandbox.key_lookups(id) - before, logins: rounds + 1, runs })
    }

    #[expect(clippy::cast_precision_loss, reason = "a few logins")]
    fn each(&self) -> Quantity {
        Quantity::Count(self.lookups as f64 / self.logins as f64)
    }
}
