//! Requested aliases: expands a template with the tags of an instance. `names` resolves conflicts between them.
//!
//! Tags are not trusted, because users who can tag instances may not edit the ssh config. For any tag value, an alias has
//! only `[A-Za-z0-9_-]` and the dots of the template, does not start with `-` or `.`, and has at most 63 bytes.

use std::collections::BTreeMap;

use crate::ids::InstanceId;

/// The longest alias in bytes, as for a DNS label (RFC 1035 section 2.3.4).
pub const LONGEST: usize = 63;

/// A parsed alias template such as `{Environment}-{Name}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// `-`, `_` or `.` between two parts; omitted together with an empty field next to it.
    Separator(String),
    /// Literal text of the template without the separators at its ends; never omitted.
    Word(String),
    Field(String),
}

/// Characters that separate the parts of a name.
const SEPARATORS: [char; 3] = ['-', '_', '.'];

/// The values for the fields of a template.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// `{id}`
    pub id: &'a InstanceId,
    /// `{az}`
    pub az: &'a str,
    /// `{vpc}`
    pub vpc: &'a str,
    /// `{source}`
    pub source: &'a str,
    /// `{region}`
    pub region: &'a str,
    /// `{account}`
    pub account: &'a str,
    /// `{account_name}`: the account name in IAM Identity Center; empty for other sources.
    pub account_name: &'a str,
    /// `{KEY}`: any other field is the key of a tag.
    pub tags: &'a BTreeMap<String, String>,
}

impl Default for Template {
    /// `{Name}`.
    fn default() -> Self {
        Self(vec![Part::Field("Name".to_owned())])
    }
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    ///
    /// A message about an unclosed brace, an empty field, an invalid character, or a template without a field.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some(field) = rest.strip_prefix('{') {
                let (name, after) = field.split_once('}').ok_or("a '{' without a '}'")?;
                if name.is_empty() {
                    return Err("an empty field {}".to_owned());
                }
                parts.push(Part::Field(name.to_owned()));
                rest = after;
            } else {
                let end = rest.find('{').unwrap_or(rest.len());
                let literal = &rest[..end];
                if let Some(bad) = literal.chars().find(|&c| !(c.is_ascii_alphanumeric() || "-_.".contains(c))) {
                    return Err(format!("{bad:?} is not allowed in an alias; use letters, digits, '-', '_' and '.'"));
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
            Err("it has no field such as {Name}, so all instances would have the same alias".to_owned())
        }
    }

    /// The requested alias of an instance in the letter case of its tags, or `None` if every field is empty.
    #[must_use]
    pub fn expand(&self, subject: &Subject<'_>) -> Option<String> {
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
                    let value = sanitize(field_value(field, subject));
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

fn field_value<'a>(field: &str, subject: &Subject<'a>) -> &'a str {
    match field {
        "id" => subject.id.as_str(),
        "region" => subject.region,
        "az" => subject.az,
        "source" => subject.source,
        "account" => subject.account,
        "account_name" => subject.account_name,
        "vpc" => subject.vpc,
        tag => subject.tags.get(tag).map_or("", String::as_str),
    }
}

/// Keeps `[A-Za-z0-9_-]` and replaces each run of other characters by one `-`, without `-` at either end.
#[must_use]
pub fn sanitize(value: &str) -> String {
    let mut name = String::new();
    for c in value.chars() {
        if c.is_ascii_alphanumeric() || c == '_' || c == '-' {
            name.push(c);
        } else if !name.ends_with('-') {
            name.push('-');
        }
    }
    name.trim_matches('-').to_owned()
}

/// Truncates an ASCII name to `longest` bytes, without a separator at its end.
#[must_use]
pub fn cut(name: &str, longest: usize) -> &str {
    name[..name.len().min(longest)].trim_end_matches(['-', '.'])
}

/// Whether ssh or ssh-eic would interpret the name as an IP address, an instance id or localhost.
#[must_use]
pub fn reads_as_something_else(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    // inet_aton(3) accepts "10.1", "2130706433" and "0x7f000001" as addresses.
    let number = |part: &str| match part.strip_prefix("0x") {
        Some(hex) => hex.bytes().all(|b| b.is_ascii_hexdigit()),
        None => !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()),
    };
    lower == "localhost" || lower.split('.').all(number) || InstanceId::parse(&lower).is_some()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn expand(template: &str, tags: &[(&str, &str)]) -> Option<String> {
        let tags = tags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let subject = Subject {
            id: &InstanceId::parse("i-0abc12de").unwrap(),
            az: "eu-west-1a",
            vpc: "vpc-1",
            source: "prod",
            region: "eu-west-1",
            account: "111122223333",
            account_name: "",
            tags: &tags,
        };
        Template::parse(template).unwrap().expand(&subject)
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
    fn invalid_templates_are_rejected() {
        for bad in ["{Name", "{}", "prod", "{Name} x", "a*{Name}", ""] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn an_alias_has_only_allowed_characters(value in any::<String>(), other in any::<String>()) {
            if let Some(name) = expand("{Env}-{Name}", &[("Name", &value), ("Env", &other)]) {
                prop_assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{:?}", name);
                prop_assert!(!name.starts_with('-') && name.len() <= LONGEST && !name.is_empty());
            }
        }
    }
}
