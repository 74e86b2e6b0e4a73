//! Tag filters in IAM's words.
//!
//! Sources: EC2 API reference, `Filter` (`*`, `?`, and a backslash before a literal one); IAM User Guide, "IAM JSON policy
//! elements: Condition operators" (`StringLike`; a negated operator is true where the key is absent), "IAM policy elements:
//! Variables and tags" (`${*}`, `${?}` and `${$}`), "IAM and AWS STS quotas" (U+0020 to U+00FF only); Amazon EC2 User
//! Guide, "Tag restrictions".

use std::collections::{BTreeMap, BTreeSet};

use super::{Condition, Refusal, and, condition};

/// The part of a condition that tags make.
pub(super) type Scope = Condition;

type Filters = BTreeMap<String, Vec<String>>;

/// A piece of a filter's value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Piece {
    Any,
    One,
    Exactly(char),
}

/// The values of a filter.
type Patterns = Vec<Vec<Piece>>;

/// That a tag is one of these, letter by letter.
pub(super) fn equals(key: &str, values: &BTreeSet<String>) -> Condition {
    let exactly = |value: &String| written(&value.chars().map(Piece::Exactly).collect::<Vec<_>>(), false);
    condition("StringEquals", &tag(key), values.iter().map(exactly).collect())
}

/// The conditions of which any one has to hold. What IAM has no words for is left out and noted.
///
/// # Errors
///
/// [`Refusal::Unfiltered`] if nothing is left of all tag filters that there are.
pub(super) fn scopes(tags: &Filters, exclude: &Filters, notes: &mut Vec<String>) -> Result<Vec<Scope>, Refusal> {
    let mut scope = Scope::new();
    let mut left_out = Vec::new();
    let mut filters_anything = tags.is_empty();
    for (key, values) in expressible(tags, "tags", &mut left_out) {
        let mut takes_any = false;
        let mut patterns: Patterns = values.iter().map(|value| filter(value)).collect();
        for (value, pieces) in values.iter().zip(&mut patterns) {
            if has_foreign(pieces) {
                left_out.push(format!(
                    "IAM has no words for all characters of the tag filter {key} = {value:?}: * stands for those"
                ));
                pieces.iter_mut().filter(|piece| is_foreign(**piece)).for_each(|piece| *piece = Piece::Any);
                pieces.dedup_by(|a, b| *a == Piece::Any && *b == Piece::Any);
                takes_any |= !pieces.iter().any(|piece| matches!(piece, Piece::Exactly(_)));
            }
        }
        filters_anything |= !takes_any;
        scope = and(scope, matches(key, &patterns, ["StringEquals", "StringLike"]));
    }
    if !filters_anything {
        return Err(Refusal::Unfiltered { why: left_out.join("; ") });
    }
    notes.append(&mut left_out);
    // Left out is what matches all of it: allowed is what any one key of it does not match.
    let negated: Option<Vec<Scope>> = expressible_or_none(exclude, notes).map(|keys| {
        let not = |(key, patterns): (&String, Vec<_>)| matches(key, &patterns, ["StringNotEquals", "StringNotLike"]);
        keys.into_iter().map(|one| and(scope.clone(), not(one))).collect()
    });
    Ok(negated.filter(|scopes| !scopes.is_empty()).unwrap_or_else(|| vec![scope]))
}

/// Keys that a condition can name, and that have values.
fn expressible<'f>(filters: &'f Filters, what: &str, notes: &mut Vec<String>) -> Vec<(&'f String, &'f Vec<String>)> {
    let mut kept = Vec::new();
    for (key, values) in filters {
        let alike = |other: &&String| *other != key && other.to_lowercase() == key.to_lowercase();
        let why = if !is_key(key) {
            "IAM takes no such key in a condition"
        } else if filters.keys().any(|other| alike(&other)) {
            "IAM does not tell keys apart that differ in case only"
        } else if values.is_empty() {
            "it has no value"
        } else {
            kept.push((key, values));
            continue;
        };
        notes.push(format!("the filter {what} {key:?} is left out: {why}"));
    }
    kept
}

/// All keys of an exclusion with their patterns; none if one of them cannot be said: each more makes it smaller, so that
/// leaving one out would lock out instances that are asked for.
fn expressible_or_none<'f>(exclude: &'f Filters, notes: &mut Vec<String>) -> Option<Vec<(&'f String, Patterns)>> {
    let kept = expressible(exclude, "exclude", notes);
    if kept.len() < exclude.len() {
        return None;
    }
    let mut keys = Vec::new();
    for (key, values) in kept {
        let patterns: Patterns = values.iter().map(|value| plain(value)).collect();
        if patterns.iter().any(|pieces| has_foreign(pieces)) {
            notes.push(format!("the filter exclude {key:?} is left out: IAM has no words for all of its characters"));
            return None;
        }
        keys.push((key, patterns));
    }
    Some(keys)
}

/// Tag restrictions of EC2, less what IAM's documents cannot hold.
fn is_key(key: &str) -> bool {
    let fits = |c: char| !is_foreign(Piece::Exactly(c)) && (c.is_alphanumeric() || " _.:/=+-@".contains(c));
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

/// One operator for all values of a key: they are alternatives only within one.
fn matches(key: &str, patterns: &[Vec<Piece>], [exactly, like]: [&'static str; 2]) -> Condition {
    let has_wildcards = patterns.iter().flatten().any(|piece| !matches!(piece, Piece::Exactly(_)));
    let values = patterns.iter().map(|pieces| written(pieces, has_wildcards)).collect();
    condition(if has_wildcards { like } else { exactly }, &tag(key), values)
}

/// A value as EC2's filters read it.
fn filter(value: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut letters = value.chars().peekable();
    while let Some(letter) = letters.next() {
        let escaped = (letter == '\\').then(|| letters.next_if(|next| r"*?\".contains(*next))).flatten();
        pieces.push(escaped.map_or_else(|| piece(letter), Piece::Exactly));
    }
    pieces
}

/// A value as our own patterns have it, without any escape.
fn plain(value: &str) -> Vec<Piece> {
    value.chars().map(piece).collect()
}

fn piece(letter: char) -> Piece {
    match letter {
        '*' => Piece::Any,
        '?' => Piece::One,
        other => Piece::Exactly(other),
    }
}

fn is_foreign(piece: Piece) -> bool {
    matches!(piece, Piece::Exactly(letter) if !('\u{20}'..='\u{ff}').contains(&letter))
}

fn has_foreign(pieces: &[Piece]) -> bool {
    pieces.iter().any(|piece| is_foreign(*piece))
}

fn written(pieces: &[Piece], in_pattern: bool) -> String {
    let mut text = String::new();
    for (at, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Any => text.push('*'),
            Piece::One => text.push('?'),
            Piece::Exactly(wild @ ('*' | '?')) if in_pattern => text.extend(['$', '{', *wild, '}']),
            // Else it would begin a variable.
            Piece::Exactly('$') if pieces.get(at + 1) == Some(&Piece::Exactly('{')) => text.push_str("${$}"),
            Piece::Exactly(letter) => text.push(*letter),
        }
    }
    text
}
