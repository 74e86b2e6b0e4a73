//! `GetConsoleOutput`: cloud-init's report of the real host keys, snapshots, truncation, refusals.

mod common;

use common::{query, start};
use sandbox::{Change, Console, Fail, Form, Instance, Sandbox, Switches};

/// The decoded console output; the whole response if it has none.
fn console(sandbox: &Sandbox, id: &str, options: &str) -> Vec<u8> {
    let (_, body) = query(sandbox, "ec2", &format!("Action=GetConsoleOutput&InstanceId={id}{options}"));
    let Some(encoded) = body.split("<output>").nth(1).and_then(|rest| rest.split('<').next()) else {
        return body.into_bytes();
    };
    std::fs::write(sandbox.home().join("encoded"), encoded).unwrap();
    sandbox.command("base64").args(["-d", "encoded"]).output().unwrap().stdout
}

fn text(sandbox: &Sandbox, id: &str, options: &str) -> String {
    String::from_utf8(console(sandbox, id, options)).unwrap()
}

const LATEST: &str = "&Latest=true";

#[test]
fn the_console_contains_the_host_keys_of_the_first_boot() {
    let sandbox = start(Form::Loopback);
    let id = sandbox.add(Instance::new("web").host_key_types(&["ecdsa", "ed25519"])).unwrap();
    let first = text(&sandbox, &id, "");
    let keys: Vec<String> =
        sandbox.host_keys(&id).lines().map(|key| format!("{} root@ip-127-0-0-1", key.trim())).collect();
    assert_eq!(keys.len(), 2);
    let block = format!(
        "\r\n-----BEGIN SSH HOST KEY KEYS-----\r\n{}\r\n-----END SSH HOST KEY KEYS-----\r\n",
        keys.join("\r\n")
    );
    assert!(first.contains(&block), "{first}\n{block}");
    assert_eq!(text(&sandbox, &id, LATEST), first);

    sandbox.update(&id, Change { new_host_key: true, ..Change::default() }).unwrap();
    assert!(!first.contains(sandbox.host_keys(&id).lines().next().unwrap()));
    assert_eq!(text(&sandbox, &id, ""), first, "the keys of the first boot stay");

    sandbox.update(&id, Change { reboot: true, ..Change::default() }).unwrap();
    for options in ["", LATEST] {
        let output = text(&sandbox, &id, options);
        assert!(output.ends_with(" login: ") && !output.contains("SSH HOST KEY"), "{output}");
    }
}

#[test]
fn each_kind_of_console_has_its_form() {
    let sandbox = start(Form::Loopback);
    let id = sandbox.add(Instance::new("web")).unwrap();
    let output = |console| {
        sandbox.update(&id, Change { console: Some(console), ..Change::default() }).unwrap();
        text(&sandbox, &id, LATEST)
    };
    let prefixed = output(Console::Prefixed);
    assert!(prefixed.contains("\r\n[   12.345678] cloud-init[99]: ssh-ed25519 "), "{prefixed}");
    let fingerprints = output(Console::Fingerprints);
    assert!(fingerprints.contains(" cloud-init: 256 SHA256:") && !fingerprints.contains("HOST KEY KEYS"));
    assert!(!output(Console::Silent).contains("SSH HOST KEY"));
    assert!(!output(Console::Empty).contains("<output>"));
}

#[test]
fn plain_output_is_the_start_of_a_snapshot_and_latest_the_end_of_the_console() {
    let sandbox = start(Form::Loopback);
    // Longer than the limit, with bytes that are no UTF-8.
    let bytes: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    let id = sandbox.add(Instance::new("web").console_output(bytes.clone())).unwrap();
    assert_eq!(console(&sandbox, &id, ""), bytes[..65_536]);
    assert_eq!(console(&sandbox, &id, LATEST), bytes[70_000 - 65_536..]);

    let snapshot = Change { console_snapshot: Some(b"earlier".to_vec()), ..Change::default() };
    sandbox.update(&id, snapshot).unwrap();
    assert_eq!(text(&sandbox, &id, ""), "earlier");
    assert_eq!(console(&sandbox, &id, LATEST).len(), 65_536);
    let later = Change { console_output: Some(b"later".to_vec()), ..Change::default() };
    sandbox.update(&id, later).unwrap();
    assert_eq!((text(&sandbox, &id, ""), text(&sandbox, &id, LATEST)), ("earlier".into(), "later".into()));
}

#[test]
fn latest_output_is_refused_off_the_nitro_system() {
    let sandbox = start(Form::Loopback);
    let id = sandbox.add(Instance::new("web").without_nitro()).unwrap();
    assert!(text(&sandbox, &id, LATEST).contains("<Code>UnsupportedOperation</Code>"));
    assert!(text(&sandbox, &id, "").contains("BEGIN SSH HOST KEY KEYS"));
    let calls = sandbox.calls_of("GetConsoleOutput").unwrap();
    let errors: Vec<_> = calls.iter().map(|call| call.error.as_deref()).collect();
    assert_eq!(errors, [Some("UnsupportedOperation"), None]);
    assert_eq!(calls[0].params["Latest"], "true");
}

#[test]
fn switches_apply_to_the_console_of_one_instance() {
    let sandbox = start(Form::Loopback);
    let ids = sandbox.add_many(vec![Instance::new("a"), Instance::new("b")]).unwrap();
    let action = format!("GetConsoleOutput@{}", ids[0]);
    sandbox.switches(Switches { deny: Some(vec![action.clone()]), ..Switches::default() }).unwrap();
    assert!(text(&sandbox, &ids[0], "").contains("<Code>UnauthorizedOperation</Code>"));
    assert!(text(&sandbox, &ids[1], "").contains("BEGIN SSH HOST KEY KEYS"));
    sandbox.reset_switches().unwrap();
    let fail = Fail { status: 503, code: "Unavailable".into(), message: String::new(), times: Some(1) };
    sandbox.switches(Switches { fail: [(action.clone(), fail)].into(), ..Switches::default() }).unwrap();
    assert!(text(&sandbox, &ids[0], "").contains("<Code>Unavailable</Code>"));
    sandbox.switches(Switches { latency_ms: [(action, 300)].into(), ..Switches::default() }).unwrap();
    let start = std::time::Instant::now();
    assert!(text(&sandbox, &ids[0], "").contains("BEGIN SSH HOST KEY KEYS"));
    assert!(start.elapsed().as_millis() >= 300, "{:?}", start.elapsed());
}
