//! What a file is that nothing was read of: a new one, or one that is known in another form.

use std::io::{self, Read};

use super::discover::Facts;
use super::input::{Encoding, Input, MarkMatch, is_cut_off};
use super::known::{Copy, FileRegistry};
use super::names;
use super::search::Match;
use super::trail::{Mark, Trail};
use crate::SourceError;

/// What a file that nothing was read of turns out to be when it is opened.
pub(super) enum Judged {
    /// A file to be read.
    New,
    /// A copy, which has been put aside.
    Copy,
    /// A known file has changed meanwhile: where the known files are is to be found out again.
    Unclear,
}

impl FileRegistry {
    /// What the file `name`, of which nothing was read, is: a new one, or a copy of one that is
    /// there.
    pub(super) fn judge(&mut self, name: &str, facts: &Facts) -> Result<Judged, SourceError> {
        if self.is_back(name, facts)? {
            return Ok(Judged::Unclear);
        }
        let same_inode = self.opened.get(&facts.inode).into_iter().cloned();
        let former = names::before(name).into_iter().skip(1);
        let packed = names::compressed(name);
        for other in same_inode
            .chain(former)
            .chain(packed)
            .filter(|other| other != name)
        {
            let Some(state) = self.files.get(&other).filter(|state| !state.is_unread()) else {
                continue;
            };
            let Some(mark) = state.mark else {
                continue;
            };
            if let Some((copied, lines)) = self.compare(name, &other)? {
                let (of, facts) = (state.id, *facts);
                tracing::info!(
                    path = %self.base.join(name).display(), of = %self.base.join(&other).display(),
                    "a file holds nothing but what another has, and is passed over"
                );
                self.forget(name);
                let mark = copied;
                self.copies.insert(
                    name.to_owned(),
                    Copy {
                        facts,
                        of,
                        mark,
                        lines,
                    },
                );
                return Ok(Judged::Copy);
            }
            if !self.has(&other, &mark)? {
                if let Some(state) = self.files.get_mut(&other) {
                    state.facts = None;
                }
                return Ok(Judged::Unclear);
            }
        }
        if self.opened.len() > 2 * self.files.len() + 1000 {
            let files = &self.files;
            self.opened.retain(|_, name| files.contains_key(name));
        }
        self.opened.insert(facts.inode, name.to_owned());
        Ok(Judged::New)
    }

    /// Whether the file `name`, which has changed since it was first seen, has what was read of one
    /// that is absent. It is then no new one, and the known files are to be found again.
    fn is_back(&mut self, name: &str, facts: &Facts) -> Result<bool, SourceError> {
        let seen = self.files.get(name).and_then(|state| state.first);
        if seen == Some(*facts) {
            return Ok(false);
        }
        let before = names::before(name);
        for state in self.absent.iter().filter(|state| state.mark.is_some()) {
            let related = names::to_look_for(&state.name, &state.partition)
                .iter()
                .any(|name| before.contains(name));
            if !related && state.inode() != Some(facts.inode) {
                continue;
            }
            match state.compare(&self.base, name, facts)? {
                Match::Other => continue,
                Match::CutOff => {
                    self.unclear.insert(name.to_owned(), *facts);
                }
                Match::Same => {}
            }
            self.forget(name);
            return Ok(true);
        }
        if let Some(state) = self.files.get_mut(name) {
            state.first = Some(*facts);
        }
        Ok(false)
    }

    /// Whether there is a file that has what `mark` was taken of.
    fn has(&self, name: &str, mark: &Mark) -> Result<bool, SourceError> {
        let path = self.base.join(name);
        let Some(mut input) = Input::open_if_there(&path, Encoding::of(name))? else {
            return Ok(false);
        };
        let found = input.find(mark);
        let found = found.map_err(|e| SourceError::io("read", path, e))?;
        Ok(matches!(found, MarkMatch::Same(_)))
    }

    /// Whether all that is in the file `copy` is at the beginning of the file `of`: how much that
    /// is, and how many lines. None if not, or if there is nothing in it.
    fn compare(&self, copy: &str, of: &str) -> Result<Option<(Mark, i64)>, SourceError> {
        let paths = [copy, of].map(|name| self.base.join(name));
        let (Some(mut copied), Some(mut original)) = (
            Input::open_if_there(&paths[0], Encoding::of(copy))?,
            Input::open_if_there(&paths[1], Encoding::of(of))?,
        ) else {
            return Ok(None);
        };
        let mut trail = Trail::default();
        let mut lines = 0;
        let mut blocks = [vec![0; 64 << 10], vec![0; 64 << 10]];
        loop {
            let [ours, theirs] = &mut blocks;
            let n =
                read_full(&mut copied, ours).map_err(|e| SourceError::io("read", &paths[0], e))?;
            let m = read_full(&mut original, &mut theirs[..n])
                .map_err(|e| SourceError::io("read", &paths[1], e))?;
            if ours[..n] != theirs[..m] {
                return Ok(None);
            }
            trail.pass(&ours[..n]);
            lines += memchr::memchr_iter(b'\n', &ours[..n]).count() as i64;
            if n < ours.len() {
                return Ok((trail.at() > 0).then(|| (trail.mark(), lines)));
            }
        }
    }
}

/// Fills `block` as far as there is something, decompressed; what is damaged or cut off ends there.
fn read_full(input: &mut Input, block: &mut [u8]) -> io::Result<usize> {
    let mut n = 0;
    while n < block.len() {
        match input.read(&mut block[n..]) {
            Ok(0) => break,
            Ok(more) => n += more,
            Err(e) if is_cut_off(&e) || e.raw_os_error().is_none() => break,
            Err(e) => return Err(e),
        }
    }
    Ok(n)
}
