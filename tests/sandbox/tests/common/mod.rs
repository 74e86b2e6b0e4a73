//! What the sandbox's own tests share: raw AWS requests (signatures are not verified) and a key to log in with.
#![allow(missing_docs, dead_code, reason = "each test file uses its own part")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use sandbox::{Form, Options, Sandbox};

pub(crate) fn start(form: Form) -> Sandbox {
    Sandbox::start(Options { form, ..Options::default() }).expect("the sandbox starts")
}

/// Both forms, or the one that is possible here. In CI, root must be able to make namespaces.
pub(crate) fn forms() -> Vec<Form> {
    let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    match Form::detect() {
        Form::Loopback if root && std::env::var_os("CI").is_some() => panic!("no namespaces in CI"),
        Form::Loopback => vec![Form::Loopback],
        Form::Namespaces => vec![Form::Namespaces, Form::Loopback],
    }
}

/// Sends one HTTP request from inside the sandbox; status and body of the answer.
pub(crate) fn http(sandbox: &Sandbox, head: &str, body: &str) -> (u16, String) {
    let address = sandbox.endpoint().trim_start_matches("http://").replace(':', "/");
    let request = format!("{head}connection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let script = format!("exec 3<>/dev/tcp/{address} && printf %s \"$1\" >&3 && cat <&3");
    let output = sandbox.command("bash").args(["-c", &script, "bash", &request]).output().expect("bash runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    (status, text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

/// The access key of the profile `prod`.
pub(crate) fn prod(sandbox: &Sandbox) -> &str {
    &sandbox.credential("prod").expect("a profile of every sandbox").access_key_id
}

/// The `Authorization` header of an access key.
pub(crate) fn authorization(key: &str, region: &str, service: &str) -> String {
    format!(
        "authorization: AWS4-HMAC-SHA256 Credential={key}/20260101/{region}/{service}/aws4_request, \
         SignedHeaders=host, Signature=0\r\n"
    )
}

/// An EC2 or STS query.
pub(crate) fn query(sandbox: &Sandbox, service: &str, form: &str) -> (u16, String) {
    let head = format!("POST / HTTP/1.1\r\nhost: x\r\n{}", authorization(prod(sandbox), "eu-west-1", service));
    http(sandbox, &head, form)
}

pub(crate) fn push(sandbox: &Sandbox, id: &str, user: &str, key: &str) -> (u16, String) {
    let head = format!(
        "POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: AWSEC2InstanceConnectService.SendSSHPublicKey\r\n{}",
        authorization(prod(sandbox), "eu-west-1", "ec2-instance-connect")
    );
    let key = key.trim();
    http(sandbox, &head, &format!(r#"{{"InstanceId":"{id}","InstanceOSUser":"{user}","SSHPublicKey":"{key}"}}"#))
}

/// A new key pair in the sandbox's home: the private key's path and the public key.
pub(crate) fn key(sandbox: &Sandbox) -> (PathBuf, String) {
    let path = sandbox.home().join("id");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path).status();
    assert!(made.expect("ssh-keygen runs").success());
    let public = fs::read_to_string(path.with_extension("pub")).expect("a public key");
    (path, public)
}

/// Real ssh to an instance, by address and port. `options` override the others.
pub(crate) fn ssh(sandbox: &Sandbox, id: &str, user: &str, options: &[&str], command: &str) -> Output {
    let all = sandbox.instances().expect("the server answers");
    let instance = all.into_iter().find(|instance| instance.id == id).expect("it was added");
    let mut ssh = sandbox.command("ssh");
    ssh.args(["-F", "/dev/null"]).args(options);
    ssh.args(["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=accept-new", "-o"]);
    ssh.arg(format!("UserKnownHostsFile={}", sandbox.home().join("known_hosts").display()));
    ssh.arg("-o").arg(format!("HostKeyAlias={id}")).args(["-i", "id"]);
    ssh.args(["-p", &instance.listen.to_string(), "-l", user, &instance.address, command]);
    ssh.stdin(Stdio::null()).output().expect("ssh runs")
}

/// The user to log in as.
pub(crate) fn login(sandbox: &Sandbox) -> String {
    match sandbox.form() {
        Form::Namespaces => "ec2-user".into(),
        Form::Loopback => {
            let output = sandbox.command("id").arg("-un").output().expect("id runs");
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
    }
}

pub(crate) fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout).trim_end(),
        String::from_utf8_lossy(&output.stderr).trim_end()
    )
}
