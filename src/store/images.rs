//! Names and owners of images, kept between syncs: they never change, and losing them costs one request.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::domain::image::Image;
use crate::error::Result;
use crate::store::{files, trusted};

/// How long AWS's having no such image is believed, in milliseconds: a day. One that was deregistered stays away.
const ABSENT: u64 = 24 * 60 * 60 * 1000;

/// What is known of images, by their ids.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Images {
    #[serde(default)]
    known: BTreeMap<String, Image>,
    /// When AWS said that there is none, milliseconds since 1970.
    #[serde(default)]
    absent: BTreeMap<String, u64>,
}

impl Images {
    /// Reads them; a file that cannot be read, or that another user could have written, counts as absent.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let bytes = trusted::read(path).ok().flatten().unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Keeps those that are `used`, so that the file does not grow for ever.
    ///
    /// # Errors
    ///
    /// Names the file.
    pub fn write(&self, path: &Path, used: impl Fn(&str) -> bool) -> Result<()> {
        let mut kept = self.clone();
        kept.known.retain(|id, _| used(id));
        kept.absent.retain(|id, _| used(id));
        if let Some(folder) = path.parent() {
            files::make_private_folder(folder)?;
        }
        files::replace_own(path, &serde_json::to_vec(&kept).unwrap_or_default(), 0o600).map(drop)
    }

    /// The image, where it is known.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Image> {
        self.known.get(id)
    }

    /// Whether AWS has to be asked for it.
    #[must_use]
    pub fn is_unknown(&self, id: &str, now: u64) -> bool {
        let absent = |since: &u64| *since <= now && now - since < ABSENT;
        !id.is_empty() && !self.known.contains_key(id) && !self.absent.get(id).is_some_and(absent)
    }

    /// Notes what AWS said when it was asked for these.
    pub fn learn(&mut self, asked: &[String], answered: BTreeMap<String, Image>, now: u64) {
        for id in asked.iter().filter(|id| !answered.contains_key(*id)) {
            self.absent.insert(id.clone(), now);
        }
        self.known.extend(answered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learnt_is_not_asked_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cache/images.json");
        let mut images = Images::read(&path);
        assert!(images.is_unknown("ami-1", 5) && !images.is_unknown("", 5));
        let image = Image { name: "ubuntu".to_owned(), owner: "1".to_owned() };
        images.learn(&["ami-1".into(), "ami-2".into()], BTreeMap::from([("ami-1".into(), image.clone())]), 5);
        images.write(&path, |_| true).unwrap();
        let images = Images::read(&path);
        assert_eq!(images.get("ami-1"), Some(&image));
        assert!(!images.is_unknown("ami-1", 6) && !images.is_unknown("ami-2", 6));
        assert!(images.is_unknown("ami-2", 6 + ABSENT));
        images.write(&path, |id| id != "ami-1").unwrap();
        assert!(Images::read(&path).is_unknown("ami-1", 6));
        std::fs::write(&path, "{").unwrap();
        assert_eq!(Images::read(&path), Images::default());
    }
}
