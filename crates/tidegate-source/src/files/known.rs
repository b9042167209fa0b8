//! The files that were read, wherever they are now: which name has what was read before.
//!
//! A file is known by what was read of it, not by its name. So it is found again when it was
//! renamed (the same inode, with what was read), when it was replaced by a longer file with the
//! same beginning (the same name), and when it was copied and cut off, or compressed (a name that a
//! rotation or a compressor gives, see [`names`]). What has a name of a known file and nothing of
//! what was read is another file, which gets a partition of its own.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::discover::Facts;
use super::identity::Inode;
use super::input::Encoding;
use super::names;
use super::search::Search;
use super::state::FileState;
use super::trail::Mark;
use super::{ChangedFiles, FilesOptions, MissingFiles};
use crate::{Resume, SourceError};

/// All files that were ever read, as far as the commit log and this process know them.
pub(super) struct FileRegistry {
    pub(super) base: PathBuf,
    on_missing: MissingFiles,
    on_changed: ChangedFiles,
    /// The files that are there, by name.
    pub(super) files: BTreeMap<String, FileState>,
    /// Names of files that were looked for and found, until they are taken from here.
    pub(super) placed: Vec<String>,
    /// Files that are not there, and need not be.
    pub(super) absent: Vec<FileState>,
    /// Files whose loss is a fault.
    lost: Vec<FileState>,
    /// Files that hold nothing but what another one holds that is there too, by name.
    pub(super) copies: BTreeMap<String, Copy>,
    /// Compressed files that are not whole, and may hold what was read of a file that is absent.
    pub(super) unclear: BTreeMap<String, Facts>,
    /// Names under which files were opened.
    pub(super) opened: HashMap<Inode, String>,
    /// Names of all partitions.
    partitions: HashSet<String>,
    next_id: i32,
}

/// A copy of a file that is there too.
pub(super) struct Copy {
    pub(super) facts: Facts,
    /// The partition whose lines it has.
    pub(super) of: i32,
    pub(super) mark: Mark,
    pub(super) lines: i64,
}

impl FileRegistry {
    pub(super) fn resume(
        base: &Path,
        options: &FilesOptions,
        resume: &Resume,
    ) -> Result<Self, SourceError> {
        let mut known = FileRegistry {
            base: base.to_owned(),
            on_missing: options.on_missing_files,
            on_changed: options.on_changed_files,
            files: BTreeMap::new(),
            placed: Vec::new(),
            absent: Vec::new(),
            lost: Vec::new(),
            copies: BTreeMap::new(),
            unclear: BTreeMap::new(),
            opened: HashMap::new(),
            partitions: HashSet::new(),
            next_id: 0,
        };
        for (id, partition) in &resume.partitions {
            known.next_id = known.next_id.max(id.saturating_add(1));
            known.partitions.insert(partition.name.clone());
            let state = FileState::resumed(*id, partition)?;
            if state.gone {
                known.absent.push(state);
            } else {
                known.lost.push(state);
            }
        }
        Ok(known)
    }

    /// Finds the known files among those of `found`.
    ///
    /// # Errors
    /// If one is gone, or replaced, and the configuration says to stop then. Asking again tries
    /// again.
    pub(super) fn place(&mut self, found: &BTreeMap<String, Facts>) -> Result<(), SourceError> {
        let mut displaced = std::mem::take(&mut self.lost);
        let moved = |(name, state): (&String, &FileState)| {
            let is_there = found.get(name).is_some_and(|facts| state.may_be(facts));
            (!is_there).then(|| name.clone())
        };
        let names: Vec<String> = self.files.iter().filter_map(moved).collect();
        displaced.extend(names.iter().filter_map(|name| self.files.remove(name)));
        self.copies
            .retain(|name, copy| found.get(name) == Some(&copy.facts));
        self.unclear
            .retain(|name, facts| found.get(name) == Some(facts));

        let (read, mut unread): (Vec<_>, Vec<_>) =
            displaced.into_iter().partition(|state| !state.is_unread());
        if !read.is_empty() {
            // Of what was not read yet it is open whether it is new.
            unread.append(&mut self.take_unread());
        }
        let mut free: BTreeMap<&str, &Facts> = found
            .iter()
            .filter(|(name, _)| {
                !self.files.contains_key(*name) && !self.unclear.contains_key(*name)
            })
            .filter(|(name, _)| !read.is_empty() || !self.copies.contains_key(*name))
            .map(|(name, facts)| (name.as_str(), facts))
            .collect();
        let active: BTreeSet<i32> = read.iter().map(|state| state.id).collect();
        let mut search = Search::new(read);
        if !free.is_empty() {
            search.waiting.append(&mut self.absent);
            // Of two files that had one name, the later one is the likelier.
            search.waiting.sort_by_key(|state| -state.id);
            search.by_inode(self, &mut free);
            search.by_name(self, &mut free);
            search.by_former_name(self, &mut free);
        }
        self.placed.append(&mut search.placed);
        self.place_unread(unread, &mut free);
        if let Some(error) = search.fault {
            for state in search.waiting {
                let to = if active.contains(&state.id) {
                    &mut self.lost
                } else {
                    &mut self.absent
                };
                to.push(state);
            }
            return Err(error);
        }
        self.part_with(search.waiting, &active, &free)
    }

    /// Takes out the files that nothing was read of.
    fn take_unread(&mut self) -> Vec<FileState> {
        let unread = self.files.iter().filter(|(_, state)| state.is_unread());
        let names: Vec<String> = unread.map(|(name, _)| name.clone()).collect();
        let unread = names.iter().filter_map(|name| self.files.remove(name));
        unread.collect()
    }

    /// Puts the files that nothing was read of where their inode is, or whatever has their name.
    /// Those that may hold what was read of another wait.
    fn place_unread(&mut self, unread: Vec<FileState>, free: &mut BTreeMap<&str, &Facts>) {
        for mut state in unread {
            let own = free.get_key_value(state.name.as_str());
            let is_it = |facts: &Facts| Some(facts.inode) == state.inode();
            let moved = || free.iter().find(|(_, facts)| is_it(facts));
            let same = own.filter(|(_, facts)| is_it(facts)).or_else(moved);
            let place = same
                .or(own)
                .map(|(name, facts)| ((*name).to_owned(), **facts));
            self.partitions.remove(&state.partition);
            if place
                .as_ref()
                .is_some_and(|(name, _)| self.unclear.contains_key(name))
            {
                continue;
            }
            let Some((name, facts)) = place else {
                let path = self.base.join(&state.name);
                if !self.files.contains_key(&state.name) {
                    tracing::warn!(path = %path.display(), "a file is gone before it was read");
                }
                continue;
            };
            free.remove(name.as_str());
            state.partition = self.name_partition(&name);
            state.is_at(&name, facts);
            self.files.insert(name.clone(), state);
            self.placed.push(name);
        }
    }

    /// What becomes of files that are nowhere. `free` are the names of files that are not known.
    fn part_with(
        &mut self,
        nowhere: Vec<FileState>,
        active: &BTreeSet<i32>,
        free: &BTreeMap<&str, &Facts>,
    ) -> Result<(), SourceError> {
        let mut newest: HashMap<String, i32> = HashMap::new();
        let placed = self.files.values().chain(&self.absent);
        for state in placed.chain(&nowhere) {
            let id = newest
                .entry(names::founding(&state.partition).to_owned())
                .or_insert(state.id);
            *id = state.id.max(*id);
        }
        let mut fault = None;
        for mut state in nowhere {
            let path = self.base.join(&state.name);
            if !active.contains(&state.id) {
                self.absent.push(state);
                continue;
            }
            let copied: Vec<String> = (self.copies.iter())
                .filter(|(_, copy)| copy.of == state.id)
                .map(|(name, _)| name.clone())
                .collect();
            let superseded = newest.get(&state.name).is_some_and(|id| *id > state.id);
            let replaced = free.contains_key(state.name.as_str())
                && !self.copies.contains_key(&state.name)
                && !superseded;
            if !copied.is_empty() {
                for name in copied {
                    self.keep_copy(&name);
                }
            } else if state.pending(&self.unclear) {
                tracing::debug!(path = %path.display(), "a file is gone; one that is not whole may have it");
            } else if replaced && self.on_changed == ChangedFiles::Fail {
                let facts = free.get(state.name.as_str());
                fault.get_or_insert(state.changed(facts.copied(), path));
                self.lost.push(state);
                continue;
            } else if replaced {
                tracing::warn!(
                    path = %path.display(), line = state.line,
                    "another file has taken the place of one that was read; it is read from its beginning"
                );
                state.whole = true;
            } else if !state.whole && self.on_missing == MissingFiles::Fail {
                let line = state.line;
                fault.get_or_insert(SourceError::FileGone { path, line });
                self.lost.push(state);
                continue;
            } else if !state.whole {
                tracing::warn!(path = %path.display(), line = state.line, "a file is gone; going on without it");
                state.whole = true;
            } else {
                tracing::debug!(path = %path.display(), line = state.line, "a file that was read whole is gone");
            }
            // What was decided stays so after a restart.
            state.gone = state.whole;
            state.note = state.gone && state.mark.is_some();
            state.facts = None;
            self.absent.push(state);
        }
        fault.map_or(Ok(()), Err)
    }

    /// A copy whose original is no more, and had all of its lines: it becomes a partition of its
    /// own, of which nothing is to be read, so that a restart knows it.
    fn keep_copy(&mut self, name: &str) {
        let Some(copy) = self.copies.remove(name) else {
            return;
        };
        if let Some(state) = self.add(name, copy.facts) {
            state.line = copy.lines.max(1);
            state.mark = Some(copy.mark);
            state.whole = true;
            state.note = true;
        }
    }

    /// Takes in the files of `found` that are not known. Returns their names.
    ///
    /// # Errors
    /// If there are more than partitions can be numbered.
    pub(super) fn take_in(
        &mut self,
        found: &BTreeMap<String, Facts>,
    ) -> Result<Vec<String>, SourceError> {
        let mut new = Vec::new();
        for (name, facts) in found {
            let known = self.files.contains_key(name)
                || self.copies.contains_key(name)
                || self.unclear.contains_key(name);
            if known {
                continue;
            }
            if self.add(name, *facts).is_none() {
                return Err(SourceError::option(
                    "source.path",
                    "more files than there are partition numbers",
                ));
            }
            new.push(name.clone());
        }
        Ok(new)
    }

    fn add(&mut self, name: &str, facts: Facts) -> Option<&mut FileState> {
        let id = self.next_id;
        self.next_id = id.checked_add(1)?;
        let partition = self.name_partition(name);
        let state = FileState::new(id, partition, name, facts);
        self.files.insert(name.to_owned(), state);
        self.files.get_mut(name)
    }

    /// A name for the partition of a file: its own, or with a number where another file had it.
    fn name_partition(&mut self, name: &str) -> String {
        let mut partition = name.to_owned();
        let mut number = 1;
        while !self.partitions.insert(partition.clone()) {
            number += 1;
            partition = format!("{name}#{number}");
        }
        partition
    }

    /// Forgets a file that nothing was read of.
    pub(super) fn forget(&mut self, name: &str) {
        if let Some(state) = self.files.remove(name) {
            self.partitions.remove(&state.partition);
        }
    }
}

impl FileState {
    /// Another file is where this one was: `facts` are those of the other.
    fn changed(&self, facts: Option<&Facts>, path: PathBuf) -> SourceError {
        let shorter =
            facts.is_some_and(|facts| self.mark.is_some_and(|mark| facts.bytes < mark.at));
        let what = if shorter && self.encoding == Encoding::Plain {
            "it is shorter than what was read of it"
        } else {
            "another file has taken its place, or it was written anew"
        };
        SourceError::FileChanged {
            path,
            message: format!(
                "{what}; {} lines of it were read, and what was read is nowhere in `source.path`. If \
                 files are rotated, let `source.path` match the rotated ones too (`app.log*`), so that \
                 none of their lines is lost; or set `source.on-changed-files = \"read-anew\"` to read \
                 the file that is there now from its beginning",
                self.line
            ),
        }
    }
}
