//! Cache of the names and owners of images: they never change, and losing the cache costs one request.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::domain::image::Image;
use crate::error::Result;
use crate::store::{files, trusted};

/// How long the absence of an image is cached, in milliseconds: a day. A deregistered image does not return.
const ABSENT: u64 = 24 * 60 * 60 * 1000;

/// Cached images by their ids.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Images {
    #[serde(default)]
    known: BTreeMap<String, Image>,
    /// When AWS returned no such image, milliseconds since 1970.
    #[serde(default)]
    absent: BTreeMap<String, u64>,
}

impl Images {
    /// Reads the cache; empty if the file cannot be read or another user could have written it.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let bytes = trusted::read(path).ok().flatten().unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Writes the images that are `used`, so that the file does not grow without limit.
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

    /// The image, if it is cached.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Image> {
        self.known.get(id)
    }

    /// Whether AWS has to be queried for the image.
    #[must_use]
    pub fn is_unknown(&self, id: &str, now: u64) -> bool {
        let absent = |since: &u64| *since <= now && now - since < ABSENT;
        !id.is_empty() && !self.known.contains_key(id) && !self.absent.get(id).is_some_and(absent)
    }

    /// Caches AWS's response to a query for these ids.
    pub fn add(&mut self, queried: &[String], response: BTreeMap<String, Image>, now: u64) {
        for id in queried.iter().filter(|id| !response.contains_key(*id)) {
            self.absent.insert(id.clone(), now);
        }
        self.known.extend(response);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cached_images_are_not_queried_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cache/images.json");
        let mut images = Images::read(&path);
        assert!(images.is_unknown("ami-1", 5) && !images.is_unknown("", 5));
        let image = Image { name: "ubuntu".to_owned(), owner: "1".to_owned() };
        images.add(&["ami-1".into(), "ami-2".into()], BTreeMap::from([("ami-1".into(), image.clone())]), 5);
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
