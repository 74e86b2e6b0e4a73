//! Limits for queries of several pages: a service that repeats itself must not keep us, nor fill the memory.

use std::collections::HashSet;

use crate::error::{Error, Kind, Result};

/// Pages of one query, a million instances: more is an error of the service's.
const PAGE_LIMIT: usize = 1000;

/// The continuation tokens of one query.
#[derive(Debug)]
pub(super) struct Pages {
    action: &'static str,
    seen: HashSet<String>,
}

impl Pages {
    /// For a query; `action` as IAM names it.
    pub(super) fn new(action: &'static str) -> Self {
        Self { action, seen: HashSet::new() }
    }

    /// The token to continue with; none after the last page.
    ///
    /// # Errors
    ///
    /// [`Kind::Unavailable`] for a token that was used before, or too many pages.
    pub(super) fn next(&mut self, token: Option<String>) -> Result<Option<String>> {
        let Some(token) = token.filter(|token| !token.is_empty()) else { return Ok(None) };
        let action = self.action;
        if self.seen.len() >= PAGE_LIMIT {
            let words = format!("{action}: AWS returned more than {PAGE_LIMIT} pages");
            return Err(Error::new(Kind::Unavailable, words).hint("limit the source by tags in config.toml"));
        }
        if !self.seen.insert(token.clone()) {
            let words = format!("{action}: AWS returned the same page again");
            return Err(Error::new(Kind::Unavailable, words).hint("try again, and check AWS_ENDPOINT_URL and proxies"));
        }
        Ok(Some(token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_followed_once_and_pages_are_limited() {
        let mut pages = Pages::new("ec2:DescribeInstances");
        assert_eq!(pages.next(None).unwrap(), None);
        assert_eq!(pages.next(Some(String::new())).unwrap(), None);
        for token in ["a", "b"] {
            assert_eq!(pages.next(Some(token.into())).unwrap().as_deref(), Some(token));
        }
        // Not only the last one: two pages can lead to each other.
        assert!(pages.next(Some("a".into())).is_err());
        let mut pages = Pages::new("ec2:DescribeInstances");
        let followed = (0..PAGE_LIMIT * 2).take_while(|n| pages.next(Some(n.to_string())).is_ok()).count();
        assert_eq!(followed, PAGE_LIMIT);
    }
}
