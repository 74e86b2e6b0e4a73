//! `ssh-eic init`: writes a commented config file if there is none, then syncs.

use std::fmt::Write as _;

use crate::cli;
use crate::command::{Context, Exit};
use crate::discover::sync;
use crate::error::{Error, Kind, Result};
use crate::store::config;
use crate::store::{files, ssh_config};
use crate::sys::environment;
use crate::ui;

/// Writes the config and syncs. An existing config file is never changed.
///
/// # Errors
///
/// [`Kind::Usage`] for options together with an existing config file; errors of writing the config and of the sync.
pub fn run(context: &Context, args: &cli::Init) -> Result<Exit> {
    let path = &context.paths.config;
    ssh_config::check_owner(&context.paths, rustix::process::geteuid().as_raw())?;
    if files::read(path)?.is_some() {
        ui::note(&format!("{} already exists and was not changed", path.display()));
        let flags = args.profile.is_some() || args.sso_session.is_some();
        if flags || !args.regions.is_empty() || !args.tags.is_empty() {
            return Err(Error::new(
                Kind::Usage,
                format!("the options of init apply only to a new config file; {} exists", path.display()),
            )
            .hint("edit that file, then run ssh-eic sync"));
        }
    } else {
        let text = first_config(args);
        // Rejects values that a later command could not read, such as a profile name with a quote.
        config::parse(&text, path)?;
        if let Some(folder) = path.parent() {
            files::make_private_folder(folder)?;
        }
        files::replace(path, text.as_bytes(), 0o600)?;
        ui::note(&format!("wrote {}", path.display()));
    }
    let config = config::load(path, &context.paths.machine_config)?;
    let report = sync::run(&sync::Run {
        paths: &context.paths,
        config: &config,
        binary: environment::own_binary()?,
        flags: context.flags.clone(),
        only: None,
        if_older_than: None,
        occasion: sync::Occasion::Person,
        accept_moves: false,
    })?;
    if report.hosts > 0 {
        let line = ssh_config::include_line(&context.paths)?;
        ui::verbose(|| format!("{} starts with: {line}", context.paths.ssh_config.display()));
        ui::note("done: connect with ssh NAME");
    } else {
        ui::hint(&format!("no instances found: check regions and tags in {}", path.display()));
    }
    Ok(Exit::of_sources(&report.failures))
}

fn first_config(args: &cli::Init) -> String {
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
    let mut tags: Vec<(String, Vec<String>)> = Vec::new();
    for (key, value) in &args.tags {
        match tags.iter_mut().find(|(known, _)| known == key) {
            Some((_, values)) => values.push(string(value)),
            None => tags.push((key.clone(), vec![string(value)])),
        }
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
    use std::path::Path;

    use super::*;
    use crate::domain::source::{Regions, Who};

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
        let config = config::parse(&first_config(&args), Path::new("c")).unwrap();
        let source = &config.sources[0];
        assert_eq!(source.who, Who::Profile("my prod profile".to_owned()));
        assert_eq!(source.regions, Regions::Named(vec!["eu-west-1".to_owned(), "us-east-1".to_owned()]));
        assert_eq!(source.tags["Role"], ["we\"b", "db"]);
        assert_eq!(source.tags["a b"], [""]);
        let bare = first_config(&cli::Init::default());
        assert_eq!(config::parse(&bare, Path::new("c")).unwrap().sources[0].who, Who::Ambient);
        let args = cli::Init { sso_session: Some("corp".into()), roles: vec!["A".into()], ..cli::Init::default() };
        let config = config::parse(&first_config(&args), Path::new("c")).unwrap();
        assert!(matches!(&config.sources[0].who, Who::Accounts(all) if all.session == "corp" && all.roles == ["A"]));
        // Every commented setting is valid when uncommented.
        let all: String = bare
            .lines()
            .map(|line| line.strip_prefix("# ").filter(|l| l.contains(" = ") || l.starts_with("[[")).unwrap_or(line))
            .fold(String::new(), |text, line| text + line + "\n");
        assert!(config::parse(&all, Path::new("c")).is_ok(), "{all}");
    }
}
