use std::collections::BTreeSet;

use std::time::Duration;

use super::*;
use crate::domain::source::{Accounts, HostKeys, Regions, Route, Source, Who};

fn parsed(text: &str) -> Config {
    parse(text, Path::new("config.toml")).expect(text)
}

fn refusal(text: &str) -> String {
    let error = parse(text, Path::new("config.toml")).expect_err(text);
    assert_eq!(error.kind, Kind::Config);
    std::iter::once(error.message).chain(error.hints).collect::<Vec<_>>().join(" | ")
}

#[test]
fn no_file_means_one_ambient_source() {
    let config = parsed("");
    assert_eq!(config.sources.len(), 1);
    let source = &config.sources[0];
    assert_eq!((source.name.as_str(), &source.who, source.port), ("default", &Who::Ambient, 22));
    assert_eq!(config.connect_timeout, Duration::from_secs(8));
    assert_eq!(config.refresh, Some(Duration::from_mins(15)));
}

#[test]
fn defaults_fill_what_a_source_leaves_out() {
    let config = parsed(
        "[defaults]\nport = 2222\nregions = [\"eu-west-1\"]\n[[source]]\nprofile = \"a\"\n[[source]]\nprofile = \"b\"\nport = 22\n",
    );
    let ports: Vec<u16> = config.sources.iter().map(|source| source.port).collect();
    assert_eq!(ports, [2222, 22]);
    assert_eq!(config.sources[1].regions, Regions::Named(vec!["eu-west-1".to_owned()]));
}

#[test]
fn who_is_meant_is_told_from_the_keys() {
    let config = parsed(
        "[[source]]\nprofile = \"corp-*\"\n[[source]]\nsso_session = \"corp\"\nrole = [\"A\", \"B\"]\nexclude_accounts = [\"x\"]\nregions = [\"all\"]\n",
    );
    assert_eq!(config.sources[0].who, Who::Profiles("corp-*".to_owned()));
    let accounts = Accounts {
        session: "corp".to_owned(),
        only: vec!["*".to_owned()],
        exclude: vec!["x".to_owned()],
        roles: vec!["A".to_owned(), "B".to_owned()],
    };
    assert_eq!((&config.sources[1].who, &config.sources[1].regions), (&Who::Accounts(accounts), &Regions::All));
    assert!(config.sources.iter().all(|source| source.identity().is_none()));
}

#[test]
fn errors_of_form_name_line_and_correction() {
    let table = [
        ("[[source]]\nprofil = \"x\"", "config.toml:2: unknown key \"profil\" | did you mean \"profile\"?"),
        ("[[source]]\nzzz = 1", "config.toml:2: unknown key \"zzz\" | man ssh-eic-config lists all keys"),
        ("profile = \"x\"", "config.toml:1: profile belongs under [[source]]"),
        ("[ssh]\nconnect_timeout = \"1s\"", "config.toml:2: connect_timeout belongs under [limits]"),
        ("[source]\nprofile = \"x\"", "config.toml:1: write [[source]], with two brackets on each side"),
        ("[[ssh]]\npush = \"x\"", "config.toml:1: write [ssh], with one bracket on each side"),
        ("[[source]]\nregions = \"eu-west-1\"", "config.toml:2: regions must be a list: regions = [\"eu-west-1\"]"),
        ("[[source]]\ntags = { Role = 1 }", "config.toml:2: tags.Role must be text or a list of texts"),
        (
            "[[source]]\ntags = \"x\"",
            "config.toml:2: tags must be a table: tags = { Environment = \"prod\", Role = [\"web\", \"db\"] }",
        ),
        ("[[source]]\nprofile = prod", "config.toml:2: this line is not TOML | write profile = \"prod\""),
        ("[[source]]\nprofile: prod", "config.toml:2: this line is not TOML | write profile = \"prod\""),
        ("[[source]]\nprofile", "config.toml:2: this line is not TOML | write profile = \"prod\""),
        ("[[source]]\nprofile prod", "config.toml:2: this line is not TOML | write profile = \"prod\""),
        ("[[source]\nprofile = \"prod\"", "config.toml:1: this line is not TOML | write [[source]]"),
        ("[[source]]\nport = 1\nport = 2", "config.toml:3: port is set twice"),
        ("[[source]]\nport = \"22\"", "config.toml:2: port is a number from 1 to 65535, without quotes: port = 2222"),
        ("[[source]]\nport = 0", "config.toml:2: port is a number from 1 to 65535, without quotes: port = 2222"),
        ("[[source]]\nport = 70000", "config.toml:2: port is a number from 1 to 65535, without quotes: port = 2222"),
        (
            "[limits]\npush_rate = \"5\"",
            "config.toml:2: push_rate is a number from 0.1 to 1000, without quotes: push_rate = 5",
        ),
        ("[limits]\npush_log = \"yes\"", "config.toml:2: push_log is true or false, without quotes"),
        (
            "[limits]\nconnect_timeout = \"soon\"",
            "config.toml:2: connect_timeout: \"soon\" is not a time | write a number with a unit: connect_timeout = \"15m\"",
        ),
        (
            "[limits]\nconnect_timeout = \"0\"",
            "config.toml:2: connect_timeout must be at least 1s: connect_timeout = \"8s\"",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(refusal(text), expected, "{text}");
    }
}

#[test]
fn errors_name_line_and_nearest_key() {
    let table = [
        (
            "[[source]]\nuser = \"a\"\n[[source]]\nname = \"b\"\nuser = \"a b\"",
            "config.toml:5: user: \"a b\" is not a user name that EC2 Instance Connect accepts",
        ),
        (
            "[[source]]\n\nname = \"a'b\"",
            "config.toml:3: source name \"a'b\": '\\'' in it cannot be written into ssh_config",
        ),
        (
            "[[source]]\nalias = \"x\"",
            "config.toml:2: alias \"x\": it has no field such as {Name}, so all instances would have the same alias",
        ),
        (
            "[[source]]\nname = \"a\"\n[[source]]\nname = \"a\"",
            "config.toml:4: two sources are named \"a\" | set another name for one of them",
        ),
        ("[ssh]\npush = \"always\"", "config.toml:2: push cannot be \"always\": one of hook, proxy, auto"),
        ("[ssh]\nlayout = \"inlin\"", "config.toml:2: layout cannot be \"inlin\": one of include, inline"),
        ("[[source]]\nduplicates = \"oldest\"", "config.toml:2: duplicates cannot be \"oldest\": one of list, newest"),
        ("[[source]]\naddress = \"v6\"", "config.toml:2: address cannot be \"v6\": one of private, ipv6, public"),
        (
            "[[source]]\nroute = \"vpn\"",
            "config.toml:2: route: \"vpn\" is not a route; one of direct, endpoint, ssm, auto, jump:HOST",
        ),
        (
            "[[source]]\nroute = \"jump:-oProxyCommand=x\"",
            "config.toml:2: route: \"-oProxyCommand=x\" is not a host name",
        ),
        (
            "[[source]]\nmax_tunnel_duration = \"2h\"",
            "config.toml:2: max_tunnel_duration must be between 1s and 1h: max_tunnel_duration = \"1h\"",
        ),
        (
            "[[source]]\nrole = \"x\"",
            "config.toml:2: role needs an sso_session | to assume a role with the identity of a profile, set role_arn",
        ),
        (
            "[[source]]\nsso_session = \"x\"",
            "config.toml:2: sso_session needs a role: the name of a permission set | role = \"SshUser\"; in a list, the first role that you hold in an account is used",
        ),
        (
            "[[source]]\nprofile = \"p\"\nsso_session = \"x\"\nrole = \"r\"",
            "config.toml:3: profile and sso_session cannot be combined: set one of them",
        ),
        (
            "[[source]]\nrole_arn = \"ssh\"",
            "config.toml:2: role_arn must be an ARN: arn:aws:iam::111122223333:role/NAME",
        ),
        ("[[source]]\nexternal_id = \"x\"", "config.toml:2: external_id and role_session_name need a role_arn"),
        ("[[source]]\naccount = \"1\"", "config.toml:2: account: \"1\" is not an account id of 12 digits"),
        (
            "[[source]]\nstates = [\"runing\"]",
            "config.toml:2: states: \"runing\" is not an instance state; one of pending, running, stopping, stopped, shutting-down",
        ),
        (
            "[[source]]\nregions = [\"all\", \"eu-west-1\"]",
            "config.toml:2: regions: \"all\" cannot be combined with others: regions = [\"all\"]",
        ),
        (
            "[[source]]\nregions = [\"Ireland\"]",
            "config.toml:2: regions: \"Ireland\" is not a region name such as \"eu-west-1\"",
        ),
        (
            "[ssh]\noptions = { ProxyJump = \"b\" }",
            "config.toml:2: options: ProxyJump cannot be set here | set route = \"jump:HOST\" next to options",
        ),
        (
            "[ssh]\noptions = { ForwardAgnt = \"yes\" }",
            "config.toml:2: unknown ssh option ForwardAgnt; did you mean ForwardAgent?",
        ),
        ("[ssh]\noptions = { Compression = true }", "config.toml:2: options.Compression must be text in quotes"),
        (
            "[ssh]\noptions = { \"Host x\" = \"b\" }",
            "config.toml:2: options: \"Host x\" is not a keyword of ssh_config",
        ),
        (
            "[ssh]\noptions = { Compression = \"yes\\nHost *\" }",
            "config.toml:2: options: the value of Compression must be one line",
        ),
        ("[ssh]\nknown_hosts = [\"x\"]", "config.toml:2: known_hosts: \"x\": it is not an absolute path"),
        (
            "[[host]]\nmatch = \"x\"\noptions = { User = \"b\" }",
            "config.toml:3: options: User cannot be set here | set user next to options",
        ),
        ("[[host]]\nmatch = []", "config.toml:2: match needs a pattern of aliases: match = \"prod-db-*\""),
        (
            "[[host]]\nuser = \"a\"",
            "config.toml:1: this [[host]] has no match | add a pattern of aliases: match = \"prod-db-*\"",
        ),
        ("x = [", "config.toml:1: this line is not TOML | see man ssh-eic-config for the form"),
    ];
    for (text, expected) in table {
        assert_eq!(refusal(text), expected, "{text}");
    }
}

#[test]
fn a_key_in_the_wrong_place_and_a_wrong_time_have_the_correction() {
    for (text, expected) in [
        (
            "[[host]]\nmatch = \"x\"\nForwardAgent = \"yes\"",
            "config.toml:3: ForwardAgent belongs in options | options = { ForwardAgent = \"…\" }",
        ),
        ("[[host]]\nmatch = \"x\"\nPort = 23", "config.toml:3: unknown key \"Port\" | did you mean \"port\"?"),
        (
            "[sync]\nrefresh = \"never\"",
            "config.toml:2: refresh: \"never\" is not a time | write a number with a unit, or \"off\": refresh = \"15m\"",
        ),
    ] {
        assert_eq!(refusal(text), expected, "{text}");
    }
}

#[test]
fn routes_and_host_key_modes_of_sources_and_hosts() {
    let text = "[defaults]\nroute = \"auto\"\nmax_tunnel_duration = \"30m\"\n[ssh]\nhost_keys = \"console\"\n\
        [[source]]\nname = \"a\"\n[[source]]\nname = \"b\"\nroute = \"jump:ops@bastion\"\nhost_keys = \"accept-new\"\n\
        [[host]]\nmatch = \"x\"\nroute = \"ssm\"\nhost_keys = \"require-console\"";
    let config = parsed(text);
    let of = |source: &Source| (source.route.clone(), source.max_tunnel_duration, source.host_keys);
    assert_eq!(of(&config.sources[0]), (Route::Auto, 1800, HostKeys::Console));
    assert_eq!(of(&config.sources[1]), (Route::Jump("ops@bastion".to_owned()), 1800, HostKeys::AcceptNew));
    let rule = &config.hosts[0];
    assert_eq!((rule.route.clone(), rule.host_keys), (Some(Route::Ssm), Some(HostKeys::RequireConsole)));
}

#[test]
fn a_user_s_file_stands_over_a_machine_s() {
    let dir = tempfile::tempdir().unwrap();
    let (own, machine) = (dir.path().join("own"), dir.path().join("machine"));
    assert_eq!(load(&own, &machine).unwrap().sources[0].name, "default");
    let of_machine = "[defaults]\nport = 2222\n[[source]]\nprofile = \"a\"\nuser = \"x\"\n[[source]]\nprofile = \"b\"\n[limits]\npush_rate = 5\n[sync]\nrefresh = \"off\"\n";
    fs::write(&machine, of_machine).unwrap();
    let names = |config: &Config| config.sources.iter().map(|source| source.name.clone()).collect::<Vec<_>>();
    let config = load(&own, &machine).unwrap();
    assert_eq!((names(&config), config.sources[0].port), (vec!["a".to_owned(), "b".to_owned()], 2222));
    fs::write(&own, "[[source]]\nprofile = \"c\"\n[[source]]\nprofile = \"a\"\n[limits]\npush_rate = 7\n").unwrap();
    let config = load(&own, &machine).unwrap();
    assert_eq!(names(&config), ["c", "a", "b"]);
    assert_eq!((config.sources[1].user.as_ref(), config.push_rate, config.refresh), (None, 7.0, None));
    fs::write(&machine, "[limits]\npush_rat = 5\n").unwrap();
    let error = load(&own, &machine).unwrap_err();
    assert!(error.message.contains(&format!("{}:2", machine.display())), "{}", error.message);
}

#[test]
fn a_file_that_others_could_have_written_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join("own");
    fs::write(&own, "").unwrap();
    fs::set_permissions(&own, fs::Permissions::from_mode(0o666)).unwrap();
    let error = load(&own, &dir.path().join("none")).unwrap_err();
    assert!(error.message.contains("other users can write"), "{}", error.message);
}

fn keys_of(table: &str) -> BTreeSet<String> {
    raw::keys(table.trim_matches(['[', ']'])).iter().map(|key| key.name.to_owned()).collect()
}

#[test]
fn every_example_is_accepted() {
    for (table, keys) in &raw::TABLES[1..] {
        let header = raw::header(table).expect("a header");
        for key in *keys {
            let needed = if *table == "host" && key.name != "match" { "match = \"x\"\n" } else { "" };
            let others = match key.name {
                "accounts" | "exclude_accounts" | "role" => "sso_session = \"s\"\n",
                "sso_session" => "role = \"r\"\n",
                "external_id" | "role_session_name" => "role_arn = \"arn:aws:iam::111122223333:role/r\"\n",
                _ => "",
            };
            let role = if matches!(key.name, "accounts" | "exclude_accounts") { "role = \"r\"\n" } else { "" };
            parsed(&format!("{header}\n{needed}{others}{role}{}\n", key.example));
        }
    }
}

const PAGE: &str = include_str!("../../../man/ssh-eic-config.5");

#[test]
fn the_man_page_has_every_key_of_the_parser_and_no_other() {
    let tables = PAGE.split("\n.SS ").skip(1).map(|part| part.split("\n.SH ").next().unwrap_or_default());
    let mut seen = BTreeSet::new();
    for part in tables {
        let part = part.replace("\\-", "-");
        let table = part.lines().next().expect("a heading");
        seen.insert(table.trim_matches(['[', ']']).to_owned());
        let entries: Vec<&str> = part.split("\n.TP\n").skip(1).collect();
        let name =
            |entry: &&str| entry.strip_prefix("\\fB").and_then(|rest| rest.split("\\fR").next()).map(str::to_owned);
        let told: BTreeSet<String> = entries.iter().filter_map(name).collect();
        if table == "[defaults]" {
            assert!(told.is_empty() && keys_of(table) == keys_of("[[source]]"), "{told:?}");
            continue;
        }
        assert_eq!(told, keys_of(table), "{table}");
        for entry in entries {
            // Each has an example that the parser takes as it stands.
            let example = entry.lines().last().expect("an example").trim_start_matches("\\fB").trim_end_matches("\\fR");
            let own = name(&entry).expect("a key");
            assert!(example.starts_with(&format!("{own} = ")), "{table} {entry}");
            let needed = if table == "[[host]]" && own != "match" { "match = \"x\"\n" } else { "" };
            let text = format!("{table}\n{needed}{example}\n");
            assert!(raw(&text, Path::new("c")).is_ok(), "{text}");
        }
    }
    assert_eq!(seen, keys_of(""));
}

#[test]
fn the_example_of_the_man_page_is_a_config() {
    let (_, example) = PAGE.rsplit_once(".nf\n").expect("an example");
    let (example, _) = example.split_once(".fi").expect("its end");
    let config = parsed(&example.replace("\\-", "-"));
    assert_eq!((config.sources.len(), config.hosts.len()), (2, 1));
}
