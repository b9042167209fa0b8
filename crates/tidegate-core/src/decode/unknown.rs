//! Keys of objects that the schema does not have: passed over, and counted by name.

use std::collections::BTreeMap;

/// Names that an object remembers, at most: a key that is made anew for each record must not fill
/// the memory.
const NAMES_MAX: usize = 64;
/// Longest name that is remembered, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// How often fields occurred that the schema does not have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UnknownFields {
    /// By name; of a field within a struct, with the names of what it is in: `user.age`.
    pub by_name: BTreeMap<String, u64>,
    /// Those whose names are too many or too long to be told apart.
    pub others: u64,
}

impl UnknownFields {
    /// How many there are in all.
    pub fn total(&self) -> u64 {
        self.by_name.values().sum::<u64>() + self.others
    }

    /// Adds what was found elsewhere; no more than a bounded number of names is kept.
    pub fn add(&mut self, other: UnknownFields) {
        self.others += other.others;
        for (name, count) in other.by_name {
            if let Some(known) = self.by_name.get_mut(&name) {
                *known += count;
            } else if self.by_name.len() < NAMES_MAX {
                self.by_name.insert(name, count);
            } else {
                self.others += count;
            }
        }
    }
}

/// The unknown keys of one object.
#[derive(Debug, Default)]
pub(super) struct Unknown {
    names: Vec<(Box<str>, u64)>,
    others: u64,
}

impl Unknown {
    /// Counts a key that was met before.
    pub(super) fn count(&mut self, place: usize) {
        if let Some((_, count)) = self.names.get_mut(place) {
            *count += 1;
        }
    }

    /// Counts a key that is new; gives its place if it is remembered.
    #[cold]
    pub(super) fn meet(&mut self, name: &[u8]) -> Option<usize> {
        if self.names.len() == NAMES_MAX || name.len() > NAME_BYTES_MAX {
            self.others += 1;
            return None;
        }
        let name = String::from_utf8_lossy(name).into_owned();
        self.names.push((name.into(), 1));
        Some(self.names.len() - 1)
    }

    /// Takes the counts; the names stay.
    pub(super) fn take(&mut self, path: &str, found: &mut UnknownFields) {
        let mut taken = UnknownFields {
            others: std::mem::take(&mut self.others),
            ..UnknownFields::default()
        };
        for (name, count) in self.names.iter_mut().filter(|(_, count)| *count > 0) {
            let name = format!("{path}{name}");
            *taken.by_name.entry(name).or_insert(0) += std::mem::take(count);
        }
        found.add(taken);
    }
}
