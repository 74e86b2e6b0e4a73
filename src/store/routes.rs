//! The routes over which a host key was accepted under `route = "auto"`, by VPC and local network. They save the next
//! connection the time in which the other route is tried; a wrong one costs that time again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::freshness;
use crate::store::paths::Paths;
use crate::store::{files, trusted};

/// How long a route is used, in milliseconds.
const LIFETIME: u64 = 24 * 60 * 60 * 1000;
/// As many as are kept; the oldest ones are removed first.
const MOST: usize = 200;

/// A route that worked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Worked {
    /// TCP to the address, and the host key was a known one.
    Direct,
    /// The instance-specific route: an endpoint or Session Manager.
    Specific,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Record {
    worked: Worked,
    /// Milliseconds since 1970.
    at: u64,
}

type Records = BTreeMap<String, Record>;

fn read(paths: &Paths) -> Records {
    let bytes = trusted::read(&paths.routes()).ok().flatten().unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// The route that worked last for a VPC from a local network.
#[must_use]
pub fn last(paths: &Paths, vpc: &str, network: &str, now: u64) -> Option<Worked> {
    let record = *read(paths).get(&key(vpc, network))?;
    freshness::is_younger(record.at, now, LIFETIME).then_some(record.worked)
}

/// Keeps the route that has just worked; none removes it. Losing it costs time only, so that errors do not matter.
pub fn keep(paths: &Paths, vpc: &str, network: &str, worked: Option<Worked>, now: u64) {
    let mut records = read(paths);
    let key = key(vpc, network);
    let is_recent = |record: &Record| freshness::is_younger(record.at, now, LIFETIME / 2);
    let before = records.get(&key).filter(|record| is_recent(record)).map(|record| record.worked);
    if before == worked && (worked.is_some() || !records.contains_key(&key)) {
        return;
    }
    match worked {
        Some(worked) => records.insert(key, Record { worked, at: now }),
        None => records.remove(&key),
    };
    records.retain(|_, record| freshness::is_younger(record.at, now, LIFETIME));
    while records.len() > MOST {
        let Some(oldest) = records.iter().min_by_key(|(_, record)| record.at).map(|(key, _)| key.clone()) else {
            break;
        };
        records.remove(&oldest);
    }
    if files::make_private_folder(&paths.cache).is_ok() {
        let _ = files::replace_own(&paths.routes(), &serde_json::to_vec(&records).unwrap_or_default(), 0o600);
    }
}

fn key(vpc: &str, network: &str) -> String {
    format!("{vpc} {network}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::paths::Environment;

    #[test]
    fn a_route_is_kept_for_a_vpc_and_a_network_until_it_expires_or_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let environment = Environment { home: Some(dir.path().to_owned()), ..Environment::default() };
        let paths = Paths::new(&environment).unwrap();
        keep(&paths, "vpc-1", "home", Some(Worked::Specific), 5);
        keep(&paths, "vpc-1", "office", Some(Worked::Direct), 5);
        assert_eq!(last(&paths, "vpc-1", "home", 6), Some(Worked::Specific));
        assert_eq!(last(&paths, "vpc-1", "office", 6), Some(Worked::Direct));
        assert_eq!(last(&paths, "vpc-2", "home", 6), None);
        assert_eq!(last(&paths, "vpc-1", "home", 6 + LIFETIME), None);
        keep(&paths, "vpc-1", "home", None, 7);
        assert_eq!(last(&paths, "vpc-1", "home", 7), None);
        assert_eq!(last(&paths, "vpc-1", "office", 7), Some(Worked::Direct));
    }
}
