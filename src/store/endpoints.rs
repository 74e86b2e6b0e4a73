//! EC2 Instance Connect Endpoints of VPCs, and the networks of instances, kept between connections. Losing them costs a
//! request; a record that proves wrong is removed.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::domain::endpoint::Endpoint;
use crate::domain::freshness;
use crate::domain::ids::InstanceId;
use crate::error::Result;
use crate::store::paths::Paths;
use crate::store::{files, trusted};

/// How long a list of endpoints is used, in milliseconds.
const LIFETIME: u64 = 24 * 60 * 60 * 1000;
/// How long a list without endpoints is used: one may be created soon.
const EMPTY_LIFETIME: u64 = 60 * 1000;

#[derive(Serialize, Deserialize)]
struct Record {
    /// Milliseconds since 1970.
    read: u64,
    /// The account that listed them, if it is known: other accounts see others in a shared VPC.
    account: Option<String>,
    endpoints: Vec<Endpoint>,
}

/// The network of an instance; it stays the same for the instance's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The VPC.
    pub vpc: String,
    /// The subnet of the primary network interface.
    pub subnet: String,
}

/// The endpoints of a VPC as this account listed them before.
#[must_use]
pub fn of_vpc(paths: &Paths, vpc: &str, account: Option<&str>, now: u64) -> Option<Vec<Endpoint>> {
    let record: Record = read(&path(paths, vpc))?;
    let lifetime = if record.endpoints.is_empty() { EMPTY_LIFETIME } else { LIFETIME };
    let is_usable = record.account.as_deref() == account && freshness::is_younger(record.read, now, lifetime);
    is_usable.then_some(record.endpoints)
}

/// Keeps the endpoints of a VPC.
///
/// # Errors
///
/// If the file cannot be written.
pub fn keep(paths: &Paths, vpc: &str, account: Option<&str>, endpoints: &[Endpoint], now: u64) -> Result<()> {
    let record = Record { read: now, account: account.map(str::to_owned), endpoints: endpoints.to_vec() };
    write(paths, vpc, &record)
}

/// Removes what is kept of a VPC.
pub fn forget(paths: &Paths, vpc: &str) {
    let _ = std::fs::remove_file(path(paths, vpc));
}

/// The network of an instance, if it is known.
#[must_use]
pub fn network(paths: &Paths, id: &InstanceId) -> Option<Network> {
    read(&path(paths, id.as_str()))
}

/// Keeps the network of an instance.
///
/// # Errors
///
/// If the file cannot be written.
pub fn keep_network(paths: &Paths, id: &InstanceId, network: &Network) -> Result<()> {
    write(paths, id.as_str(), network)
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&trusted::read(path).ok().flatten()?).ok()
}

fn write(paths: &Paths, name: &str, record: &impl Serialize) -> Result<()> {
    files::make_private_folder(&paths.endpoints())?;
    files::replace_own(&path(paths, name), &serde_json::to_vec(record).unwrap_or_default(), 0o600).map(drop)
}

/// `name` is the id of a VPC or an instance, as AWS returned it.
fn path(paths: &Paths, name: &str) -> PathBuf {
    let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    paths.endpoints().join(format!("{name}.json"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::paths::Environment;

    #[test]
    fn endpoints_are_kept_for_an_account_and_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let environment = Environment { home: Some(dir.path().to_owned()), ..Environment::default() };
        let paths = Paths::new(&environment).unwrap();
        let list = vec![Endpoint { id: "eice-1".into(), ..Endpoint::default() }];
        assert_eq!(of_vpc(&paths, "vpc-1", None, 5), None);
        keep(&paths, "vpc-1", Some("1"), &list, 5).unwrap();
        assert_eq!(of_vpc(&paths, "vpc-1", Some("1"), 6), Some(list.clone()));
        assert_eq!(of_vpc(&paths, "vpc-1", Some("2"), 6), None);
        assert_eq!(of_vpc(&paths, "vpc-1", Some("1"), 6 + LIFETIME), None);
        keep(&paths, "vpc-1", Some("1"), &[], 5).unwrap();
        assert_eq!(of_vpc(&paths, "vpc-1", Some("1"), 6), Some(Vec::new()));
        assert_eq!(of_vpc(&paths, "vpc-1", Some("1"), 6 + EMPTY_LIFETIME), None);
        forget(&paths, "vpc-1");
        assert_eq!(of_vpc(&paths, "vpc-1", Some("1"), 6), None);
        let id = InstanceId::parse("i-0123456789abcdef0").unwrap();
        let network = Network { vpc: "vpc-1".into(), subnet: "subnet-1".into() };
        keep_network(&paths, &id, &network).unwrap();
        assert_eq!(super::network(&paths, &id), Some(network));
    }
}
