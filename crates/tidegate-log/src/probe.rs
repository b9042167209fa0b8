//! Sees that a storage refuses to create what is there already. The commit log rests on that: of
//! two processes that put the same record, one has to be told so.
//!
//! Some servers that speak S3's protocol do not know the condition and replace the object; some
//! look first and write then, so that of several puts at once more than one is told that it created
//! the object. The probe does both to names of its own, and removes them afterwards. It costs some
//! twenty small requests at each start, in four steps. It is not a proof: what is seen to go wrong
//! is refused.

use std::time::Duration;

use bytes::Bytes;
use futures::future::{join_all, try_join_all};
use tokio::time::timeout;
use uuid::Uuid;

use crate::path;
use tidegate_storage::{Storage, StorageError};

/// Names that are put at the same time.
const NAMES: usize = 2;
/// Puts of each name at the same time.
const AT_ONCE: usize = 8;
/// Longest time that a start waits until what it was probed with is gone again.
const DELETE_WAIT: Duration = Duration::from_secs(1);

/// What a storage does that it must not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Careless {
    /// It does not know the condition.
    #[error("it replaces an object that is there")]
    Replaces,
    /// It looks first and writes then.
    #[error(
        "of {AT_ONCE} puts of one new object at the same time, it told {winners} that they created it"
    )]
    Races {
        /// Puts that were told that they created the object.
        winners: usize,
    },
    /// It says that it created an object, and has another one's content.
    #[error("it told one put that it created an object, and kept the content of another one")]
    Mixes,
}

/// What the puts of one name were told.
struct Round {
    name: String,
    /// Which of them created the object.
    winners: Vec<usize>,
}

/// Puts the same names again and again; none if each was created once.
///
/// # Errors
/// If the storage fails.
pub async fn probe(storage: &Storage) -> Result<Option<Careless>, StorageError> {
    let names: Vec<String> = (0..NAMES)
        .map(|_| format!("{}/{}", path::PROBE, Uuid::new_v4()))
        .collect();
    let found = ask(storage, &names).await;
    remove(storage, &names).await;
    found
}

/// Removes what was put. A server that does not know how to delete several objects with one request
/// is asked again and again by its client, which nobody waits for.
async fn remove(storage: &Storage, names: &[String]) {
    let deletes = join_all(names.iter().map(|name| storage.delete(name)));
    let Ok(deleted) = timeout(DELETE_WAIT, deletes).await else {
        tracing::warn!(
            ?names,
            "storage does not delete what it was probed with, a few bytes at each start: `tidegate \
             log gc --delete` tells whether it can"
        );
        return;
    };
    for (name, deleted) in names.iter().zip(deleted) {
        if let Err(error) = deleted {
            // A few bytes that `tidegate log gc` removes.
            tracing::warn!(%error, name, "what storage was probed with stays there");
        }
    }
}

async fn ask(storage: &Storage, names: &[String]) -> Result<Option<Careless>, StorageError> {
    let rounds = try_join_all(names.iter().map(|name| put_at_once(storage, name))).await?;
    // Alone, so that it is known which of the two is wrong.
    for round in &rounds {
        if create(storage, &round.name, AT_ONCE).await? {
            return Ok(Some(Careless::Replaces));
        }
    }
    for Round { name, winners } in &rounds {
        match **winners {
            // Answers were lost: a put that was tried again found what it had put itself.
            [] => {}
            [winner] => {
                if storage.get(name).await? != content(winner) {
                    return Ok(Some(Careless::Mixes));
                }
            }
            _ => {
                return Ok(Some(Careless::Races {
                    winners: winners.len(),
                }));
            }
        }
    }
    Ok(None)
}

async fn put_at_once(storage: &Storage, name: &str) -> Result<Round, StorageError> {
    let puts = (0..AT_ONCE).map(|put| create(storage, name, put));
    let mut winners = Vec::new();
    for (put, is_created) in join_all(puts).await.into_iter().enumerate() {
        if is_created? {
            winners.push(put);
        }
    }
    Ok(Round {
        name: name.to_owned(),
        winners,
    })
}

/// Whether a put was told that it created the object.
async fn create(storage: &Storage, name: &str, put: usize) -> Result<bool, StorageError> {
    match storage.put(name, content(put)).await {
        Ok(()) => Ok(true),
        Err(error) if error.is_already_exists() => Ok(false),
        Err(error) => Err(error),
    }
}

fn content(put: usize) -> Bytes {
    format!("put {put}; this file can be deleted\n").into()
}
