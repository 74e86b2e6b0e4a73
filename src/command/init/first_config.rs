//! The config file that `init` writes: every key with a comment, those of the command line set.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use crate::cli;
use crate::domain::source::{Regions, Who};
use crate::store::config;

/// The options with which `init` writes exactly this text; none for text that a user has edited.
pub(super) fn options_of(written: &str) -> Option<cli::Init> {
    let config = config::parse(written, Path::new("config.toml")).ok()?;
    let [source] = config.sources.as_slice() else { return None };
    let mut options = cli::Init::default();
    match &source.who {
        Who::Ambient => {}
        Who::Profile(profile) | Who::Profiles(profile) => options.profile = Some(profile.clone()),
        Who::Accounts(accounts) => {
            options.sso_session = Some(accounts.session.clone());
            options.roles.clone_from(&accounts.roles);
        }
        Who::Sso(_) => return None,
    }
    options.regions = match &source.regions {
        Regions::OfProfile => Vec::new(),
        Regions::Named(named) => named.clone(),
        Regions::All => vec!["all".to_owned()],
    };
    for (key, values) in &source.tags {
        options.tags.extend(values.iter().map(|value| (key.clone(), value.clone())));
    }
    (text(&options) == written).then_some(options)
}

/// The text of the config file for these options.
pub(super) fn text(args: &cli::Init) -> String {
    let string = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let mut out = String::from(
        "# Where ssh-eic looks for EC2 instances. After a change, run ssh-eic sync.\n\
         # Every key is optional. There can be several [[source]] tables; earlier ones win.\n\n[[source]]\n",
    );
    let mut line = |key: &str, value: Option<String>, example: &str, comment: &str| {
        let (prefix, value) = value.map_or(("# ", example.to_owned()), |value| ("", value));
        let setting = format!("{prefix}{key} = {value}");
        let _ = writeln!(out, "{setting:<44} # {comment}");
    };
    line(
        "profile",
        args.profile.as_deref().map(string),
        "\"prod\"",
        "AWS profile; default: credentials of the environment",
    );
    if let Some(session) = &args.sso_session {
        let roles: Vec<String> = args.roles.iter().map(|role| string(role)).collect();
        line("sso_session", Some(string(session)), "", "instead of profile: every account of the session");
        line("role", Some(format!("[{}]", roles.join(", "))), "", "the first role that you have in an account");
        line("accounts", None, "[\"*\"]", "ids or names; also: exclude_accounts");
    }
    let regions: Vec<String> = args.regions.iter().map(|region| string(region)).collect();
    let regions = (!regions.is_empty()).then(|| format!("[{}]", regions.join(", ")));
    line("regions", regions, "[\"eu-west-1\"]", "default: the profile's region; [\"all\"]: every enabled region");
    let mut tags: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (key, value) in &args.tags {
        tags.entry(key.as_str()).or_default().push(string(value));
    }
    let tags: Vec<String> =
        tags.iter().map(|(key, values)| format!("{} = [{}]", string(key), values.join(", "))).collect();
    let tags = (!tags.is_empty()).then(|| format!("{{ {} }}", tags.join(", ")));
    line("tags", tags, "{ Environment = \"prod\" }", "only instances with these tags");
    line("alias", None, "\"{Environment}-{Name}\"", "template of host names; default: \"{Name}\"");
    line("user", None, "\"ubuntu\"", "OS user; default: the tag ssh-eic:user, else by the image");
    line("port", None, "22", "SSH port; the tag ssh-eic:port overrides it for one instance");
    out.push_str("\n# Settings of single hosts, by alias; the first match applies.\n# [[host]]\n# match = \"prod-db-*\"\n# user = \"deploy\"\n");
    out.push_str("\n[ssh]\n# control_persist = \"10m\"                   # keep connections open for reuse\n");
    out.push_str("\n[sync]\n# refresh = \"15m\"                           # a connection syncs if the last sync is older; \"off\": never\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_config_has_the_values_of_the_options() {
        let args = cli::Init {
            profile: Some("my \"prod\" profile".replace('"', "")),
            regions: vec!["eu-west-1".to_owned(), "us-east-1".to_owned()],
            tags: vec![
                ("Role".to_owned(), "we\"b".to_owned()),
                ("Role".to_owned(), "db".to_owned()),
                ("a b".to_owned(), String::new()),
            ],
            ..cli::Init::default()
        };
        let config = config::parse(&text(&args), Path::new("c")).unwrap();
        let source = &config.sources[0];
        assert_eq!(source.who, Who::Profile("my prod profile".to_owned()));
        assert_eq!(source.regions, Regions::Named(vec!["eu-west-1".to_owned(), "us-east-1".to_owned()]));
        assert_eq!(source.tags["Role"], ["we\"b", "db"]);
        assert_eq!(source.tags["a b"], [""]);
        let bare = text(&cli::Init::default());
        assert_eq!(config::parse(&bare, Path::new("c")).unwrap().sources[0].who, Who::Ambient);
        let args = cli::Init { sso_session: Some("corp".into()), roles: vec!["A".into()], ..cli::Init::default() };
        let config = config::parse(&text(&args), Path::new("c")).unwrap();
        assert!(matches!(&config.sources[0].who, Who::Accounts(all) if all.session == "corp" && all.roles == ["A"]));
        // Every commented setting is valid when uncommented.
        let uncommented: String = bare
            .lines()
            .map(|line| line.strip_prefix("# ").filter(|l| l.contains(" = ") || l.starts_with("[[")).unwrap_or(line))
            .fold(String::new(), |text, line| text + line + "\n");
        assert!(config::parse(&uncommented, Path::new("c")).is_ok(), "{uncommented}");
    }

    #[test]
    fn the_options_are_read_back_from_a_file_as_init_writes_it_and_from_no_other() {
        let tag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let all = [
            cli::Init::default(),
            cli::Init { profile: Some("corp-*".to_owned()), regions: vec!["all".to_owned()], ..cli::Init::default() },
            cli::Init {
                profile: Some("prod".to_owned()),
                regions: vec!["us-east-1".to_owned(), "eu-west-1".to_owned()],
                tags: vec![tag("b", "x"), tag("a", "2"), tag("b", "*")],
                ..cli::Init::default()
            },
            cli::Init {
                sso_session: Some("corp".to_owned()),
                roles: vec!["Ssh".to_owned(), "ReadOnly".to_owned()],
                ..cli::Init::default()
            },
        ];
        for options in all {
            let written = text(&options);
            let read = options_of(&written).unwrap_or_else(|| panic!("{written}"));
            assert_eq!(text(&read), written);
            for edited in [
                format!("{written}\n"),
                written.replace("# user = \"ubuntu\"  ", "user = \"ubuntu\"    "),
                written.replacen("# Where", "# where", 1),
                format!("{written}[[source]]\nname = \"two\"\n"),
            ] {
                assert_ne!(edited, written);
                assert!(options_of(&edited).is_none(), "{edited}");
            }
        }
        assert!(options_of("").is_none());
    }
}
