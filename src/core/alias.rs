//! From tags to names: templates, sanitising, and who gets a name that several want.
//!
//! Tags are written by people who are not trusted with anyone's ssh config. Whatever a tag holds, an alias is made of
//! `[A-Za-z0-9_-]` (and dots that the template itself has), starts with none of `-.`, and has at most 63 bytes.

use std::collections::BTreeMap;

use crate::core::fleet::{Instance, TAG_AUTO_SCALING};
use crate::core::ids::InstanceId;

/// Longest alias in bytes, that of a DNS label (RFC 1035 section 2.3.4).
pub const LONGEST: usize = 63;
/// Digits of the id that a suffix starts with.
const SUFFIX: usize = 6;

/// A parsed alias template such as `{Environment}-{Name}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// `-`, `_`, `.` between two others; goes with the field beside it.
    Separator(String),
    /// Letters and digits of the template itself, with what is between them; always stays.
    Word(String),
    Field(String),
}

/// What separates the parts of a name.
const SEPARATORS: [char; 3] = ['-', '_', '.'];

/// What a template can name besides tags.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// `{source}`
    pub source: &'a str,
    /// `{region}`
    pub region: &'a str,
    /// `{account}`
    pub account: &'a str,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    ///
    /// Says in words what is wrong: an open brace, an empty field, a character that no alias may have.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(field) = rest.strip_prefix('{') {
                let (name, after) = field.split_once('}').ok_or("a '{' without its '}'")?;
                if name.is_empty() {
                    return Err("an empty field {}".to_owned());
                }
                if name == "account_name" {
                    return Err("{account_name} is not supported by this version; {account} is".to_owned());
                }
                parts.push(Part::Field(name.to_owned()));
                rest = after;
            } else {
                let end = rest.find('{').unwrap_or(rest.len());
                let literal = &rest[..end];
                if let Some(bad) = literal.chars().find(|&c| !(c.is_ascii_alphanumeric() || "-_.".contains(c))) {
                    return Err(format!("{bad:?} cannot stand in an alias; letters, digits, '-', '_' and '.' can"));
                }
                let word = literal.trim_matches(SEPARATORS);
                let (before, after) = literal.split_once(word).filter(|_| !word.is_empty()).unwrap_or((literal, ""));
                let as_separator = |text: &str| (!text.is_empty()).then(|| Part::Separator(text.to_owned()));
                parts.extend(as_separator(before));
                parts.extend((!word.is_empty()).then(|| Part::Word(word.to_owned())));
                parts.extend(as_separator(after));
                rest = &rest[end..];
            }
        }
        if parts.iter().any(|part| matches!(part, Part::Field(_))) {
            Ok(Self(parts))
        } else {
            Err("it names no field such as {Name}, so all instances would have one alias".to_owned())
        }
    }

    /// The wanted name of an instance in its own spelling, or none where the tags leave nothing.
    #[must_use]
    pub fn expand(&self, instance: &Instance, place: Place<'_>) -> Option<String> {
        let mut name = String::new();
        let mut separator = "";
        let mut has_value = false;
        for part in &self.0 {
            match part {
                Part::Separator(text) => separator = text,
                Part::Word(text) => {
                    name.push_str(if name.is_empty() { "" } else { separator });
                    name.push_str(text);
                    separator = "";
                }
                Part::Field(field) => {
                    let value = sanitize(&field_value(field, instance, place));
                    if !value.is_empty() {
                        has_value = true;
                        name.push_str(if name.is_empty() { "" } else { separator });
                        name.push_str(&value);
                    }
                    separator = "";
                }
            }
        }
        if !has_value {
            return None;
        }
        let name = cut(name.trim_start_matches(['-', '.']), LONGEST);
        (!name.is_empty()).then(|| name.to_owned())
    }
}

fn field_value(field: &str, instance: &Instance, place: Place<'_>) -> String {
    match field {
        "id" => instance.id.as_str().to_owned(),
        "region" => place.region.to_owned(),
        "az" => instance.az.clone(),
        "source" => place.source.to_owned(),
        "account" => place.account.to_owned(),
        "vpc" => instance.vpc.clone(),
        tag => instance.tags.get(tag).cloned().unwrap_or_default(),
    }
}

/// Keeps `[A-Za-z0-9_-]`; every other run of characters becomes one `-`, none at either end.
#[must_use]
pub fn sanitize(value: &str) -> String {
    let mut kept = String::new();
    for c in value.chars() {
        if c.is_ascii_alphanumeric() || c == '_' || c == '-' {
            kept.push(c);
        } else if !kept.ends_with('-') {
            kept.push('-');
        }
    }
    kept.trim_matches('-').to_owned()
}

fn cut(name: &str, longest: usize) -> &str {
    // ASCII only, so that every index is a boundary.
    name[..name.len().min(longest)].trim_end_matches(['-', '.'])
}

/// One that wants a name.
#[derive(Debug, Clone)]
pub struct Wish {
    /// The instance.
    pub id: InstanceId,
    /// The name it wants, in its own spelling.
    pub name: Option<String>,
    /// It has an id suffix even if nobody else wants the name.
    pub always_suffixed: bool,
}

impl Wish {
    /// The wish of an instance under a template.
    #[must_use]
    pub fn of(instance: &Instance, template: &Template, place: Place<'_>) -> Self {
        Self {
            id: instance.id.clone(),
            name: template.expand(instance, place),
            always_suffixed: instance.tags.contains_key(TAG_AUTO_SCALING),
        }
    }
}

/// The names that one instance got: the alias in lower case, and its other spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// Lower case.
    pub alias: String,
    /// The tag's own spelling, where it differs.
    pub spelling: Option<String>,
}

/// Gives every wish its names. Whoever shares a wanted name, or may not have it, gets it with a suffix of its id;
/// the outcome depends on the set of wishes only, not on their order.
#[must_use]
pub fn assign(wishes: &[Wish], taken: impl Fn(&str) -> bool) -> BTreeMap<InstanceId, Names> {
    let named: Vec<(&Wish, &str)> = wishes.iter().filter_map(|w| w.name.as_deref().map(|name| (w, name))).collect();
    let mut suffix: BTreeMap<&InstanceId, usize> = BTreeMap::new();
    for (wish, name) in &named {
        if wish.always_suffixed || reads_as_something_else(name) || taken(&name.to_ascii_lowercase()) {
            suffix.insert(&wish.id, SUFFIX);
        }
    }
    // A suffixed name may be one that somebody else's tag spells out: lengthen until all differ. A full id ends
    // one alias only, so this comes to an end.
    loop {
        let mut claims: BTreeMap<String, Vec<&InstanceId>> = BTreeMap::new();
        for (wish, name) in &named {
            claims.entry(with_suffix(name, wish, &suffix).to_ascii_lowercase()).or_default().push(&wish.id);
        }
        let contested: Vec<&InstanceId> = claims.into_values().filter(|ids| ids.len() > 1).flatten().collect();
        let before = suffix.clone();
        for id in contested {
            let digits = suffix.entry(id).or_insert(0);
            *digits = if *digits == 0 { SUFFIX } else { (*digits + 1).min(id.digits().len()) };
        }
        if suffix == before {
            break;
        }
    }
    let mut assigned: BTreeMap<InstanceId, Names> = BTreeMap::new();
    for (wish, name) in &named {
        let spelling = with_suffix(name, wish, &suffix);
        let alias = spelling.to_ascii_lowercase();
        let spelling = (spelling != alias).then_some(spelling);
        assigned.insert(wish.id.clone(), Names { alias, spelling });
    }
    assigned
}

fn with_suffix(name: &str, wish: &Wish, suffix: &BTreeMap<&InstanceId, usize>) -> String {
    match suffix.get(&wish.id) {
        None => cut(name, LONGEST).to_owned(),
        Some(&digits) => {
            let digits = &wish.id.digits()[..digits];
            format!("{}-{digits}", cut(name, LONGEST - 1 - digits.len()))
        }
    }
}

/// Whether ssh or we would read the name as an address, an id or this machine.
fn reads_as_something_else(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    // inet_aton(3) takes "10.1", "2130706433" and "0x7f000001" as addresses.
    let number = |part: &str| match part.strip_prefix("0x") {
        Some(hex) => hex.bytes().all(|b| b.is_ascii_hexdigit()),
        None => !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()),
    };
    lower == "localhost" || lower.split('.').all(number) || InstanceId::parse(&lower).is_some()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn instance(id: &str, tags: &[(&str, &str)]) -> Instance {
        Instance {
            id: InstanceId::parse(id).unwrap(),
            state: "running".to_owned(),
            state_reason: String::new(),
            private_ip: Some("10.0.0.1".to_owned()),
            ipv6: None,
            public_ip: None,
            az: "eu-west-1a".to_owned(),
            vpc: "vpc-1".to_owned(),
            image: "ami-1".to_owned(),
            windows: false,
            tags: tags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        }
    }

    const PLACE: Place<'_> = Place { source: "prod", region: "eu-west-1", account: "111122223333" };

    fn expand(template: &str, tags: &[(&str, &str)]) -> Option<String> {
        Template::parse(template).unwrap().expand(&instance("i-0abc12de", tags), PLACE)
    }

    #[test]
    fn templates_drop_a_missing_tag_with_its_separator() {
        let tags: &[(&str, &str)] = &[("Name", "Web 1"), ("Env", "prod"), ("Empty", ""), ("Bad", "***")];
        let table = [
            ("{Name}", Some("Web-1")),
            ("{Env}-{Name}", Some("prod-Web-1")),
            ("{Nope}-{Name}", Some("Web-1")),
            ("{Env}-{Nope}-{Name}", Some("prod-Web-1")),
            ("{Env}-{Empty}", Some("prod")),
            ("{Bad}", None),
            ("{Name}.{region}", Some("Web-1.eu-west-1")),
            ("ec2-{Name}", Some("ec2-Web-1")),
            ("ec2-{Nope}-{Name}", Some("ec2-Web-1")),
            ("{Name}-aws-{Nope}", Some("Web-1-aws")),
            ("ec2-{Nope}", None),
            ("{Nope}", None),
            ("{id}", Some("i-0abc12de")),
            ("{Name}-aws", Some("Web-1-aws")),
        ];
        for (template, expected) in table {
            assert_eq!(expand(template, tags).as_deref(), expected, "{template}");
        }
    }

    #[test]
    fn a_bad_template_is_refused_in_words() {
        for bad in ["{Name", "{}", "prod", "{Name} x", "a*{Name}", ""] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }

    fn wish(id: &str, name: &str) -> Wish {
        Wish { id: InstanceId::parse(id).unwrap(), name: Some(name.to_owned()), always_suffixed: false }
    }

    fn aliases(wishes: &[Wish]) -> Vec<String> {
        assign(wishes, |_| false).into_values().map(|n| n.alias).collect()
    }

    #[test]
    fn a_shared_name_is_suffixed_for_all_who_share_it() {
        let wishes =
            [wish("i-0abc12def34567890", "web"), wish("i-0abc12aef34567890", "Web"), wish("i-0fff12def34567890", "db")];
        assert_eq!(aliases(&wishes), ["web-0abc12a", "web-0abc12d", "db"]);
    }

    #[test]
    fn a_tag_that_spells_out_a_suffixed_name_wins_nothing() {
        let wishes = [
            wish("i-0abc12def34567890", "web"),
            wish("i-1abc12aef34567890", "web"),
            wish("i-2fff12def34567890", "web-0abc12"),
        ];
        let names = aliases(&wishes);
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 3);
        assert!(!names.contains(&"web-0abc12".to_owned()), "{names:?}");
    }

    #[test]
    fn names_that_mean_something_else_are_suffixed() {
        for name in ["localhost", "10", "0x7f000001", "i-0abc12de", "LOCALHOST"] {
            let names = aliases(&[wish("i-0abc12def34567890", name)]);
            assert_eq!(names, [format!("{}-0abc12", name.to_ascii_lowercase())]);
        }
    }

    #[test]
    fn another_spelling_is_a_second_name() {
        let names = assign(&[wish("i-0abc12de", "Prod-Web")], |_| false);
        let names = names.values().next().unwrap();
        assert_eq!((names.alias.as_str(), names.spelling.as_deref()), ("prod-web", Some("Prod-Web")));
    }

    proptest! {
        #[test]
        fn an_alias_holds_nothing_but_the_allowed_bytes(value in any::<String>(), other in any::<String>()) {
            if let Some(name) = expand("{Env}-{Name}", &[("Name", &value), ("Env", &other)]) {
                prop_assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{:?}", name);
                prop_assert!(!name.starts_with('-') && name.len() <= LONGEST && !name.is_empty());
            }
        }

        #[test]
        fn all_names_differ_and_do_not_depend_on_the_order(
            pool in prop::collection::btree_map("[0-9a-f]{8}", "(web|web-00|Web|a{60,70}|web-[0-3]{6})", 1..12),
            turn in 0_usize..12,
        ) {
            let mut wishes: Vec<Wish> = pool.iter().map(|(id, name)| wish(&format!("i-{id}"), name)).collect();
            let names = assign(&wishes, |_| false);
            let distinct: BTreeSet<&str> = names.values().map(|n| n.alias.as_str()).collect();
            prop_assert_eq!(distinct.len(), pool.len());
            prop_assert!(distinct.iter().all(|alias| alias.len() <= LONGEST));
            let turn = turn % wishes.len();
            wishes.rotate_left(turn);
            prop_assert_eq!(assign(&wishes, |_| false), names);
        }
    }
}
