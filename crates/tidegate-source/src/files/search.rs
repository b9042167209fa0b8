//! The search for files that are not where they were.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::discover::Facts;
use super::identity::Inode;
use super::input::{Encoding, Input, MarkMatch};
use super::known::FileRegistry;
use super::names;
use super::state::FileState;
use crate::SourceError;

/// Whether a file has what was read of another.
pub(super) enum Match {
    Same,
    Other,
    /// It is compressed and cut off before it can be told.
    CutOff,
}

/// A search for files by ever weaker signs. What is found is where what was read is, at any rate.
pub(super) struct Search {
    /// The files that are looked for.
    pub(super) waiting: Vec<FileState>,
    /// Names of those that were found.
    pub(super) placed: Vec<String>,
    /// The first fault: what could not be looked at waits.
    pub(super) fault: Option<SourceError>,
}

impl Search {
    pub(super) fn new(waiting: Vec<FileState>) -> Self {
        Search {
            waiting,
            placed: Vec::new(),
            fault: None,
        }
    }

    /// The same file under whatever name.
    pub(super) fn by_inode(&mut self, known: &mut FileRegistry, free: &mut BTreeMap<&str, &Facts>) {
        let mut names: HashMap<Inode, Vec<String>> = HashMap::new();
        for (name, facts) in free.iter() {
            names
                .entry(facts.inode)
                .or_default()
                .push((*name).to_owned());
        }
        self.each(known, free, |state| {
            let inode = state.inode();
            let names = inode.and_then(|inode| names.get(&inode));
            let mut names = names.cloned().unwrap_or_default();
            // Its own name first.
            names.sort_by_key(|name| *name != state.name);
            if state.mark.is_none() {
                names.retain(|name| *name == state.name);
            }
            names
        });
    }

    /// Whatever is under the name that the file had.
    pub(super) fn by_name(&mut self, known: &mut FileRegistry, free: &mut BTreeMap<&str, &Facts>) {
        self.each(known, free, |state| vec![state.name.clone()]);
    }

    /// Files with a name that a rotation or a compressor gives.
    pub(super) fn by_former_name(
        &mut self,
        known: &mut FileRegistry,
        free: &mut BTreeMap<&str, &Facts>,
    ) {
        let mut later: HashMap<String, Vec<String>> = HashMap::new();
        for name in free.keys() {
            for former in names::before(name) {
                later.entry(former).or_default().push((*name).to_owned());
            }
        }
        self.each(known, free, |state| {
            if state.mark.is_none() {
                return Vec::new();
            }
            let own = names::to_look_for(&state.name, &state.partition);
            let names = own.iter().filter_map(|name| later.get(name));
            let mut names: Vec<String> = names.flatten().cloned().collect();
            names.dedup();
            names
        });
    }

    /// Puts each file that waits under the first of its names that has what was read.
    fn each(
        &mut self,
        known: &mut FileRegistry,
        free: &mut BTreeMap<&str, &Facts>,
        names: impl Fn(&FileState) -> Vec<String>,
    ) {
        for mut state in std::mem::take(&mut self.waiting) {
            let mut place = None;
            for name in names(&state) {
                let Some(facts) = free.get(name.as_str()) else {
                    continue;
                };
                match state.compare(&known.base, &name, facts) {
                    Ok(Match::Same) => {
                        place = Some((name, **facts));
                        break;
                    }
                    Ok(Match::CutOff) => {
                        known.unclear.insert(name.clone(), **facts);
                    }
                    Ok(Match::Other) => {}
                    Err(error) => {
                        self.fault.get_or_insert(error);
                    }
                }
            }
            let Some((name, facts)) = place else {
                self.waiting.push(state);
                continue;
            };
            free.remove(name.as_str());
            known.copies.remove(&name);
            known.unclear.remove(&name);
            if state.name != name {
                tracing::info!(
                    path = %known.base.join(&name).display(), was = %state.name, line = state.line,
                    "a file that was read is found again under another name"
                );
            }
            // A restart looks for it where it is now.
            state.note |= (state.gone || state.name != name) && state.mark.is_some();
            state.gone = false;
            state.is_at(&name, facts);
            if state.has_more(&facts) {
                state.whole = false;
            }
            known.opened.insert(facts.inode, name.clone());
            known.files.insert(name.clone(), state);
            self.placed.push(name);
        }
    }
}

impl FileState {
    /// Whether the file under `name` has what was read of this one.
    pub(super) fn compare(
        &self,
        base: &Path,
        name: &str,
        facts: &Facts,
    ) -> Result<Match, SourceError> {
        let Some(mark) = self.mark else {
            // Only the number of lines is known. What is under its name is taken for it.
            let other = self.facts.is_some_and(|seen| seen.inode != facts.inode);
            return Ok(if other || name != self.name {
                Match::Other
            } else {
                Match::Same
            });
        };
        let encoding = Encoding::of(name);
        if encoding == Encoding::Plain && facts.bytes < mark.at {
            return Ok(Match::Other);
        }
        if encoding != Encoding::Plain && facts.bytes == 0 {
            return Ok(Match::CutOff);
        }
        let path = base.join(name);
        let Some(mut input) = Input::open_if_there(&path, encoding)? else {
            return Ok(Match::Other);
        };
        let failed = |e| SourceError::io("read", &path, e);
        if encoding != Encoding::Plain && self.raw.is_some_and(|raw| raw.bytes == facts.bytes) {
            let stored = input.stored().map_err(failed)?;
            if self.raw == Some(stored) {
                return Ok(Match::Same);
            }
        }
        Ok(match input.find(&mark).map_err(failed)? {
            MarkMatch::Same(_) => Match::Same,
            MarkMatch::Other => Match::Other,
            MarkMatch::CutOff => Match::CutOff,
        })
    }

    /// Whether one of the files that are not whole may be this one.
    pub(super) fn pending(&self, unclear: &BTreeMap<String, Facts>) -> bool {
        let own = names::to_look_for(&self.name, &self.partition);
        let leads_back = |name: &String| names::before(name).iter().any(|name| own.contains(name));
        unclear.keys().any(leads_back)
    }
}
