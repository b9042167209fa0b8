//! What a new configuration changes in the meaning of rows: compared part by part.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Meaning, StateColumn, Window};

/// What a new configuration changes in the meaning of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Same,
    /// Something is there from now on that was not there before; what was there stays as it is.
    Added(Vec<String>),
    /// Something is decided in another way from now on. Includes what is added.
    Restarts(Vec<String>),
    /// A promise about rows that are there already would be broken.
    Refused(Vec<ChangeRefusal>),
}

/// A change that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeRefusal {
    /// What was changed, and what that would break.
    pub why: String,
    /// What to do instead.
    pub way_out: String,
}

impl std::fmt::Display for ChangeRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}. {}", self.why, self.way_out)
    }
}

/// The way out where nothing of the old rows can be kept.
const NEW_JOB: &str = "or run it as another job, with a `name`, a storage.url and tables of its own, which reads the source \
     from its beginning";

impl Meaning {
    /// What changes when rows that have this meaning are followed by rows that have `new`.
    pub fn change_to(&self, new: &Meaning) -> Change {
        let mut changes = Changes::default();
        self.compare_event_time(new, &mut changes);
        self.compare_deduplication(new, &mut changes);
        changes.refused.extend(self.upsert_refusal(new));
        for window in new.windows.iter().filter(|window| !window.ended) {
            match self.windows.iter().find(|old| old.name == window.name) {
                Some(old) => old.compare(window, &mut changes),
                None => changes
                    .added
                    .push(format!("window `{}` is new", window.name)),
            }
        }
        let gone = |old: &&Window| {
            let same = new.windows.iter().find(|window| window.name == old.name);
            !old.ended && same.is_none_or(|same| same.ended)
        };
        for old in self.windows.iter().filter(gone) {
            let name = &old.name;
            changes.restarts.push(format!(
                "window `{name}` is no more: its table keeps those that every partition has passed"
            ));
        }
        changes.into_change()
    }

    /// Why the upsert key of `new` does not go with the table that this one filled, if so.
    pub fn upsert_refusal(&self, new: &Meaning) -> Option<ChangeRefusal> {
        let (Some(old_key), Some(new_key)) = (&self.upsert_key, &new.upsert_key) else {
            return None;
        };
        if old_key == new_key {
            return self.recomputed(new, "upsert.key", new_key);
        }
        let (old, new) = (old_key, new_key);
        (old != new).then(|| ChangeRefusal {
            why: format!(
                "upsert.key was {} and is {} now: the table has rows of the old key, which rows of the new one \
                 would not replace",
                key_text(old, "none (rows are appended)"),
                key_text(new, "none (rows are appended)")
            ),
            way_out: format!(
                "Put the old key back; or load all commits anew, with the new key, into a warehouse.url (DuckDB) that \
                 does not exist yet; {NEW_JOB}"
            ),
        })
    }

    /// Why columns of a key cannot be computed in another way, if one is.
    fn recomputed(&self, new: &Meaning, setting: &str, key: &[String]) -> Option<ChangeRefusal> {
        let (old, new) = (self.computed.as_ref()?, new.computed.as_ref()?);
        let column = key.iter().find(|name| old.get(*name) != new.get(*name))?;
        let text = |computed: &BTreeMap<String, String>| match computed.get(column) {
            Some(computed) => format!("`{computed}`"),
            None => "a field of the event".to_owned(),
        };
        Some(ChangeRefusal {
            why: format!(
                "`{column}` is in {setting}, was {} and is {} now: rows that are there have keys that were computed in \
                 the old way, which those of new rows would not be equal to",
                text(old),
                text(new)
            ),
            way_out: format!(
                "Put the old expression back, and give the new one a name of its own under [enrich]; {NEW_JOB}"
            ),
        })
    }

    fn compare_event_time(&self, new: &Meaning, changes: &mut Changes) {
        let (old, new) = (&self.event_time, &new.event_time);
        if old.column != new.column {
            changes.refused.push(ChangeRefusal {
                why: format!(
                    "the event time's column was `{}` and is `{}` now: the rows that are there have their time in the \
                     old one, so that neither repeats nor windows could be rebuilt from them",
                    old.column, new.column
                ),
                way_out: format!(
                    "Set event-time.column to `{}` (with the field as it is called now); {NEW_JOB}",
                    old.column
                ),
            });
        }
        if old.field != new.field {
            changes.restarts.push(format!(
                "the event time is read from `{}` instead of `{}`; watermarks go on from where they are",
                new.field, old.field
            ));
        }
        if old.delay != new.delay {
            let longer = if new.delay > old.delay {
                "; watermarks stay where they are, and what is before them is late, repeats too, until \
                 event time has gone on by the difference"
            } else {
                ""
            };
            changes.restarts.push(format!(
                "what is late, and how long repeats are recognised, is judged by a delay of {} instead of {}{longer}",
                duration_text(new.delay),
                duration_text(old.delay)
            ));
        }
    }

    fn compare_deduplication(&self, all: &Meaning, changes: &mut Changes) {
        let (old, new) = (&self.deduplication, &all.deduplication);
        let names =
            |key: &[StateColumn]| -> Vec<String> { key.iter().map(|c| c.name.clone()).collect() };
        let (old_names, new_names) = (names(old), names(new));
        if old_names == new_names {
            for (old, new) in old.iter().zip(new).filter(|(old, new)| old.ty != new.ty) {
                changes.refused.push(old.retyped_key(&new.ty));
            }
            let recomputed = self.recomputed(all, "deduplication.key", &new_names);
            changes.refused.extend(recomputed);
            return;
        }
        match (old.is_empty(), new.is_empty()) {
            (true, _) => changes.added.push(format!(
                "deduplication by {} begins now: repeats of earlier rows are recognised only where these columns were there",
                new_names.join(", ")
            )),
            (_, true) => changes.restarts.push(format!(
                "deduplication by {} ends: repeats are kept from now on",
                old_names.join(", ")
            )),
            _ => changes.refused.push(ChangeRefusal {
                why: format!(
                    "deduplication.key was {} and is {} now: repeats of rows that are there would be compared by another key",
                    old_names.join(", "),
                    new_names.join(", ")
                ),
                way_out: format!(
                    "Put the old key back; or run once without [deduplication], which says that repeats are kept, and \
                     then with the new key; {NEW_JOB}"
                ),
            }),
        }
    }
}

impl Window {
    fn compare(&self, new: &Window, changes: &mut Changes) {
        let name = &self.name;
        let refuse = |what: String| ChangeRefusal {
            why: format!("window `{name}` {what}, and its table has windows as they were"),
            way_out: format!(
                "Give the new window another name, or change `{name}` back; {NEW_JOB}"
            ),
        };
        if (self.size, self.slide) != (new.size, new.slide) {
            changes.refused.push(refuse(format!(
                "was {} every {} and is {} every {} now",
                duration_text(self.size),
                duration_text(self.slide),
                duration_text(new.size),
                duration_text(new.slide)
            )));
        }
        let names = |window: &Window| -> BTreeSet<String> {
            window.group_by.iter().map(|c| c.name.clone()).collect()
        };
        let (old_names, new_names) = (names(self), names(new));
        if old_names != new_names {
            let text = |names: BTreeSet<String>| {
                key_text(&names.into_iter().collect::<Vec<_>>(), "nothing")
            };
            changes.restarts.push(format!(
                "window `{name}` was grouped by {} and is grouped by {} now: windows that are open are computed anew, and \
                 those that were closed before keep the groups that they had, with null in new ones",
                text(old_names),
                text(new_names)
            ));
        }
        for group in &new.group_by {
            let old = self.group_by.iter().find(|old| old.name == group.name);
            let Some(old) = old.filter(|old| old.ty != group.ty) else {
                continue;
            };
            let what = format!(
                "has `{}` as {} and not as {} any more",
                group.name, group.ty, old.ty
            );
            if is_wider(&old.ty, &group.ty) {
                changes.restarts.push(format!("window `{name}` {what}"));
            } else {
                changes.refused.push(refuse(what));
            }
        }
        self.compare_aggregates(new, refuse, changes);
        if self.ended {
            changes
                .added
                .push(format!("window `{name}` is there again"));
        }
    }

    fn compare_aggregates(
        &self,
        new: &Window,
        refuse: impl Fn(String) -> ChangeRefusal,
        changes: &mut Changes,
    ) {
        let name = &self.name;
        for aggregate in &new.aggregates {
            let column = &aggregate.name;
            match self.aggregates.iter().find(|old| old.name == *column) {
                None => changes.added.push(format!(
                    "window `{name}` has `{column}`, which is null in windows that were closed before"
                )),
                Some(old) if old.function != aggregate.function => changes.refused.push(refuse(
                    format!(
                        "has `{column}` as {} and not as {} any more",
                        aggregate.function, old.function
                    ),
                )),
                Some(old) if old.input != aggregate.input => changes.restarts.push(format!(
                    "window `{name}` computes `{column}` from another expression; windows that were closed before keep \
                     their values"
                )),
                Some(_) => {}
            }
        }
        for old in &self.aggregates {
            if !new.aggregates.iter().any(|new| new.name == old.name) {
                changes.restarts.push(format!(
                    "window `{name}` has no `{}` any more: it is null from now on",
                    old.name
                ));
            }
        }
    }
}

impl StateColumn {
    /// Why a column of the deduplication key cannot have another type.
    pub fn retyped_key(&self, now: &str) -> ChangeRefusal {
        let StateColumn { name, ty } = self;
        ChangeRefusal {
            why: format!(
                "`{name}` is in deduplication.key, was {ty} and is {now} now: repeats of rows that are there would not be \
                 recognised"
            ),
            way_out: format!(
                "Give `{name}` its old type back; or add a column of the new type under [enrich], which can be in windows \
                 and tables, and leave the key as it is; {NEW_JOB}"
            ),
        }
    }
}

/// Changes as they are found.
#[derive(Debug, Default)]
struct Changes {
    added: Vec<String>,
    restarts: Vec<String>,
    refused: Vec<ChangeRefusal>,
}

impl Changes {
    fn into_change(mut self) -> Change {
        if !self.refused.is_empty() {
            return Change::Refused(self.refused);
        }
        if !self.restarts.is_empty() {
            self.restarts.extend(self.added);
            return Change::Restarts(self.restarts);
        }
        if self.added.is_empty() {
            Change::Same
        } else {
            Change::Added(self.added)
        }
    }
}

/// As [`super::widens`], by names.
fn is_wider(from: &str, to: &str) -> bool {
    let decimal = |text: &str| {
        let digits = text.strip_prefix("decimal(")?.strip_suffix(')')?;
        let (precision, scale) = digits.split_once(',')?;
        Some((precision.parse::<u8>().ok()?, scale.parse::<i8>().ok()?))
    };
    match (decimal(from), decimal(to)) {
        (Some((p, s)), Some((wider, scale))) => s == scale && p <= wider,
        _ => matches!((from, to), ("int32", "int64") | ("float32", "float64")),
    }
}

fn key_text(key: &[String], none: &str) -> String {
    if key.is_empty() {
        none.to_owned()
    } else {
        format!("`{}`", key.join("`, `"))
    }
}

fn duration_text(micros: i64) -> String {
    let duration = Duration::from_micros(micros.unsigned_abs());
    let seconds = duration.as_secs();
    match seconds {
        _ if !micros.unsigned_abs().is_multiple_of(1_000_000) => format!("{duration:?}"),
        _ if seconds > 0 && seconds.is_multiple_of(86_400) => format!("{}d", seconds / 86_400),
        _ if seconds > 0 && seconds.is_multiple_of(3_600) => format!("{}h", seconds / 3_600),
        _ if seconds > 0 && seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}
