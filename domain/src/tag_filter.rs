//! Why the `tags` of a source match no instance: a key or a value that is on none, with the nearest one that is.

use std::collections::{BTreeMap, BTreeSet};

use crate::pattern;

/// Tags of instances: the values of each key. They come from AWS and are not trusted.
pub type TagValues = BTreeMap<String, BTreeSet<String>>;

/// The keys and values of a filter that are on no instance, each as a sentence.
#[must_use]
pub fn unmatched(filter: &BTreeMap<String, Vec<String>>, present: &TagValues) -> Vec<String> {
    let mut sentences = Vec::new();
    for (key, wanted) in filter {
        let Some(values) = present.get(key) else {
            let near = suggestion(key, present.keys());
            sentences.push(format!("no instance has the tag {key}{near}"));
            continue;
        };
        let is_present = |value: &String| values.iter().any(|other| pattern::matches(value, other));
        if !wanted.iter().any(is_present) {
            let shown: Vec<String> = wanted.iter().map(|value| format!("{value:?}")).collect();
            let near = wanted.first().map(|value| suggestion(value, values.iter())).unwrap_or_default();
            sentences.push(format!("no instance has the tag {key} = {}{near}", shown.join(" or ")));
        }
    }
    sentences
}

/// `; did you mean "prod"?`, if one of the others is similar.
fn suggestion<'a>(written: &str, others: impl Iterator<Item = &'a String>) -> String {
    let distance = |other: &&String| strsim::damerau_levenshtein(&other.to_lowercase(), &written.to_lowercase());
    let most = (written.chars().count() / 3).clamp(1, 3);
    let nearest =
        others.filter(|other| other.len() <= 256).min_by_key(distance).filter(|other| distance(other) <= most);
    nearest.map(|other| format!("; did you mean {other:?}?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_or_value_on_no_instance_is_named_with_the_nearest_one() {
        let present = TagValues::from([
            ("Environment".to_owned(), BTreeSet::from(["prod".to_owned(), "st\u{1b}age".to_owned()])),
            ("Role".to_owned(), BTreeSet::from(["web".to_owned()])),
        ]);
        let unmatched = |key: &str, values: &[&str]| {
            let values = values.iter().map(|value| (*value).to_owned()).collect();
            unmatched(&BTreeMap::from([(key.to_owned(), values)]), &present)
        };
        let typo = "no instance has the tag Environment = \"pord\"; did you mean \"prod\"?";
        assert_eq!(unmatched("Environment", &["pord"]), [typo]);
        let key = "no instance has the tag Enviroment; did you mean \"Environment\"?";
        assert_eq!(unmatched("Enviroment", &["prod"]), [key]);
        assert_eq!(unmatched("Role", &["db", "cache"]), ["no instance has the tag Role = \"db\" or \"cache\""]);
        assert_eq!(unmatched("Team", &["x"]), ["no instance has the tag Team"]);
        let escaped = "no instance has the tag Environment = \"stage\"; did you mean \"st\\u{1b}age\"?";
        assert_eq!(unmatched("Environment", &["stage"]), [escaped]);
        assert!(unmatched("Environment", &["pr*"]).is_empty() && unmatched("Role", &["db", "web"]).is_empty());
    }
}
