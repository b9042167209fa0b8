//! Connections to the PostgreSQL underneath.

use std::sync::Arc;

use tokio::sync::Mutex;
use tokio_postgres::{Client, Config, NoTls};

use crate::errors::SqlError;
use crate::options::{Isolation, Options};

const CATALOG: &str = include_str!("catalog.sql");
/// Any number, the same for all emulators over one database.
const CATALOG_LOCK: i64 = 0x0072_6564_7368_6966;

/// What opens connections, and one connection of the emulator's own.
#[derive(Debug)]
pub(crate) struct Postgres {
    config: Config,
    own: Mutex<Option<Arc<Client>>>,
}

impl Postgres {
    /// Prepares the database: the catalogue of `catalog.sql`, where it is not there yet.
    pub(crate) async fn prepare(options: &Options) -> Result<Self, SqlError> {
        let mut config: Config = options.postgres.parse().map_err(SqlError::new)?;
        let level = match options.isolation {
            Isolation::Snapshot => "repeatable\\ read",
            Isolation::Serializable => "serializable",
        };
        config.options(format!(
            "-c timezone=UTC -c datestyle=ISO -c standard_conforming_strings=off -c escape_string_warning=off \
             -c backslash_quote=on -c extra_float_digits=1 -c client_min_messages=warning \
             -c search_path=\"\\$user\",public,redshift_emulator,pg_catalog -c default_transaction_isolation={level}"
        ));
        config.application_name("redshift-emulator");
        let postgres = Self {
            config,
            own: Mutex::default(),
        };
        let own = postgres.own().await?;
        // One at a time: two emulators may start over one database.
        own.batch_execute(&format!("SELECT pg_advisory_lock({CATALOG_LOCK})"))
            .await?;
        let prepared = async {
            let there = "SELECT FROM pg_namespace WHERE nspname = 'redshift_emulator'";
            if own.query_opt(there, &[]).await?.is_none() {
                own.batch_execute(CATALOG).await?;
            }
            let level: i32 = match options.isolation {
                Isolation::Snapshot => 1,
                Isolation::Serializable => 2,
            };
            let sql = "UPDATE redshift_emulator.settings SET isolation_level = $1, database = $2";
            own.execute(sql, &[&level, &options.database.to_lowercase()])
                .await
        };
        let prepared = prepared.await;
        own.batch_execute(&format!("SELECT pg_advisory_unlock({CATALOG_LOCK})"))
            .await?;
        prepared?;
        Ok(postgres)
    }

    /// A new connection. It ends when the client is dropped.
    pub(crate) async fn connect(&self) -> Result<Client, SqlError> {
        let (client, connection) = self.config.connect(NoTls).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to PostgreSQL ended");
            }
        });
        Ok(client)
    }

    /// The connection for what is not a caller's: records of what happened.
    pub(crate) async fn own(&self) -> Result<Arc<Client>, SqlError> {
        let mut own = self.own.lock().await;
        match &*own {
            Some(client) if !client.is_closed() => Ok(Arc::clone(client)),
            _ => {
                let client = Arc::new(self.connect().await?);
                *own = Some(Arc::clone(&client));
                Ok(client)
            }
        }
    }
}
