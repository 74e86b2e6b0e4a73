//! `GetConsoleOutput`: a snapshot's first 64 KiB, or the latest 64 KiB of an instance on the Nitro system.

use super::dialect::Fault;
use super::ec2::{base64, check_ids};
use super::xml::Xml;
use super::{Context, sts};
use crate::guest::Console;
use crate::model::Instance;
use crate::server::console_keys;

/// The longest output that EC2 returns, in bytes.
const LIMIT: usize = 64 * 1024;

pub(super) fn output(context: &Context<'_>) -> Result<String, Fault> {
    let id = context.params.get("InstanceId").map_or("", String::as_str);
    check_ids(context, &[id.to_owned()])?;
    let instance = context.world.lock().fleet.get(id).cloned().unwrap_or_default();
    let latest = context.params.get("Latest").is_some_and(|value| value == "true");
    if latest && !instance.nitro {
        let message = "This instance type does not support retrieving the latest console logs. \
                       Retry your request without the latest parameter.";
        return Err(Fault::new(400, "UnsupportedOperation", message));
    }
    let chosen = instance.console_snapshot.as_ref().filter(|_| !latest).or(instance.console_output.as_ref());
    let text = match chosen {
        Some(bytes) => bytes.clone(),
        None => generate(context, &instance).map_err(|error| Fault::new(500, "InternalError", error.to_string()))?,
    };
    let length = text.len().min(LIMIT);
    let text = if latest { &text[text.len() - length..] } else { &text[..length] };
    let mut xml = Xml::new();
    xml.text("instanceId", id);
    xml.text("timestamp", &sts::iso(instance.launched));
    xml.optional("output", &base64(text));
    Ok(xml.finish())
}

/// The console output of a boot, with cloud-init's report of the host keys that the instance booted with.
fn generate(context: &Context<'_>, instance: &Instance) -> std::io::Result<Vec<u8>> {
    if instance.console == Console::Empty {
        return Ok(Vec::new());
    }
    let (keys, fingerprints) = console_keys(context.world, instance)?;
    let host = format!("ip-{}", instance.address.replace('.', "-"));
    let block = |name: &str, prefix: &str, lines: &[String]| {
        let begin = format!("-----BEGIN SSH HOST KEY {name}-----");
        let end = format!("-----END SSH HOST KEY {name}-----");
        let lines = [&[begin], lines, &[end]].concat();
        lines.iter().map(|line| format!("{prefix}{line}\r\n")).collect::<Vec<_>>().concat()
    };
    let keys: Vec<String> = keys.lines().map(|key| format!("{} root@{host}", key.trim())).collect();
    let fingerprints: Vec<String> = fingerprints.lines().map(String::from).collect();
    let fingerprints = block("FINGERPRINTS", "<14>Nov 23 03:12:00 cloud-init: ", &fingerprints);
    let cloud_init = match instance.console {
        Console::Empty | Console::Silent => String::new(),
        Console::Fingerprints => fingerprints,
        Console::Keys => fingerprints + &block("KEYS", "", &keys),
        Console::Prefixed => fingerprints + &block("KEYS", "[   12.345678] cloud-init[99]: ", &keys),
    };
    Ok(format!("[    0.000000] Linux version 6.1\r\n{cloud_init}\r\n{host} login: ").into_bytes())
}
