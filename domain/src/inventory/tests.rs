use proptest::prelude::*;

use super::*;
use crate::fleet::samples;

const ID: &str = "i-0abc12def34567890";

fn host(alias: &str, tags: &[(&str, &str)]) -> Host {
    let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Host { tags, ..samples::host(Some(alias), ID, "ec2-user") }
}

fn list(hosts: &[Host]) -> Value {
    Inventory::new(hosts.iter(), &|_| true).list(&|_| None)
}

/// Each group and its hosts.
fn groups_of(list: &Value) -> BTreeMap<String, Vec<String>> {
    let names = |hosts: &Value| serde_json::from_value(hosts["hosts"].clone()).unwrap();
    let groups = list.as_object().unwrap().iter().filter(|(name, _)| *name != "_meta");
    groups.map(|(name, hosts)| (name.clone(), names(hosts))).collect()
}

fn names_of(list: &Value) -> Vec<String> {
    list["_meta"]["hostvars"].as_object().unwrap().keys().cloned().collect()
}

#[test]
fn groups_match_those_of_the_aws_ec2_plugin() {
    let tags = [("Role", "web"), ("cost center", "4711/a"), ("1st", ""), ("Köln", "x"), ("aws:x:y", "z")];
    let host = Host {
        az: "eu-west-1a".to_owned(),
        vpc: "vpc-0aaaabbbb".to_owned(),
        source: "corp/Prod EU".to_owned(),
        ..host("web-1", &tags)
    };
    let groups: Vec<String> = groups_of(&list(&[host])).into_keys().collect();
    let expected = [
        "account_111122223333",
        "az_eu_west_1a",
        "region_eu_west_1",
        "source_corp_Prod_EU",
        "state_running",
        "tag_1st_",
        "tag_K_ln_x",
        "tag_Role_web",
        "tag_aws_x_y_z",
        "tag_cost_center_4711_a",
        "vpc_0aaaabbbb",
    ];
    assert_eq!(groups, expected);
}

#[test]
fn values_with_the_same_group_name_share_the_group() {
    let other = Host {
        id: crate::ids::InstanceId::parse("i-0abc12de").unwrap(),
        ..host("b", &[("Role", "web.1"), ("Role_web", "1")])
    };
    let groups = groups_of(&list(&[host("a", &[("Role", "web-1")]), other]));
    assert_eq!(groups["tag_Role_web_1"], ["a", "b"]);
}

#[test]
fn a_host_with_a_reserved_name_is_listed_by_its_id() {
    for alias in ["all", "ungrouped", "_meta", "localhost", "state_running", "tag_role_db"] {
        let list = list(&[host(alias, &[("role", "db")])]);
        assert_eq!(names_of(&list), [ID], "{alias}");
        assert!(groups_of(&list).values().all(|hosts| hosts == &[ID]));
        assert_eq!(list["_meta"]["hostvars"][ID]["ssh_eic_alias"], alias);
    }
    let unnamed = Inventory::new([host("web", &[])].iter(), &|_| false).list(&|_| None);
    assert_eq!(names_of(&unnamed), [ID], "ssh does not know the alias");
}

#[test]
fn a_tag_cannot_replace_the_variables_of_its_host() {
    let vars = vars(&host("a", &[("__ansible_unsafe", "x"), ("__ansible_vault", "y"), ("Name", "{{ 7 * 6 }}")]), None);
    assert_eq!(vars["ssh_eic_tags"], json!({ "Name": { "__ansible_unsafe": "{{ 7 * 6 }}" } }));
}

#[test]
fn a_tag_with_special_characters_in_its_key_is_not_a_variable() {
    let tags = [("{{ 7 * 6 }}", "x"), ("{% raw %}", "x"), ("Köln", "x"), ("aws:x/y.z=a+b@c-d e_1", "kept")];
    let vars = vars(&host("a", &tags), None);
    assert_eq!(vars["ssh_eic_tags"], json!({ "aws:x/y.z=a+b@c-d e_1": "kept" }));
}

#[test]
fn arguments_are_quoted_for_shlex_and_rsync() {
    let option = |keyword: &str, value: &str| (keyword.to_owned(), value.to_owned());
    let options = vec![
        option("HostName", "10.0.3.7"),
        option("ProxyCommand", "'/opt/ssh-eic' proxy %h '%r'"),
        option("IdentityFile", "\"${HOME}/a b\""),
        option("SetEnv", "A=\"it's\""),
    ];
    let expected = "-F /dev/null -o HostName=10.0.3.7 -o \"ProxyCommand='/opt/ssh-eic' proxy %h '%r'\" \
                    -o 'IdentityFile=\"${HOME}/a b\"' -o 'SetEnv=A=\"it'\\''s\"'";
    assert_eq!(arguments(&options), expected);
}

#[test]
fn user_and_port_are_left_to_ansible() {
    let options: Options = [("HostName", "x"), ("User", "u"), ("Port", "22"), ("ControlPath", "/x/%p")]
        .map(|(keyword, value)| (keyword.to_owned(), value.to_owned()))
        .into();
    let keywords = |options: Options| options.into_iter().map(|(keyword, _)| keyword).collect::<Vec<_>>();
    assert_eq!(keywords(for_ansible(options.clone(), true)), ["HostName", "ControlPath"]);
    assert_eq!(keywords(for_ansible(options, false)), ["HostName"]);
}

/// Every string of a value, and whether it is marked as unsafe.
fn texts(value: &Value, found: &mut Vec<(String, bool)>) {
    match value {
        Value::String(text) => found.push((text.clone(), false)),
        Value::Array(all) => all.iter().for_each(|one| texts(one, found)),
        Value::Object(object) if object.contains_key("__ansible_unsafe") => {
            assert_eq!(object.len(), 1);
            found.push((object["__ansible_unsafe"].as_str().expect("a text").to_owned(), true));
        }
        Value::Object(object) => {
            for (key, one) in object {
                assert!(!key.starts_with("__ansible") && !key.contains(['{', '}', '%', '#', '\'', '"', '\\']), "{key}");
                texts(one, found);
            }
        }
        _ => {}
    }
}

proptest! {
    #[test]
    fn no_tag_or_name_changes_the_structure_of_the_inventory(
        alias in "[a-z_][a-z0-9_-]{0,20}|tag_[a-c]_[a-c]|all|localhost",
        tags in prop::collection::btree_map("\\PC{0,8}|[a-c]|__ansible[a-z_]{0,8}", "\\PC{0,12}|[a-c]", 0..6),
        source in "\\PC{1,10}",
    ) {
        let host = Host { tags: tags.clone(), source, ..samples::host(Some(&alias), ID, "ec2-user") };
        let list = list(std::slice::from_ref(&host));
        let names = names_of(&list);
        prop_assert_eq!(names.len(), 1);
        prop_assert!(names[0] == alias || names[0] == ID);
        prop_assert!(!RESERVED.contains(&names[0].as_str()));
        let groups = groups_of(&list);
        for (group, hosts) in &groups {
            let first = group.chars().next().expect("a name");
            prop_assert!(first.is_ascii_lowercase() && group.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{group}");
            prop_assert!(!names.contains(group) && !RESERVED.contains(&group.as_str()), "{group}");
            prop_assert_eq!(hosts, &names);
        }
        let of_tags = groups.keys().filter(|group| group.starts_with("tag_")).count();
        prop_assert!(of_tags <= tags.len() && of_tags >= usize::from(!tags.is_empty()));
        prop_assert_eq!(groups.len() - of_tags, 4, "source, account, region, state: no tag makes another kind");
        let mut found = Vec::new();
        texts(&list["_meta"]["hostvars"], &mut found);
        for (text, marked) in &found {
            prop_assert!(*marked || !text.contains(['{', '}', '%', '#', '!', '\'', '"', '\\', '\n']), "{text}");
        }
        let is_kept = |key: &str| !key.starts_with("__ansible") && key.chars().all(|c| c.is_ascii_alphanumeric());
        for (key, value) in tags.iter().filter(|(key, _)| is_kept(key)) {
            prop_assert!(found.iter().any(|(text, _)| text == value), "{key}");
        }
    }
}
