//! The worker threads: prepare chunks, any chunk on any core.

use std::sync::{Arc, RwLock};

use crossbeam_channel::{Receiver, Sender};
use tidegate_base::lock::read;
use tidegate_core::lookup::LookupTables;
use tidegate_core::prepare::Preparer;

use crate::read::Task;
use crate::shared::Shared;
use crate::state::{Item, Numbered};

/// The reference tables as of now; replaced as a whole when one is reloaded.
pub(crate) type CurrentLookups = RwLock<LookupTables>;

/// Prepares chunks until there are no more.
pub(crate) fn work(
    mut preparer: Preparer,
    shared: &Shared,
    lookups: &CurrentLookups,
    tasks: &Receiver<Task>,
    items: &Sender<Numbered>,
) {
    for task in tasks {
        if shared.failed() {
            return;
        }
        let tables = Arc::clone(&read(lookups));
        match preparer.prepare(&task.chunk, shared.clock.now_micros(), &tables) {
            Ok(prepared) => {
                let prepared = Box::new(prepared);
                let item = if task.ahead {
                    Item::Ahead {
                        prepared,
                        cost: task.cost,
                    }
                } else {
                    Item::Prepared {
                        prepared,
                        cost: task.cost,
                        read_at: task.read_at,
                    }
                };
                if items
                    .send(Numbered {
                        number: task.number,
                        item,
                    })
                    .is_err()
                {
                    return;
                }
            }
            Err(error) => return shared.fail(error.into()),
        }
    }
}
