//! Tag filters as IAM conditions.
//!
//! Sources: EC2 API reference, `Filter` (`*`, `?`, and a backslash before a literal one); IAM User Guide, "IAM JSON policy
//! elements: Condition operators" (`StringLike`; a negated operator is true where the key is absent), "IAM policy elements:
//! Variables and tags" (`${*}`, `${?}` and `${$}`), "IAM and AWS STS quotas" (U+0020 to U+00FF only); Amazon EC2 User
//! Guide, "Tag restrictions".

use std::collections::{BTreeMap, BTreeSet};

use super::{Condition, PolicyError, and, condition};

/// The conditions on tags.
pub(super) type Scope = Condition;

type Filters = BTreeMap<String, Vec<String>>;

/// A part of a pattern: `*`, `?` or a literal character.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Piece {
    AnyRun,
    AnyChar,
    Literal(char),
}

/// The alternative values of a filter.
type Patterns = Vec<Vec<Piece>>;

/// The condition that a tag has one of these literal values.
pub(super) fn equals(key: &str, values: &BTreeSet<String>) -> Condition {
    let exactly = |value: &String| written(&value.chars().map(Piece::Literal).collect::<Vec<_>>(), false);
    condition("StringEquals", &tag(key), values.iter().map(exactly).collect())
}

/// Alternative conditions for the filters. A filter that IAM cannot express is omitted, with a note.
///
/// # Errors
///
/// [`PolicyError::Unfiltered`] if there are tag filters and IAM cannot express any of them.
pub(super) fn scopes(tags: &Filters, exclude: &Filters, notes: &mut Vec<String>) -> Result<Vec<Scope>, PolicyError> {
    let mut scope = Scope::new();
    let mut omitted = Vec::new();
    let mut filters_anything = tags.is_empty();
    for (key, values) in expressible(tags, "tags", &mut omitted) {
        let mut matches_all = false;
        let mut patterns: Patterns = values.iter().map(|value| filter(value)).collect();
        for (value, pieces) in values.iter().zip(&mut patterns) {
            if has_outside_latin1(pieces) {
                omitted.push(format!(
                    "IAM cannot express all characters of the tag filter {key} = {value:?}: the policy has * for them"
                ));
                pieces.iter_mut().filter(|piece| is_outside_latin1(**piece)).for_each(|piece| *piece = Piece::AnyRun);
                pieces.dedup_by(|a, b| *a == Piece::AnyRun && *b == Piece::AnyRun);
                matches_all |= !pieces.iter().any(|piece| matches!(piece, Piece::Literal(_)));
            }
        }
        filters_anything |= !matches_all;
        scope = and(scope, matches(key, &patterns, ["StringEquals", "StringLike"]));
    }
    if !filters_anything {
        return Err(PolicyError::Unfiltered { reason: omitted.join("; ") });
    }
    notes.append(&mut omitted);
    // An instance is excluded if all keys match, so it is allowed if any one of them does not.
    let negated: Option<Vec<Scope>> = expressible_or_none(exclude, notes).map(|keys| {
        let not = |(key, patterns): (&String, Vec<_>)| matches(key, &patterns, ["StringNotEquals", "StringNotLike"]);
        keys.into_iter().map(|one| and(scope.clone(), not(one))).collect()
    });
    Ok(negated.filter(|scopes| !scopes.is_empty()).unwrap_or_else(|| vec![scope]))
}

/// The filters that IAM can express; a note for each of the others.
fn expressible<'f>(filters: &'f Filters, what: &str, notes: &mut Vec<String>) -> Vec<(&'f String, &'f Vec<String>)> {
    let mut kept = Vec::new();
    for (key, values) in filters {
        let differs_in_case = |other: &&String| *other != key && other.to_lowercase() == key.to_lowercase();
        let reason = if !is_key(key) {
            "IAM does not accept this key in a condition"
        } else if filters.keys().any(|other| differs_in_case(&other)) {
            "IAM ignores the case of keys, and another filter has the same key in another case"
        } else if values.is_empty() {
            "it has no value"
        } else {
            kept.push((key, values));
            continue;
        };
        notes.push(format!("the policy omits the filter {what} {key:?}: {reason}"));
    }
    kept
}

/// All keys of an exclusion with their patterns, or `None` if IAM cannot express one of them: without that key the
/// exclusion would also match instances that are needed.
fn expressible_or_none<'f>(exclude: &'f Filters, notes: &mut Vec<String>) -> Option<Vec<(&'f String, Patterns)>> {
    let kept = expressible(exclude, "exclude", notes);
    if kept.len() < exclude.len() {
        return None;
    }
    let mut keys = Vec::new();
    for (key, values) in kept {
        let patterns: Patterns = values.iter().map(|value| plain(value)).collect();
        if patterns.iter().any(|pieces| has_outside_latin1(pieces)) {
            notes
                .push(format!("the policy omits the filter exclude {key:?}: IAM cannot express all of its characters"));
            return None;
        }
        keys.push((key, patterns));
    }
    Some(keys)
}

/// Whether EC2 allows this tag key and IAM accepts it in a policy.
fn is_key(key: &str) -> bool {
    let fits = |c: char| !is_outside_latin1(Piece::Literal(c)) && (c.is_alphanumeric() || " _.:/=+-@".contains(c));
    !key.is_empty() && key.chars().count() <= 128 && key.chars().all(fits)
}

fn tag(key: &str) -> String {
    format!("aws:ResourceTag/{key}")
}

/// The same conditions on tags with the key that Systems Manager has for them.
pub(super) fn as_session_manager_tags(scope: &Scope) -> Scope {
    let renamed = |key: &str| key.replacen("aws:ResourceTag/", "ssm:resourceTag/", 1);
    scope
        .iter()
        .map(|(operator, keys)| (*operator, keys.iter().map(|(key, values)| (renamed(key), values.clone())).collect()))
        .collect()
}

/// The condition for one key. All values share one operator: they are alternatives only there.
fn matches(key: &str, patterns: &[Vec<Piece>], [exactly, like]: [&'static str; 2]) -> Condition {
    let has_wildcards = patterns.iter().flatten().any(|piece| !matches!(piece, Piece::Literal(_)));
    let values = patterns.iter().map(|pieces| written(pieces, has_wildcards)).collect();
    condition(if has_wildcards { like } else { exactly }, &tag(key), values)
}

/// Parses a value of an EC2 filter.
fn filter(value: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut letters = value.chars().peekable();
    while let Some(letter) = letters.next() {
        let escaped = (letter == '\\').then(|| letters.next_if(|next| r"*?\".contains(*next))).flatten();
        pieces.push(escaped.map_or_else(|| piece(letter), Piece::Literal));
    }
    pieces
}

/// Parses a pattern of the config, which has no escapes.
fn plain(value: &str) -> Vec<Piece> {
    value.chars().map(piece).collect()
}

fn piece(letter: char) -> Piece {
    match letter {
        '*' => Piece::AnyRun,
        '?' => Piece::AnyChar,
        other => Piece::Literal(other),
    }
}

fn is_outside_latin1(piece: Piece) -> bool {
    matches!(piece, Piece::Literal(letter) if !('\u{20}'..='\u{ff}').contains(&letter))
}

fn has_outside_latin1(pieces: &[Piece]) -> bool {
    pieces.iter().any(|piece| is_outside_latin1(*piece))
}

fn written(pieces: &[Piece], in_pattern: bool) -> String {
    let mut text = String::new();
    for (at, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::AnyRun => text.push('*'),
            Piece::AnyChar => text.push('?'),
            Piece::Literal(wild @ ('*' | '?')) if in_pattern => text.extend(['$', '{', *wild, '}']),
            // An unescaped "${" would start a policy variable.
            Piece::Literal('$') if pieces.get(at + 1) == Some(&Piece::Literal('{')) => text.push_str("${$}"),
            Piece::Literal(letter) => text.push(*letter),
        }
    }
    text
}
