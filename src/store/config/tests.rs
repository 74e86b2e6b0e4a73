use std::collections::BTreeSet;

use std::time::Duration;

use super::*;
use crate::domain::source::{Accounts, Regions, Who};

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
fn errors_name_line_and_nearest_key() {
    let table = [
        ("[[source]]\nprofil = \"x\"", "config.toml:2: unknown field `profil`", "did you mean \"profile\"?"),
        ("[limits]\nconnect_timeout = \"soon\"", "config.toml:2: connect_timeout", "is no time"),
        ("[[source]]\nuser = \"a\"\n[[source]]\nname = \"b\"\nuser = \"a b\"", "config.toml:5: user", "takes"),
        ("[[source]]\nport = 0", "config.toml:2: port", "no port"),
        ("[limits]\nconnect_timeout = \"0\"", "config.toml:2", "1s at least"),
        ("[[source]]\nport = 70000", "config.toml:2", "70000"),
        ("[[source]]\nuser = \"a b\"", "config.toml:2: user", "EC2 Instance Connect takes"),
        ("[[source]]\n\nname = \"a'b\"", "config.toml:3: source name", "cannot be written"),
        ("[[source]]\nalias = \"x\"", "config.toml:2: alias", "names no field"),
        ("[[source]]\nname = \"a\"\n[[source]]\nname = \"a\"", "config.toml:4", "two sources are named \"a\""),
        ("[ssh]\npush = \"always\"", "config.toml:2", "unknown variant"),
        ("[ssh]\nlayout = \"inlin\"", "config.toml:2", "unknown variant"),
        ("[[source]]\nduplicates = \"oldest\"", "config.toml:2", "unknown variant"),
        ("[[source]]\nrole = \"x\"", "config.toml:2: role needs an sso_session", "role_arn"),
        ("[[source]]\nsso_session = \"x\"", "config.toml:2: sso_session needs a role", "permission set"),
        ("[[source]]\nprofile = \"p\"\nsso_session = \"x\"\nrole = \"r\"", "config.toml:3", "two ways"),
        ("[[source]]\nregions = [\"all\", \"eu-west-1\"]", "config.toml:2", "stands alone"),
        ("[ssh]\noptions = { ProxyJump = \"b\" }", "config.toml:2: options: ProxyJump", "go around"),
        ("[ssh]\noptions = { \"Host x\" = \"b\" }", "config.toml:2: options", "no keyword"),
        ("[ssh]\noptions = { Compression = \"yes\\nHost *\" }", "config.toml:2: options", "one line"),
        ("[[host]]\nmatch = \"x\"\noptions = { User = \"b\" }", "config.toml:3: options: User", "set user beside"),
        ("[[host]]\nmatch = []", "config.toml:2: match", "needs a pattern"),
        ("[[host]]\nmatch = \"a\"\n[[host]]\nmatch = \"b\"\nport = 0", "config.toml:5: port", "no port"),
        ("[[host]]\nuser = \"a\"", "config.toml:1", "missing field"),
        ("x = [", "config.toml:1", ""),
    ];
    for (text, line, words) in table {
        let refusal = refusal(text);
        assert!(refusal.starts_with(line) && refusal.contains(words), "{text}\n{refusal}");
    }
}

#[test]
fn what_is_not_built_yet_is_refused_and_not_ignored() {
    for text in [
        "[[source]]\nroute = \"endpoint\"",
        "[[source]]\nroute = \"jump:bastion\"",
        "[defaults]\nroute = \"auto\"",
        "[ssh]\nhost_keys = \"console\"",
        "[[host]]\nmatch = \"x\"\nhost_keys = \"console\"",
        "[[host]]\nmatch = \"x\"\nroute = \"endpoint\"",
    ] {
        assert!(refusal(text).contains("not supported by this version"), "{text}");
    }
    parsed("[ssh]\nhost_keys = \"accept-new\"\n[[source]]\nroute = \"direct\"");
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
    assert!(error.message.contains("can be changed by others"), "{}", error.message);
}

/// The keys of a table as the parser itself knows them: what it names where it meets one that it does not know.
fn keys_of(table: &str) -> BTreeSet<String> {
    let error = toml::from_str::<Raw>(&format!("{table}\nno-key-of-ours = 1\n")).expect_err(table);
    let (_, expected) = error.message().split_once(", expected ").expect("what it expects");
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
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
            assert!(toml::from_str::<Raw>(&text).is_ok(), "{text}");
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
