//! Names of 64 to 127 bytes. Redshift has them and PostgreSQL cuts at 63, so that two of them could
//! become one: PostgreSQL gets a shorter name of its own, and callers see the one that they gave.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use sqlparser::tokenizer::Token;

use crate::errors::SqlError;
use crate::postgres::Postgres;

/// The bytes of the longest name in Redshift; what is longer is cut there, as its documentation
/// says ("Names and identifiers").
const BYTES_MAX: usize = 127;
/// The bytes of the longest name in PostgreSQL.
const POSTGRES_BYTES_MAX: usize = 63;
/// What a shorter name keeps of a longer one; `_` and 16 digits of a hash follow.
const KEPT_BYTES: usize = 46;

/// The name that PostgreSQL gets. `name` is in lower case, without quotes.
pub(crate) fn stored(name: &str) -> Cow<'_, str> {
    let name = cut(name, BYTES_MAX);
    if name.len() <= POSTGRES_BYTES_MAX {
        return Cow::Borrowed(name);
    }
    Cow::Owned(format!("{}_{:016x}", cut(name, KEPT_BYTES), hash(name)))
}

fn cut(name: &str, bytes: usize) -> &str {
    let mut end = name.len().min(bytes);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.get(..end).unwrap_or_default()
}

/// FNV-1a: names outlive the program that made them, so it has to stay the same.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// What shorter names stand for.
#[derive(Debug, Default)]
pub(crate) struct LongNames {
    long: Mutex<BTreeMap<String, String>>,
}

impl LongNames {
    /// Those that the database has from before.
    pub(crate) async fn load(postgres: &Postgres) -> Result<Self, SqlError> {
        let sql = "SELECT short, long FROM redshift_emulator.names";
        let rows = postgres.own().await?.query(sql, &[]).await?;
        let long = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        Ok(Self {
            long: Mutex::new(long),
        })
    }

    /// Remembers the long names of statements that are about to run, in the database too, where the
    /// system views find them.
    pub(crate) async fn remember(
        &self,
        postgres: &Postgres,
        statements: &[Vec<Token>],
    ) -> Result<(), SqlError> {
        for token in statements.iter().flatten() {
            let Token::Word(word) = token else { continue };
            if word.value.len() <= POSTGRES_BYTES_MAX {
                continue;
            }
            let name = word.value.to_lowercase().replace("\"\"", "\"");
            let short = stored(&name);
            let long = cut(&name, BYTES_MAX);
            if short == long || self.lock().contains_key(&*short) {
                continue;
            }
            let sql = "INSERT INTO redshift_emulator.names VALUES ($1, $2) ON CONFLICT DO NOTHING";
            let own = postgres.own().await?;
            own.execute(sql, &[&&*short, &long]).await?;
            self.lock().insert(short.into_owned(), long.to_owned());
        }
        Ok(())
    }

    /// A text of PostgreSQL as the caller would have it: with long names in the place of shorter
    /// ones.
    pub(crate) fn restore(&self, text: &str) -> String {
        let mut restored = text.to_owned();
        for (short, long) in &*self.lock() {
            if restored.contains(short.as_str()) {
                restored = restored.replace(short.as_str(), long);
            }
        }
        restored
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.long.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
