//! Reading the console output of one instance in a worker, on first contact.

use std::time::Duration;

use crate::aws::client::{self, RequestLimits};
use crate::aws::{console, credentials};
use crate::connect::push::Job;
use crate::domain::console::Unusable;
use crate::domain::source::HostKeys;
use crate::error::Result;
use crate::store::host_keys::{self, ConsoleRecord, is_unread};
use crate::store::paths::Paths;
use crate::sys::clock;
use crate::ui;

/// The longest that all requests of one reading may take.
pub const TIMEOUT: Duration = Duration::from_secs(20);
/// A reading that takes longer is reported.
pub const REPORT_AFTER: Duration = Duration::from_secs(2);
/// Reads the console of the job's instance and stores what it had.
///
/// # Errors
///
/// AWS denied, failed or did not answer in time; nothing is stored then.
pub fn read(paths: &Paths, job: &Job) -> Result<ConsoleRecord> {
    let patience = RequestLimits { max_attempts: 2, ..RequestLimits::PUSH };
    let keys = client::run_within(TIMEOUT, async {
        let session = credentials::open(&job.identity, job.region.as_deref(), patience, job.cache.as_deref()).await?;
        console::host_keys(&session, &job.id, &job.name()).await.map_err(|failure| failure.error)
    })?;
    let record = ConsoleRecord::new(&keys, clock::now());
    if let Err(error) = host_keys::store(paths, &[(job.id.clone(), record.clone())]) {
        // The proxy compares with the record itself; only ssh's own files are without it.
        ui::warning(&error.message);
    }
    Ok(record)
}

/// Whether the console has to be read before a connection. `launched` is in seconds since 1970, 0 if unknown.
#[must_use]
pub fn is_needed(mode: HostKeys, record: Option<&ConsoleRecord>, launched: i64) -> bool {
    let reason = match (mode, record) {
        (HostKeys::AcceptNew, _) => return false,
        (_, None) => return true,
        (mode, Some(record)) => match record.unusable() {
            None => return false,
            Some(_) if mode == HostKeys::RequireConsole => return true,
            Some(reason) => reason,
        },
    };
    match reason {
        Unusable::NoOutput | Unusable::UnclosedBlock => true,
        Unusable::NoBlock | Unusable::EmptyBlock | Unusable::TruncatedKey => is_unread(record, launched),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::console::ConsoleKeys;
    use crate::store::host_keys::BOOT;

    #[test]
    fn a_console_is_read_until_it_has_keys_or_cannot_have_any() {
        let record = |reason, read| ConsoleRecord::new(&ConsoleKeys::Unusable(reason), read);
        let launched = 1000;
        let late = 1_000_000 + BOOT;
        assert!(!is_needed(HostKeys::AcceptNew, None, launched));
        assert!(is_needed(HostKeys::Console, None, launched));
        let cases = [
            (Unusable::NoOutput, late, true),
            (Unusable::UnclosedBlock, late, true),
            (Unusable::NoBlock, late - 1, true),
            (Unusable::NoBlock, late, false),
            (Unusable::EmptyBlock, late, false),
            (Unusable::TruncatedKey, 0, false),
        ];
        for (reason, read, expected) in cases {
            let record = record(reason, read);
            assert_eq!(is_needed(HostKeys::Console, Some(&record), launched), expected, "{reason:?} {read}");
            assert!(is_needed(HostKeys::RequireConsole, Some(&record), launched), "{reason:?}");
        }
        let key = crate::domain::host_key::HostKey::parse(include_str!("../../domain/src/testdata/kex/ed25519.pub"));
        let with_keys = ConsoleRecord::new(&ConsoleKeys::Keys(key.into_iter().collect()), 0);
        assert!(!is_needed(HostKeys::RequireConsole, Some(&with_keys), launched));
    }
}
