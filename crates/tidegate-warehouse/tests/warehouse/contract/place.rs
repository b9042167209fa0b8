//! Where the contract's tests load to: each kind of warehouse, with a storage that it can load
//! from.

use std::cell::RefCell;
use std::fmt::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use redshift_emulator::{Emulator, Objects, Options};
use tidegate_storage::{Keys, S3Options, StorageOptions};
use tidegate_testkit::{Postgres, S3};
use tidegate_warehouse::redshift::options::{Identity, Layout, Target, Timestamps, TooLong};
use tidegate_warehouse::{
    LoadError, LoadReport, LoadRequest, Loader, LoaderOptions, RedshiftOptions, RedshiftWarehouse,
    TableSpec, Warehouse, WarehouseReader,
};
use tokio::runtime::Runtime;
use tokio_postgres::SimpleQueryMessage;

use crate::job::{Job, ask};

/// A kind of warehouse, and what it needs.
pub(crate) enum Place {
    /// A file of its own for each world.
    DuckDb,
    /// A schema of its own for each world.
    Redshift(Box<Redshift>),
}

/// An emulator over the PostgreSQL that all tests share, and the S3 server that it copies from.
pub(crate) struct Redshift {
    emulator: Emulator,
    s3: S3,
    postgres: &'static str,
    runtime: Runtime,
}

impl Place {
    pub(crate) fn duckdb() -> Self {
        Place::DuckDb
    }

    /// None where there is no PostgreSQL; the test is then counted as skipped.
    pub(crate) fn redshift() -> Option<Self> {
        static DATABASE: OnceLock<String> = OnceLock::new();
        let server = Postgres::shared()?;
        let postgres = DATABASE.get_or_init(|| server.new_database());
        let runtime = Runtime::new().unwrap();
        let s3 = S3::start();
        let objects = Objects::S3(redshift_emulator::S3 {
            endpoint: s3.endpoint(),
            region: S3::REGION.to_owned(),
            access_key_id: S3::ACCESS_KEY.to_owned(),
            secret_access_key: S3::SECRET_KEY.to_owned(),
        });
        let emulator = runtime.block_on(Emulator::start(Options::new(postgres, objects)));
        Some(Place::Redshift(Box::new(Redshift {
            emulator: emulator.unwrap(),
            s3,
            postgres,
            runtime,
        })))
    }

    /// A job of its own, with an empty warehouse.
    pub(crate) fn world(&self) -> World<'_> {
        let (job, schema) = match self {
            Place::DuckDb => (Job::new(), String::new()),
            Place::Redshift(redshift) => redshift.job(),
        };
        World {
            place: self,
            job,
            schema,
            reader: RefCell::default(),
        }
    }

    /// Tests loads of one record each, and one load of everything; both at a time, since a Redshift
    /// is mostly waited for.
    pub(crate) fn in_loads_of_any_size(&self, test: impl Fn(World<'_>, u64) + Sync) {
        std::thread::scope(|scope| {
            for rows_max in [1, u64::MAX] {
                let test = &test;
                scope.spawn(move || test(self.world(), rows_max));
            }
        });
    }

    /// A name as it stands in SQL that is asked here.
    pub(crate) fn quote(&self, name: &str) -> String {
        let name = match self {
            Place::DuckDb => name.to_owned(),
            Place::Redshift(_) => name.to_lowercase(),
        };
        format!("\"{}\"", name.replace('"', "\"\""))
    }

    /// How many cases a property test should try: each takes seconds where every statement is
    /// waited for.
    pub(crate) fn cases(&self) -> u32 {
        match self {
            Place::DuckDb => 24,
            Place::Redshift(_) => 3,
        }
    }
}

impl Redshift {
    fn job(&self) -> (Job, String) {
        // Counted over all places, since they share the database.
        static WORLDS: AtomicU32 = AtomicU32::new(0);
        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        let schema = format!("job_{number}");
        self.sql(&format!("CREATE SCHEMA {schema}"));
        let job = Job::with_storage(|_| StorageOptions {
            url: format!("s3://{}/{number}", S3::BUCKET),
            s3: S3Options {
                endpoint: Some(self.s3.endpoint()),
                allow_http: true,
                keys: Some(keys()),
                ..S3Options::default()
            },
        });
        (job, schema)
    }

    fn options(&self, schema: &str) -> RedshiftOptions {
        RedshiftOptions {
            target: Target::Workgroup("test".to_owned()),
            identity: Identity::Iam,
            database: "dev".to_owned(),
            schema: schema.to_owned(),
            iam_role: "default".to_owned(),
            region: Some(S3::REGION.to_owned()),
            endpoint: Some(self.emulator.url()),
            layout: Layout::default(),
            too_long: TooLong::default(),
            timestamps: Timestamps::default(),
            timeout: Duration::from_secs(60),
            keys: Some(keys()),
        }
    }

    /// Runs SQL on the PostgreSQL underneath, and returns the rows as CSV, with quotes for text
    /// that is empty and not null.
    fn sql(&self, sql: &str) -> String {
        let rows = self.runtime.block_on(async {
            let connected = tokio_postgres::connect(self.postgres, tokio_postgres::NoTls).await;
            let (client, connection) = connected.unwrap();
            tokio::spawn(connection);
            client.simple_query(sql).await
        });
        let mut csv = String::new();
        for message in rows.unwrap_or_else(|error| panic!("{sql}: {error:?}")) {
            if let SimpleQueryMessage::Row(row) = message {
                let fields: Vec<_> = (0..row.len())
                    .map(|at| match row.get(at) {
                        Some("") => "\"\"",
                        field => field.unwrap_or_default(),
                    })
                    .collect();
                writeln!(csv, "{}", fields.join(",")).unwrap();
            }
        }
        csv
    }
}

fn keys() -> Keys {
    Keys {
        id: S3::ACCESS_KEY.to_owned(),
        secret: S3::SECRET_KEY.to_owned(),
    }
}

/// A job, and a warehouse of its own.
pub(crate) struct World<'p> {
    place: &'p Place,
    pub(crate) job: Job,
    schema: String,
    /// Of the DuckDB that was opened last.
    reader: RefCell<Option<WarehouseReader>>,
}

impl World<'_> {
    /// Opens the warehouse; the one that was open before has to be dropped.
    ///
    /// # Errors
    /// What the warehouse says.
    pub(crate) fn try_open(&self, tables: Vec<TableSpec>) -> Result<Box<dyn Warehouse>, String> {
        self.reader.take();
        let (id, now) = (
            self.job.log.state().job.clone(),
            self.job.clock.now_micros(),
        );
        match self.place {
            Place::DuckDb => {
                let duckdb = self.job.try_open(tables).map_err(|e| e.to_string())?;
                self.reader.replace(duckdb.reader());
                Ok(Box::new(duckdb))
            }
            Place::Redshift(redshift) => {
                let (storage, runtime) = (&self.job.storage, self.job.runtime.handle());
                let options = redshift.options(&self.schema);
                RedshiftWarehouse::open(&options, id.as_str(), tables, storage, runtime, now)
                    .map(|warehouse| Box::new(warehouse) as Box<dyn Warehouse>)
                    .map_err(|error| error.to_string())
            }
        }
    }

    pub(crate) fn open(&self, tables: Vec<TableSpec>) -> Box<dyn Warehouse> {
        self.try_open(tables).unwrap()
    }

    pub(crate) fn loader(&self, tables: Vec<TableSpec>, options: LoaderOptions) -> Loader {
        Loader::new(
            self.open(tables),
            self.job.storage.clone(),
            self.job.runtime.handle().clone(),
            self.job.clock.clone(),
            options,
        )
    }

    /// Opens, and loads all that is committed, in loads of up to `rows_max` rows.
    pub(crate) fn load_all(&self, tables: Vec<TableSpec>, rows_max: u64) -> Loader {
        let options = LoaderOptions {
            rows_max,
            ..LoaderOptions::default()
        };
        let mut loader = self.loader(tables, options);
        loader.catch_up(self.job.last_seq()).unwrap();
        loader
    }

    /// Loads some of the log's records, from the `seqs.start`-th on.
    pub(crate) fn load(
        &self,
        warehouse: &mut dyn Warehouse,
        seqs: std::ops::Range<usize>,
    ) -> Result<LoadReport, Box<LoadError>> {
        let records = self.job.records();
        warehouse.load(&LoadRequest {
            records: &records[seqs],
            storage: &self.job.storage,
            runtime: self.job.runtime.handle(),
            now: self.job.clock.now_micros(),
        })
    }

    /// Does what a person might do to the database while nothing is loaded.
    pub(crate) fn execute(&self, sql: &str) {
        match self.place {
            Place::DuckDb => {
                self.reader.take();
                let connection = duckdb::Connection::open(self.job.database()).unwrap();
                connection.execute_batch(sql).unwrap();
            }
            Place::Redshift(redshift) => {
                redshift.sql(&format!("SET search_path = {}; {sql}", self.schema));
            }
        }
    }

    /// The answer to a query as CSV, with whole numbers for floats that are whole.
    #[track_caller]
    pub(crate) fn ask(&self, sql: &str) -> String {
        match self.place {
            Place::DuckDb => {
                let reader = self.reader.borrow();
                whole(&ask(reader.as_ref().expect("an open warehouse"), sql))
            }
            Place::Redshift(redshift) => {
                redshift.sql(&format!("SET search_path = {}; {sql}", self.schema))
            }
        }
    }
}

fn whole(csv: &str) -> String {
    let mut out = String::new();
    for line in csv.lines() {
        let fields = line.split(',');
        let fields: Vec<_> = fields
            .map(|field| field.strip_suffix(".0").unwrap_or(field))
            .collect();
        writeln!(out, "{}", fields.join(",")).unwrap();
    }
    out
}
