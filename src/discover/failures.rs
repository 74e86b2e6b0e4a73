//! What failed, told once: many sources often fail for one cause, and one command mends them all.

use crate::domain::text;
use crate::error::Error;

/// A source, or a region of it, that could not be asked.
#[derive(Debug, Clone)]
pub struct Failed {
    /// The source's name.
    pub source: String,
    /// The region, where the source has several.
    pub region: Option<String>,
    /// Why.
    pub error: Error,
}

/// One error for each cause: those of one kind with the same hints, in the order in which they were met.
#[must_use]
pub fn by_cause(failed: Vec<Failed>) -> Vec<Error> {
    type Places = Vec<(String, Vec<String>)>;
    let mut causes: Vec<(Error, Places)> = Vec::new();
    for Failed { source, region, error } in failed {
        let places = match causes.iter_mut().find(|(known, _)| known.kind == error.kind && known.hints == error.hints) {
            Some((_, places)) => places,
            None => &mut causes.push_mut((error, Vec::new())).1,
        };
        match places.iter_mut().find(|(known, _)| *known == source) {
            Some((_, regions)) => regions.extend(region),
            None => places.push((source, region.into_iter().collect())),
        }
    }
    let told = |(mut error, places): (Error, Places)| {
        let Some(((first, regions), others)) = places.split_first() else { return error };
        let regions = if regions.is_empty() { String::new() } else { format!(" in {}", regions.join(", ")) };
        let others: Vec<String> = others.iter().map(|(source, _)| source.clone()).collect();
        error.message = format!("source {first:?}{regions}: {}{}", error.message, also(&others));
        error
    };
    causes.into_iter().map(told).collect()
}

fn also(others: &[String]) -> String {
    match others {
        [] => String::new(),
        others => format!(" (the same for {})", text::first_names(others, 5)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn one_error_and_one_hint_for_all_that_share_a_cause() {
        let expired = |n: usize| Failed {
            source: format!("corp/{n}"),
            region: None,
            error: Error::new(Kind::Credentials, "the SSO session has expired").hint("aws sso login"),
        };
        let denied = |region: &str| Failed {
            source: "x".into(),
            region: Some(region.into()),
            error: Error::new(Kind::Denied, "no").hint("policy"),
        };
        let told = by_cause((0..40).map(expired).chain([denied("a"), denied("b")]).collect());
        let words: Vec<&str> = told.iter().map(|error| error.message.as_str()).collect();
        let first = "source \"corp/0\": the SSO session has expired (the same for corp/1, corp/2, corp/3, corp/4, corp/5 and 34 more)";
        assert_eq!(words, [first, "source \"x\" in a, b: no"]);
    }
}
