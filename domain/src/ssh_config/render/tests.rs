use super::*;
use crate::fleet::samples;
use crate::source::{HostKeys, Route};

fn host(alias: &str, id: &str, user: &str) -> Host {
    samples::host(Some(alias), id, user)
}

pub(super) fn settings() -> Settings {
    Settings {
        binary: "/usr/local/bin/ssh-eic".to_owned(),
        flags: Vec::new(),
        folder: "/home/u/.ssh/eic".to_owned(),
        known_hosts: Vec::new(),
        control_persist: None,
        fallback: (OsUser::ec2_user(), 22),
        options: BTreeMap::new(),
        hosts: vec!["*".to_owned()],
        local_user: "alice".to_owned(),
        caller_is_readable: true,
    }
}

#[test]
fn the_files_are_those_of_the_contract() {
    let files = files(&[host("prod-web-1", "i-0abc12def34567890", "ec2-user")], &[], &settings());
    let expected = "\
Host prod-web-1
    HostName 10.0.3.7
    HostKeyAlias i-0abc12def34567890
Host prod-web-1
    User ec2-user
    Port 22
    IdentityFile /home/u/.ssh/eic/keys/%k
    ProxyCommand '/usr/local/bin/ssh-eic' proxy --region eu-west-1 --source prod --default-user ec2-user -- %k %h %p
    ProxyUseFdpass no
    ControlPath /home/u/.ssh/eic/cm/%k-%p-%r
    IdentitiesOnly yes
    AddKeysToAgent no
    PubkeyAuthentication yes
    PreferredAuthentications publickey,keyboard-interactive
    UserKnownHostsFile /home/u/.ssh/eic/known_hosts /home/u/.ssh/eic/known_hosts.console
    HashKnownHosts no
    StrictHostKeyChecking accept-new
";
    assert!(files.hosts[HEADER.len()..].starts_with(expected), "{}", files.hosts);
    let first = files.hook.lines().nth(1).unwrap();
    assert!(first.starts_with("Match originalhost \"prod-web-1\" exec "), "{first}");
    assert!(first.ends_with(" exec \"exec '/usr/local/bin/ssh-eic' match -- '%n'\""), "{first}");
}

#[test]
fn commands_contain_the_user_name_only_where_the_caller_cannot_be_read() {
    let hosts = [host("prod-web-1", "i-0abc12def34567890", "ec2-user")];
    let files_for = |caller_is_readable| files(&hosts, &[], &Settings { caller_is_readable, ..settings() });
    let (without, with) = (files_for(true), files_for(false));
    assert!(without.named().iter().all(|(_, text)| !text.contains("'%r'") && !text.contains("user \"")));
    assert!(!without.guard.contains("/users"), "{}", without.guard);
    let command = "\n    ProxyCommand '/usr/local/bin/ssh-eic' proxy --default-user ec2-user -- %k %h %p\n";
    assert!(without.ids.ends_with(command) && without.ids.matches("Match ").count() == 1, "{}", without.ids);
    // There the names are checked before.
    assert!(with.guard.contains("Match originalhost \"prod-web-1\"\n    Include /home/u/.ssh/eic/users\n"));
    assert!(with.users.contains("Match user \"*,!"), "{}", with.users);
    assert!(with.hosts.contains(" -- %k %h %p '%r'\n"), "{}", with.hosts);
}

#[test]
fn lines_of_names_stay_within_100_names_and_1000_bytes() {
    let names: Vec<String> = (0..950).map(|n| format!("host-{n:0width$}", width = 2 + n % 40)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let lines = name_lines(&names);
    assert!(lines.iter().all(|line| line.split(' ').count() <= 100 && "Host ".len() + line.len() < 1000));
    assert_eq!(lines.join(" "), names.join(" "));
}

#[test]
fn an_id_of_another_user_has_its_own_line_before_the_pattern() {
    let files = files(&[host("a", "i-0abc12de", "ubuntu"), host("b", "i-0abc12df", "ec2-user")], &[], &settings());
    let own = files.hosts.find("Host i-0abc12de\n    User ubuntu\n").expect("lines of its own");
    assert!(own < files.hosts.find("Host i-????????").expect("the pattern"));
    assert!(!files.hosts.contains("Host i-0abc12df"));
}

#[test]
fn paths_that_would_break_the_quoting_are_refused() {
    for bad in ["/a'b", "/a\"b", "/a\nb", "/a${b", "a/b", "/a\\b", "/a*", "/[a]"] {
        assert!(check_path(bad).is_err(), "{bad}");
    }
    assert!(check_path("/home/a b/100%/.ssh/eic").is_ok());
}

#[test]
fn spaces_and_percents_are_quoted() {
    let mut settings = settings();
    settings.folder = "/home/a b/100%".to_owned();
    settings.binary = "/opt/my tools/50%/ssh-eic".to_owned();
    let text = files(&[host("a", "i-0abc12de", "ec2-user")], &[], &settings).hosts;
    assert!(text.contains("IdentityFile \"/home/a b/100%%/keys/%k\"\n"), "{text}");
    assert!(text.contains("ProxyCommand '/opt/my tools/50%%/ssh-eic' proxy"), "{text}");
}

#[test]
fn options_of_a_connection_become_flags_where_they_are_not_the_default() {
    let plain = host("a", "i-0abc12d0", "ec2-user");
    let tunnel = Host {
        route: Route::Endpoint,
        max_tunnel_duration: 1800,
        host_keys: HostKeys::RequireConsole,
        ..host("b", "i-0abc12d1", "ec2-user")
    };
    let jump = Host { route: Route::Jump("ops@bastion".to_owned()), ..host("c", "i-0abc12d2", "ec2-user") };
    let text = files(&[plain, tunnel, jump], &[], &settings()).hosts;
    let flags = |name: &str| {
        let block = text.split("Host ").find(|block| block.starts_with(&format!("{name}\n    User"))).expect("a block");
        let command = block.lines().find_map(|line| line.strip_prefix("    ProxyCommand ")).expect("a command");
        command
            .strip_prefix("'/usr/local/bin/ssh-eic' proxy --region eu-west-1 --source prod --default-user ec2-user ")
            .expect("ours")
            .to_owned()
    };
    assert_eq!(flags("a"), "-- %k %h %p");
    assert_eq!(flags("b"), "--route endpoint --max-tunnel-duration 30m --host-keys require-console -- %k %h %p");
    assert_eq!(flags("c"), "--route jump:ops@bastion -- %k %h %p");
}
