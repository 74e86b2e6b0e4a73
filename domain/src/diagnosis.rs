//! The causes of failures, and the findings of checks.
//!
//! The table in the man page is generated from the causes; a test proves that a test injects each of them. Not here: the
//! checks (`doctor`).

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

macro_rules! causes {
    ($($name:ident $id:literal: $meaning:literal; $fix:literal)*) => {
        /// Why a connection fails, or may fail.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Cause {
            $(#[doc = $meaning] #[serde(rename = $id)] $name,)*
        }

        impl Cause {
            /// All causes in the order of the checks.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The stable identifier.
            #[must_use]
            pub fn id(self) -> &'static str {
                match self { $(Self::$name => $id,)* }
            }

            /// The meaning, for the man page.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }

            /// What to do, for findings without a more specific fix.
            #[must_use]
            pub fn fix(self) -> &'static str {
                match self { $(Self::$name => $fix,)* }
            }
        }
    };
}

causes! {
    NoSsh "no-ssh": "there is no ssh on PATH"; "install the OpenSSH client"
    ClientUnknown "client-unknown": "the ssh on PATH is not OpenSSH, or does not say its version";
        "put the OpenSSH client, 8.7 or newer, first on PATH"
    ClientTooOld "client-too-old": "the OpenSSH client is older than 8.7";
        "install a newer OpenSSH client and put it first on PATH"
    ShellUnusable "shell-unusable": "ssh starts the hook and the proxy with $SHELL, which is no program that can run";
        "set SHELL to your login shell, such as /bin/bash"
    ConfigMissing "config-missing": "the named config file does not exist";
        "correct the path, or write the file with ssh-eic init"
    ConfigInvalid "config-invalid": "config.toml is not what ssh-eic reads"; "correct the line that is named"
    FileTrouble "file-trouble": "a file or folder of ssh-eic cannot be read or written"; "check who owns it and its mode"
    FileWritable "file-writable": "others can change a file or folder, so that ssh or ssh-eic refuses it";
        "chown it to yourself and chmod go-w it"
    NoIndex "no-index": "no sync has been yet, or its index is gone"; "ssh-eic sync"
    IndexDamaged "index-damaged": "the instance index cannot be read"; "ssh-eic sync"
    IndexOld "index-old": "the last complete sync is more than a day ago"; "ssh-eic sync, which reports what it cannot read"
    ConfigNewer "config-newer": "config.toml has changed since the last sync"; "ssh-eic sync"
    ProgramGone "program-gone": "the program that the generated files name is not there or cannot run"; "ssh-eic sync"
    ProgramOther "program-other": "the generated files name another version of the program"; "ssh-eic sync"
    HomeDiffers "home-differs": "$HOME is not the home of the user database, by which ssh finds its config";
        "ssh -F FILE NAME, or set HOME to your home"
    NotYours "not-yours": "a file or folder belongs to somebody else, as after a command under sudo";
        "chown it to yourself"
    SshConfigBroken "ssh-config-broken": "ssh refuses your ssh config, for every host"; "correct the line that is named"
    IncludeMissing "include-missing": "~/.ssh/config does not include what ssh-eic wrote"; "ssh-eic sync"
    IncludeMisplaced "include-misplaced": "the Include of ssh-eic is inside a Host or Match block of ~/.ssh/config";
        "delete that line and run ssh-eic sync"
    IncludeEdited "include-edited": "what ssh-eic wrote to ~/.ssh/config was changed by hand";
        "delete what is left of it and run ssh-eic sync"
    IncludeNotFirst "include-not-first": "an option for all hosts is before the Include of ssh-eic and overrides the generated one";
        "move the Include of ssh-eic to the top of the file"
    GeneratedMissing "generated-missing": "a generated file in ~/.ssh/eic is not there"; "ssh-eic sync"
    GeneratedEdited "generated-edited": "a generated file was changed by hand"; "ssh-eic sync"
    EditorConfig "editor-config": "an editor is set to read another ssh config than ssh";
        "put the Include of ssh-eic at the top of that file, too, or clear the setting"
    NoSuchHost "no-such-host": "there is no managed host of that name"; "ssh-eic list; ssh-eic sync, if it is new"
    NameShared "name-shared": "several instances share the name"; "name one of them"
    NameLeftOut "name-left-out": "[ssh] hosts in config.toml gives the name no Host block"; "ssh to its id"
    OptionShadowed "option-shadowed": "an option of your ssh config overrides the generated one";
        "remove it, or move it below the Include of ssh-eic"
    ProxyShadowed "proxy-shadowed": "another ProxyCommand or ProxyJump overrides the generated one"; "remove it, or run ssh-eic sync"
    KeyTypeRefused "key-type-refused": "PubkeyAcceptedAlgorithms excludes the key type of ssh-eic";
        "add ssh-ed25519 (or set key_type)"
    OptionLeaks "option-leaks": "an option of your ssh config changes what sessions on managed hosts do";
        "give it to the hosts that it is meant for only"
    CaBundle "ca-bundle": "the file of trusted certificates cannot be read"; "correct or unset AWS_CA_BUNDLE"
    NoProfile "no-profile": "there is no such AWS profile"; "correct profile in config.toml"
    NoRegion "no-region": "no region is set, or it is none"; "set regions for the source in config.toml"
    NoCredentials "no-credentials": "there are no AWS credentials"; "aws configure, or aws sso login"
    NeedsMfa "needs-mfa": "the profile needs an MFA code, which ssh-eic cannot ask for";
        "use a credential_process that asks for it and caches the session"
    SsoExpired "sso-expired": "the IAM Identity Center session has expired"; "aws sso login"
    CredentialsExpired "credentials-expired": "the AWS credentials have expired"; "renew them where they come from"
    CredentialsRefused "credentials-refused": "AWS does not accept the access key"; "renew it where it comes from"
    RoleRefused "role-refused": "the role cannot be assumed, or is not assigned (any more)";
        "check role_arn and its trust policy, or ask the administrator of Identity Center"
    SourceFailed "source-failed": "a source failed at the last sync, so that its hosts may be out of date"; "ssh-eic sync"
    NoHosts "no-hosts": "no instance matches a source of config.toml";
        "check regions, tags and account of the source in config.toml, then ssh-eic sync"
    NoNames "no-names": "no instance has a name to type";
        "set alias in config.toml to a tag that the instances have, then ssh-eic sync"
    WrongAccount "wrong-account": "the credentials are of another account than the source's";
        "sign in to the right account"
    ClockOff "clock-off": "the clock of this machine is wrong, so that AWS refuses its signatures"; "set the clock"
    CredentialsShort "credentials-short": "the credentials end before the time of --valid-for"; "sign in again"
    LifetimeUnknown "lifetime-unknown": "it is unknown how long the credentials are valid";
        "ask the administrator of the identity provider"
    AwsUnreachable "aws-unreachable": "AWS could not be reached"; "check the network, VPN and HTTPS_PROXY"
    AwsFailed "aws-failed": "AWS failed, or its response could not be read"; "try again in a moment"
    PermissionDenied "permission-denied": "IAM denies a request";
        "ssh-eic policy prints the policy that is needed"
    DescribeDenied "describe-denied": "IAM denies describing the instance, so that less can be checked";
        "allow ec2:DescribeInstances"
    InstanceGone "instance-gone": "the instance is terminated, or not in that region and account"; "ssh-eic sync"
    InstanceStopped "instance-stopped": "the instance is not running"; "start it"
    InstanceWindows "instance-windows": "EC2 Instance Connect does not support Windows"; "aws ssm start-session"
    NoAddress "no-address": "the instance has no address of the kind that config.toml asks for";
        "set address in config.toml to one that it has"
    AddressChanged "address-changed": "the instance has another address than at the last sync"; "ssh-eic sync"
    SecurityGroup "security-group": "no inbound rule of the instance's security groups allows the port";
        "add a rule for the port from your network"
    SecurityGroupUnread "security-group-unread": "the security groups could not be read";
        "allow ec2:DescribeSecurityGroups"
    EndpointAvailable "endpoint-available": "an EC2 Instance Connect Endpoint in the VPC could carry the connection";
        "set route = \"endpoint\" or \"auto\" in config.toml"
    EndpointPort "endpoint-port": "the route uses an EC2 Instance Connect Endpoint, which reaches port 22 only";
        "set another route in config.toml, or let sshd listen on port 22"
    EndpointMissing "endpoint-missing": "the VPC has no EC2 Instance Connect Endpoint";
        "create one in the VPC, or set another route in config.toml"
    EndpointState "endpoint-state": "the VPC's EC2 Instance Connect Endpoints are being created or deleted, or failed";
        "wait until one is complete, or create another one"
    EndpointAddressType "endpoint-address-type":
        "the EC2 Instance Connect Endpoint does not reach the instance's type of address";
        "set address in config.toml to the other type, or create a dualstack endpoint"
    EndpointSecurityGroup "endpoint-security-group":
        "no inbound rule of the instance's security groups allows port 22 from the endpoint";
        "add a rule for port 22 from the endpoint's security group"
    NoInstanceProfile "no-instance-profile":
        "the Systems Manager agent is not connected, and the instance has no instance profile";
        "attach an instance profile with AmazonSSMManagedInstanceCore"
    AgentNotConnected "agent-not-connected": "the Systems Manager agent of the instance is not connected";
        "check amazon-ssm-agent, the policy of the instance profile, and the network path to ssmmessages"
    JumpLoop "jump-loop": "the jump host is reached through the host itself"; "set another route in config.toml"
    JumpHostUnreachable "jump-host-unreachable": "the jump host cannot be resolved, or does not answer with SSH";
        "check its HostName in your ssh config, and your network"
    AddressSilent "address-silent": "nothing answers at the instance's address";
        "are you on the VPN, and is there a route to its subnet?"
    AddressRefused "address-refused": "the instance's address refuses the connection";
        "check that sshd runs on it, and its port"
    ServerRefuses "server-refuses": "the instance's sshd refuses the client: a penalty, or too many connections";
        "wait some minutes; see PerSourcePenalties and MaxStartups of its sshd_config"
    NotSsh "not-ssh": "what answers at the address does not speak SSH"; "check the port (tag ssh-eic:port)"
    UserRefused "user-refused": "EC2 Instance Connect rejects the OS user or the key";
        "check user in config.toml and the tag ssh-eic:user"
    Throttled "throttled": "AWS throttles the requests"; "try again in a moment, or lower [limits] push_rate"
    InstanceUnavailable "instance-unavailable": "EC2 Instance Connect cannot reach the instance at the moment";
        "try again in a moment; it may still be starting"
    WrongUser "wrong-user": "the image has another user than the one of the login";
        "set user in config.toml, or the tag ssh-eic:user"
    NoInstanceConnect "no-instance-connect": "the image comes without EC2 Instance Connect";
        "install the package ec2-instance-connect on the instance"
    KeyRefused "key-refused": "the key was pushed, and the instance refuses it";
        "check the package ec2-instance-connect, AuthorizedKeysCommand in its sshd_config, the user, and its clock"
    HostKeyChanged "host-key-changed": "the host key of the instance is not the known one";
        "ssh-keygen -R ID -f ~/.ssh/eic/known_hosts, if it was replaced"
    ConsoleNoOutput "console-no-output": "the instance has no console output yet, so its host key cannot be verified";
        "wait some minutes after the instance has started"
    ConsoleNoBlock "console-no-block": "the console output has no host keys: the image prints none, or they were lost after a reboot";
        "list the host key in a file named in known_hosts in config.toml"
    ConsoleEmptyBlock "console-empty-block": "the host key block in the console output is empty";
        "list the host key in a file named in known_hosts in config.toml"
    ConsoleTruncatedKey "console-truncated-key": "the host keys in the console output are truncated";
        "list the host key in a file named in known_hosts in config.toml"
    ConsoleUnclosedBlock "console-unclosed-block": "the host key block in the console output is incomplete";
        "wait some minutes after the instance has started"
    ConsoleDenied "console-denied": "the console output could not be read, so the host key cannot be verified";
        "allow ec2:GetConsoleOutput (ssh-eic policy)"
    HostKeyUnknown "host-key-unknown": "the host key is unknown, and your ssh config forbids adding it";
        "remove StrictHostKeyChecking from your ssh config for managed hosts"
    TooManyKeys "too-many-keys": "ssh offers so many keys that the server disconnects before the right one (MaxAuthTries)";
        "remove IdentityFile and IdentitiesOnly no from your ssh config for managed hosts"
    NoShell "no-shell": "the login works, but the user's shell does not run commands"; "give the user a shell, or use another user"
    LoginFailed "login-failed": "the login failed for another reason"; "ssh -v NAME shows where it fails"
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// The status of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nothing is wrong.
    Ok,
    /// Worth knowing, but no cause of a failure.
    Note,
    /// A cause of a failure.
    Problem,
    /// Not checked.
    Skipped,
}

impl Status {
    /// The status in the table.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Problem => "problem",
            Self::Skipped => "skipped",
        }
    }
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was checked, in one word.
    pub check: &'static str,
    /// The result.
    pub status: Status,
    /// The cause; none if nothing is wrong, and for a bug.
    pub cause: Option<Cause>,
    /// What was found.
    pub what: String,
    /// What to do about it, the most likely first. One text in JSON.
    #[serde(rename = "fix", serialize_with = "joined")]
    pub fixes: Vec<String>,
}

fn joined<S: Serializer>(fixes: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    if fixes.is_empty() { serializer.serialize_none() } else { serializer.serialize_str(&fixes.join("; ")) }
}

impl Finding {
    /// Nothing is wrong.
    #[must_use]
    pub fn ok(check: &'static str, what: impl AsRef<str>) -> Self {
        Self { check, status: Status::Ok, cause: None, what: harmless(what.as_ref()), fixes: Vec::new() }
    }

    /// Worth knowing.
    #[must_use]
    pub fn note(check: &'static str, cause: Cause, what: impl AsRef<str>) -> Self {
        Self { status: Status::Note, ..Self::problem(check, cause, what) }
    }

    /// Why a connection fails.
    #[must_use]
    pub fn problem(check: &'static str, cause: Cause, what: impl AsRef<str>) -> Self {
        let fixes = vec![cause.fix().to_owned()];
        Self { check, status: Status::Problem, cause: Some(cause), what: harmless(what.as_ref()), fixes }
    }

    /// Not checked, and why not.
    #[must_use]
    pub fn skipped(check: &'static str, what: impl AsRef<str>) -> Self {
        Self { status: Status::Skipped, ..Self::ok(check, what) }
    }

    /// Replaces the fix of the cause by a more specific one.
    #[must_use]
    pub fn fix(self, fix: impl AsRef<str>) -> Self {
        self.fixes([fix])
    }

    /// Replaces the fix of the cause by more specific ones.
    #[must_use]
    pub fn fixes(mut self, fixes: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        self.fixes = fixes.into_iter().map(|fix| harmless(fix.as_ref())).collect();
        self
    }

    /// The line of the table, and a line for each fix below it; `paint` colours the status.
    #[must_use]
    pub fn lines(&self, paint: &dyn Fn(Status, &str) -> String) -> String {
        let Self { check, status, what, fixes, .. } = self;
        let word = paint(*status, &format!("{:<8}", status.word()));
        let below = " ".repeat(INDENT);
        let fixes = fixes.iter().fold(String::new(), |lines, fix| lines + "\n" + &below + "fix: " + fix);
        format!("{word} {check:<WIDEST$} {what}{fixes}")
    }
}

/// The longest name of a check.
const WIDEST: usize = 11;
/// The column of what was found.
const INDENT: usize = 21;

/// The text on one line, without control characters and without characters that change the direction of text: parts of it
/// may come from AWS, a tag, a server or a file.
fn harmless(text: &str) -> String {
    let is_bad = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    text.trim().chars().map(|c| if is_bad(c) { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_stable_words_and_unique() {
        let mut ids: Vec<&str> = Cause::ALL.iter().map(|cause| cause.id()).collect();
        assert!(ids.iter().all(|id| id.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')), "{ids:?}");
        for cause in Cause::ALL {
            assert_eq!(serde_json::to_string(cause).unwrap(), format!("\"{}\"", cause.id()));
            assert!(!cause.meaning().ends_with('.') && !cause.fix().ends_with('.'), "{cause}");
        }
        let all = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), all);
    }

    #[test]
    fn a_finding_is_one_line_and_one_for_each_fix_without_control_characters() {
        let finding =
            Finding::problem("address", Cause::NotSsh, "says \"\u{1b}[2J\u{202e}x\r\nok address\"").fix("a\nb");
        let lines = |finding: &Finding| finding.lines(&|_, word| word.to_owned());
        let fix = "                     fix: ";
        assert_eq!(lines(&finding), format!("problem  address     says \" [2J x  ok address\"\n{fix}a b"));
        let absent = Finding::problem("index", Cause::NoIndex, "y");
        assert_eq!(lines(&absent), format!("problem  index       y\n{fix}ssh-eic sync"));
        let two = absent.fixes(["a", "b"]);
        assert_eq!(lines(&two), format!("problem  index       y\n{fix}a\n{fix}b"));
        assert_eq!(serde_json::to_value(&two).unwrap()["fix"], "a; b");
    }
}
