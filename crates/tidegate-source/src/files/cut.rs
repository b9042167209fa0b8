//! Compressed files that end too early: an upload in progress, or a copy that failed.

use std::collections::BTreeMap;

use super::discover::Facts;

/// The files that are waited for, by name.
#[derive(Default)]
pub(super) struct CutOff(BTreeMap<String, Waiting>);

struct Waiting {
    facts: Facts,
    /// It has changed since it was read.
    changed: bool,
}

impl CutOff {
    /// The file was found cut off, as it was then.
    pub(super) fn insert(&mut self, name: &str, facts: Facts) {
        let waiting = Waiting {
            facts,
            changed: false,
        };
        self.0.insert(name.to_owned(), waiting);
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The first one that is not empty.
    pub(super) fn first(&self) -> Option<&str> {
        let begun = |(_, waiting): &(&String, &Waiting)| waiting.facts.bytes > 0;
        self.0.iter().find(begun).map(|(name, _)| name.as_str())
    }

    /// Looks at them again. Returns the names of those that have changed, and then not any more:
    /// they may be whole, and reading one that grows again and again would cost the square of its
    /// size.
    pub(super) fn settled(&mut self, found: &BTreeMap<String, Facts>) -> Vec<String> {
        let mut settled = Vec::new();
        self.0.retain(|name, waiting| {
            let Some(facts) = found.get(name) else {
                return false;
            };
            if *facts != waiting.facts {
                waiting.facts = *facts;
                waiting.changed = true;
            } else if waiting.changed {
                settled.push(name.clone());
                return false;
            }
            true
        });
        settled
    }
}
