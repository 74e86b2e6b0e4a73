//! The options of `ssh_config`(5): those that are written for managed hosts or matter to them, with what each means for
//! a value of the user, and all keywords for suggestions.
//!
//! Rendering, the proof of a sync, shadow detection, `options` of config.toml and `doctor` read this one table.

/// What a value of the user does to a connection where it applies in place of the written one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// It prevents the connection, or leads it elsewhere.
    Breaks,
    /// The connection does not use the proxy of ssh-eic.
    AnotherWay,
    /// The ephemeral key is not offered.
    KeyType,
    /// It changes what a session does.
    Leaks,
    /// It works otherwise than intended.
    Weakens,
}

/// What is written for managed hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Nothing: a value of the user still applies.
    Nothing,
    /// The same value for all hosts.
    Fixed(&'static str),
    /// A value of the host, in its own block or in the block of its user and port.
    OfHost,
    /// A value that is computed from the settings, in the block that hosts share.
    Computed,
}

/// Which value for all hosts makes no difference ahead of the Include line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harmless {
    /// None.
    Never,
    /// This one.
    Value(&'static str),
    /// Any: values accumulate, or are judged by what `ssh -G` prints.
    Always,
}

/// One option.
#[derive(Debug, Clone, Copy)]
pub struct SshOption {
    /// In its usual spelling.
    pub keyword: &'static str,
    /// What is written for managed hosts.
    pub written: Written,
    /// What another value does; none: it is not compared.
    pub effect: Option<Effect>,
    /// A value of the user behind the Include line is overridden, which the user wants to know.
    pub reports_override: bool,
    /// The proof of a sync requires the written value.
    pub is_proven: bool,
    /// `options` of config.toml refuse it: what to write instead.
    pub refused: Option<&'static str>,
    /// Which value ahead of the Include line is harmless.
    pub harmless: Harmless,
}

impl SshOption {
    const fn new(keyword: &'static str, written: Written) -> Self {
        Self {
            keyword,
            written,
            effect: None,
            reports_override: false,
            is_proven: false,
            refused: None,
            harmless: Harmless::Never,
        }
    }

    const fn effect(self, effect: Effect) -> Self {
        Self { effect: Some(effect), ..self }
    }

    const fn reports_override(self) -> Self {
        Self { reports_override: true, ..self }
    }

    const fn proven(self) -> Self {
        Self { is_proven: true, ..self }
    }

    const fn refused(self, instead: &'static str) -> Self {
        Self { refused: Some(instead), ..self }
    }

    const fn harmless(self, harmless: Harmless) -> Self {
        Self { harmless, ..self }
    }

    /// Whether this is the keyword, in any spelling.
    #[must_use]
    pub fn is(&self, keyword: &str) -> bool {
        self.keyword.eq_ignore_ascii_case(keyword)
    }
}

/// The options in the order in which they are written, then those that are not written. Of one effect, an earlier option
/// explains a later one: paths have the alias of the host key in them.
pub const OPTIONS: [SshOption; 27] = [
    SshOption::new("HostKeyAlias", Written::OfHost)
        .effect(Effect::Breaks)
        .proven()
        .refused("remove it: its value is the instance id"),
    SshOption::new("HostName", Written::OfHost)
        .effect(Effect::Breaks)
        .proven()
        .refused("remove it, or set address of the source"),
    SshOption::new("Port", Written::OfHost)
        .effect(Effect::Breaks)
        .proven()
        .reports_override()
        .refused("set port next to options"),
    SshOption::new("User", Written::OfHost)
        .effect(Effect::Breaks)
        .proven()
        .reports_override()
        .refused("set user next to options"),
    SshOption::new("IdentityFile", Written::Computed)
        .effect(Effect::Breaks)
        .reports_override()
        .harmless(Harmless::Always),
    SshOption::new("ProxyCommand", Written::Computed)
        .effect(Effect::AnotherWay)
        .reports_override()
        .refused("remove it, or set route next to options")
        .harmless(Harmless::Value("none")),
    SshOption::new("ProxyUseFdpass", Written::Fixed("no"))
        .effect(Effect::Breaks)
        .reports_override()
        .refused("remove it: it would bypass the proxy")
        .harmless(Harmless::Value("no")),
    SshOption::new("ControlPath", Written::Computed)
        .effect(Effect::Breaks)
        .refused("set control_persist in [ssh]")
        .harmless(Harmless::Always),
    SshOption::new("IdentitiesOnly", Written::Fixed("yes"))
        .effect(Effect::Weakens)
        .proven()
        .refused("remove it: without IdentitiesOnly the keys of the agent use up the login attempts"),
    SshOption::new("AddKeysToAgent", Written::Fixed("no")),
    SshOption::new("PubkeyAuthentication", Written::Fixed("yes"))
        .effect(Effect::Breaks)
        .refused("remove it: the login depends on it")
        .harmless(Harmless::Value("yes")),
    SshOption::new("PreferredAuthentications", Written::Fixed("publickey,keyboard-interactive"))
        .effect(Effect::Breaks)
        .refused("remove it: the login depends on it")
        .harmless(Harmless::Always),
    SshOption::new("UserKnownHostsFile", Written::Computed),
    SshOption::new("HashKnownHosts", Written::Fixed("no")),
    SshOption::new("StrictHostKeyChecking", Written::Computed).effect(Effect::Weakens),
    SshOption::new("ControlMaster", Written::Computed).refused("set control_persist in [ssh]"),
    SshOption::new("ControlPersist", Written::Computed),
    SshOption::new("ProxyJump", Written::Nothing)
        .effect(Effect::AnotherWay)
        .reports_override()
        .refused("set route = \"jump:HOST\" next to options")
        .harmless(Harmless::Value("none")),
    SshOption::new("PubkeyAcceptedAlgorithms", Written::Nothing).effect(Effect::KeyType),
    SshOption::new("RequiredRSASize", Written::Nothing).effect(Effect::KeyType),
    SshOption::new("RemoteCommand", Written::Nothing).effect(Effect::Leaks),
    SshOption::new("SessionType", Written::Nothing).effect(Effect::Leaks),
    SshOption::new("ForkAfterAuthentication", Written::Nothing).effect(Effect::Leaks),
    SshOption::new("CanonicalizeHostname", Written::Nothing).refused("set it in your own ssh config"),
    SshOption::new("Host", Written::Nothing).refused("write a [[host]] table"),
    SshOption::new("Match", Written::Nothing).refused("write a [[host]] table"),
    SshOption::new("Include", Written::Nothing).refused("include the file in your own ssh config"),
];

/// The option of that keyword, in any spelling.
#[must_use]
pub fn find(keyword: &str) -> Option<&'static SshOption> {
    OPTIONS.iter().find(|option| option.is(keyword))
}

/// The options whose values are compared, the worst effect first.
#[must_use]
pub fn compared() -> Vec<(&'static SshOption, Effect)> {
    let mut compared: Vec<_> = OPTIONS.iter().filter_map(|option| Some((option, option.effect?))).collect();
    compared.sort_by_key(|(_, effect)| *effect);
    compared
}

/// Keywords of OpenSSH 8.7 to 10.3 (readconf.c).
const KEYWORDS: &[&str] = &[
    "AddKeysToAgent",
    "AddressFamily",
    "BatchMode",
    "BindAddress",
    "BindInterface",
    "CanonicalDomains",
    "CanonicalizeFallbackLocal",
    "CanonicalizeHostname",
    "CanonicalizeMaxDots",
    "CanonicalizePermittedCNAMEs",
    "CASignatureAlgorithms",
    "CertificateFile",
    "ChannelTimeout",
    "CheckHostIP",
    "Ciphers",
    "ClearAllForwardings",
    "Compression",
    "ConnectionAttempts",
    "ConnectTimeout",
    "ControlMaster",
    "ControlPath",
    "ControlPersist",
    "DynamicForward",
    "EnableEscapeCommandline",
    "EnableSSHKeysign",
    "EscapeChar",
    "ExitOnForwardFailure",
    "FingerprintHash",
    "ForkAfterAuthentication",
    "ForwardAgent",
    "ForwardX11",
    "ForwardX11Timeout",
    "ForwardX11Trusted",
    "GatewayPorts",
    "GlobalKnownHostsFile",
    "GSSAPIAuthentication",
    "GSSAPIDelegateCredentials",
    "HashKnownHosts",
    "Host",
    "HostbasedAcceptedAlgorithms",
    "HostbasedAuthentication",
    "HostKeyAlgorithms",
    "HostKeyAlias",
    "Hostname",
    "IdentitiesOnly",
    "IdentityAgent",
    "IdentityFile",
    "IgnoreUnknown",
    "Include",
    "IPQoS",
    "KbdInteractiveAuthentication",
    "KbdInteractiveDevices",
    "KexAlgorithms",
    "KnownHostsCommand",
    "LocalCommand",
    "LocalForward",
    "LogLevel",
    "LogVerbose",
    "MACs",
    "Match",
    "NoHostAuthenticationForLocalhost",
    "NumberOfPasswordPrompts",
    "ObscureKeystrokeTiming",
    "PasswordAuthentication",
    "PermitLocalCommand",
    "PermitRemoteOpen",
    "PKCS11Provider",
    "Port",
    "PreferredAuthentications",
    "ProxyCommand",
    "ProxyJump",
    "ProxyUseFdpass",
    "PubkeyAcceptedAlgorithms",
    "PubkeyAuthentication",
    "RekeyLimit",
    "RemoteCommand",
    "RemoteForward",
    "RequestTTY",
    "RequiredRSASize",
    "RevokedHostKeys",
    "SecurityKeyProvider",
    "SendEnv",
    "ServerAliveCountMax",
    "ServerAliveInterval",
    "SessionType",
    "SetEnv",
    "StdinNull",
    "StreamLocalBindMask",
    "StreamLocalBindUnlink",
    "StrictHostKeyChecking",
    "SyslogFacility",
    "Tag",
    "TCPKeepAlive",
    "Tunnel",
    "TunnelDevice",
    "UpdateHostKeys",
    "User",
    "UserKnownHostsFile",
    "VerifyHostKeyDNS",
    "VersionAddendum",
    "VisualHostKey",
    "WarnWeakCrypto",
    "XAuthLocation",
];

/// The usual spelling of a keyword that `options` of config.toml accept.
#[must_use]
pub fn keyword(written: &str) -> Option<&'static str> {
    let known = KEYWORDS.iter().find(|known| known.eq_ignore_ascii_case(written)).copied()?;
    find(known).is_none_or(|option| option.refused.is_none()).then_some(known)
}

/// The keyword that was probably meant, for one that is not known and at most two letters away from a known one.
#[must_use]
pub fn correction(written: &str) -> Option<&'static str> {
    let lower = written.to_ascii_lowercase();
    if KEYWORDS.iter().any(|known| known.eq_ignore_ascii_case(&lower)) {
        return None;
    }
    let distance = |known: &&&str| strsim::damerau_levenshtein(&known.to_ascii_lowercase(), &lower);
    KEYWORDS.iter().filter(|known| known.len() > 4 && distance(known) <= 2).min_by_key(distance).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_keywords_of_openssh_and_each_once() {
        for (at, option) in OPTIONS.iter().enumerate() {
            assert!(KEYWORDS.iter().any(|known| option.is(known)), "{}", option.keyword);
            assert!(OPTIONS[..at].iter().all(|other| !other.is(option.keyword)), "{}", option.keyword);
            let is_compared = option.effect.is_some();
            assert!(is_compared || option.harmless == Harmless::Never, "{}: nothing to be harmless to", option.keyword);
        }
    }

    #[test]
    fn typos_have_a_correction_and_known_and_foreign_keywords_have_none() {
        assert_eq!(correction("ForwardAgnt"), Some("ForwardAgent"));
        assert_eq!(correction("serveraliveintervall"), Some("ServerAliveInterval"));
        assert_eq!(correction("forwardagent"), None);
        assert_eq!(correction("GSSAPIKeyExchange"), None);
        assert_eq!(correction("Taq"), None);
    }
}
