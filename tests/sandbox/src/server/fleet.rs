//! The instances: found by id without a search, listed by account and region, and shared instead of copied, so that
//! whoever writes a thousand of them into a document holds no lock meanwhile.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::Instance;

/// All instances in the order in which they were added.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    instances: Vec<Arc<Instance>>,
    by_id: HashMap<String, usize>,
    by_place: HashMap<Place, Vec<usize>>,
}

/// Account and region.
type Place = (String, String);

impl Fleet {
    /// All of them.
    pub(crate) fn all(&self) -> &[Arc<Instance>] {
        &self.instances
    }

    /// The instance of that id.
    pub(crate) fn get(&self, id: &str) -> Option<&Arc<Instance>> {
        self.by_id.get(id).map(|&index| &self.instances[index])
    }

    /// The same, to change it; not its id, account or region. Whoever shares it keeps the old one.
    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Instance> {
        self.by_id.get(id).map(|&index| Arc::make_mut(&mut self.instances[index]))
    }

    /// The instances of an account and region, without the first `start` of them.
    pub(crate) fn of(&self, account: &str, region: &str, start: usize) -> Vec<Arc<Instance>> {
        let place = self.by_place.get(&(account.to_owned(), region.to_owned()));
        place.into_iter().flatten().skip(start).map(|&index| Arc::clone(&self.instances[index])).collect()
    }

    /// Adds an instance whose id is new.
    pub(super) fn push(&mut self, instance: Instance) {
        self.register(self.instances.len(), &instance);
        self.instances.push(Arc::new(instance));
    }

    fn register(&mut self, index: usize, instance: &Instance) {
        self.by_id.insert(instance.id.clone(), index);
        self.by_place.entry((instance.account.clone(), instance.region.clone())).or_default().push(index);
    }

    /// Forgets an instance; false if there is none.
    pub(super) fn remove(&mut self, id: &str) -> bool {
        let Some(&index) = self.by_id.get(id) else { return false };
        let mut rest = std::mem::take(self).instances;
        rest.remove(index);
        for (index, instance) in rest.iter().enumerate() {
            self.register(index, instance);
        }
        self.instances = rest;
        true
    }
}
