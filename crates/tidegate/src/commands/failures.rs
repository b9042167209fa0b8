//! From the errors of the parts to exit codes: one exhaustive place.

use std::error::Error;

use tidegate_engine::EngineError;
use tidegate_log::{CommitError, GarbageError, OpenError, ReadError};
use tidegate_serve::ServeError;
use tidegate_source::SourceError;
use tidegate_storage::StorageError;
use tidegate_warehouse::redshift::{RedshiftOpenError, SchemaError as RedshiftSchemaError};
use tidegate_warehouse::{DatabaseError, DuckDbOpenError, LoadFault, LoaderError, SchemaError};
use tokio::task::JoinError;

use crate::exit::{Exit, Failure, chain};

/// An error of no particular kind.
pub(super) fn other(error: &(dyn Error + 'static)) -> Failure {
    Failure::other(chain(error))
}

/// The storage cannot be used.
pub(super) fn storage(error: &StorageError) -> Failure {
    if error.is_disk_full() {
        return Failure::new(Exit::Temporary, chain(error))
            .hint("make room and start again: it goes on from the last commit");
    }
    let exit = match error {
        StorageError::UnknownScheme { .. } | StorageError::NoRegion { .. } => Exit::InvalidConfig,
        _ => Exit::Failure,
    };
    Failure::new(exit, chain(error))
}

/// A record cannot be read.
pub(super) fn read(error: &ReadError) -> Failure {
    match error {
        ReadError::Storage(error) => storage(error),
        ReadError::Broken { .. } | ReadError::Misplaced { .. } | ReadError::Chain { .. } => {
            Failure::new(Exit::LogDamaged, chain(error))
        }
    }
}

/// The log cannot be opened.
pub(super) fn open(error: &OpenError) -> Failure {
    match error {
        OpenError::Storage(error) => storage(error),
        OpenError::Read(error) => read(error),
        OpenError::Fold(_)
        | OpenError::Hole { .. }
        | OpenError::Vanished
        | OpenError::SnapshotAhead { .. } => Failure::new(Exit::LogDamaged, chain(error)),
        OpenError::OtherJob { .. } | OpenError::Careless { .. } => {
            Failure::new(Exit::InvalidConfig, chain(error))
        }
    }
}

/// A commit failed.
pub(super) fn commit(error: &CommitError) -> Failure {
    match error {
        CommitError::Storage { source, .. } => Failure {
            message: chain(error),
            ..storage(source)
        },
        CommitError::Read(error) => read(error),
        CommitError::OtherWriter { .. } => Failure::new(Exit::OtherWriter, chain(error)),
        CommitError::Changed { .. } => Failure::new(Exit::Temporary, chain(error)),
        CommitError::Invariant { .. } => Failure::other(chain(error)),
    }
}

/// Garbage cannot be collected.
pub(super) fn garbage(error: &GarbageError) -> Failure {
    match error {
        GarbageError::Storage(error) => storage(error),
        GarbageError::Read(_) | GarbageError::Hole { .. } => {
            Failure::new(Exit::LogDamaged, chain(error))
        }
        GarbageError::Temporary { .. } => other(error),
    }
}

/// The source cannot be opened or cannot go on.
pub(super) fn source(error: &SourceError) -> Failure {
    let exit = match error {
        SourceError::Option { .. } | SourceError::OtherSource { .. } => Exit::InvalidConfig,
        SourceError::Unreachable { .. }
        | SourceError::Refused { .. }
        | SourceError::TopicMissing { .. } => Exit::Temporary,
        _ => Exit::Failure,
    };
    Failure::new(exit, chain(error))
}

/// The database file cannot be opened.
pub(super) fn database(error: &DatabaseError) -> Failure {
    match error {
        DatabaseError::Locked { .. } | DatabaseError::OpenHere { .. } => {
            Failure::new(Exit::OtherWriter, chain(error))
        }
        DatabaseError::Missing { .. } => other(error).hint(
            "start the job with `tidegate run`; relative paths start at the current directory",
        ),
        _ => other(error),
    }
}

/// The warehouse cannot be opened for loading.
pub(super) fn warehouse(error: &DuckDbOpenError) -> Failure {
    match error {
        DuckDbOpenError::Database(error) => database(error),
        DuckDbOpenError::Table(_) => Failure::new(Exit::InvalidConfig, chain(error)),
        DuckDbOpenError::Schema { error: schema, .. }
            if matches!(
                **schema,
                SchemaError::OtherJob { .. }
                    | SchemaError::Gone { .. }
                    | SchemaError::Changed { .. }
                    | SchemaError::Type { .. }
            ) =>
        {
            Failure::new(Exit::InvalidConfig, chain(error))
        }
        _ => other(error),
    }
}

/// Redshift cannot be opened for loading.
fn redshift(error: &RedshiftOpenError) -> Failure {
    let exit = match error {
        RedshiftOpenError::Schema { error: schema, .. } if schema.is_transient() => Exit::Temporary,
        RedshiftOpenError::Schema { error: schema, .. }
            if matches!(
                **schema,
                RedshiftSchemaError::Gone { .. }
                    | RedshiftSchemaError::Changed { .. }
                    | RedshiftSchemaError::Type { .. }
            ) =>
        {
            Exit::InvalidConfig
        }
        RedshiftOpenError::Schema { .. } => Exit::Failure,
        RedshiftOpenError::Table(_)
        | RedshiftOpenError::Name { .. }
        | RedshiftOpenError::Storage(_) => Exit::InvalidConfig,
    };
    Failure::new(exit, chain(error))
}

/// How the HTTP server ended, if it was not asked to. Without it nobody sees what the job does.
pub(super) fn serving(ended: Result<Result<(), ServeError>, JoinError>) -> Option<Failure> {
    match ended {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(
            Failure::other(format!("HTTP cannot be served: {}", chain(&error)))
                .hint("nothing is lost; to run without HTTP, leave http.listen out"),
        ),
        // The runtime ends, and everything with it.
        Err(error) if !error.is_panic() => None,
        Err(_) => Some(
            Failure::other(
                "the HTTP server panicked, which is a fault in Tidegate: please report it",
            )
            .hint("what was read is committed and loaded: start the job again to go on"),
        ),
    }
}

/// What is committed could not be loaded.
pub(super) fn load(error: &LoaderError) -> Failure {
    let exit = match error {
        _ if error.is_transient() => Exit::Temporary,
        LoaderError::Read { .. } | LoaderError::LogEnds { .. } => Exit::LogDamaged,
        LoaderError::Load(error) => match error.fault {
            LoadFault::File { .. } | LoadFault::OtherHistory { .. } => Exit::LogDamaged,
            LoadFault::OtherJob { .. } => Exit::InvalidConfig,
            _ => Exit::Failure,
        },
        _ => Exit::Failure,
    };
    Failure::new(exit, chain(error))
        .hint("what was read is committed: start again to load the rest")
}

/// The pipeline could not start, or stopped.
pub(super) fn engine(error: &EngineError) -> Failure {
    match error {
        EngineError::Spec(_)
        | EngineError::Unbounded
        | EngineError::NoWarehouse
        | EngineError::OtherRows { .. }
        | EngineError::Refused(_)
        | EngineError::Meaning(_)
        | EngineError::OtherJob { .. } => Failure::new(Exit::InvalidConfig, chain(error)),
        EngineError::Lookup { fault, .. } => {
            Failure::new(Exit::InvalidConfig, chain(error)).hint(fault.help())
        }
        EngineError::Redshift(error) => redshift(error),
        EngineError::ReadLog(error) => read(error),
        EngineError::Storage(error) => storage(error),
        EngineError::Open(error) => open(error),
        EngineError::Commit(error) => commit(error),
        EngineError::Source(error) => source(error),
        EngineError::Restore { .. } | EngineError::WarehouseAhead { .. } => {
            Failure::new(Exit::LogDamaged, chain(error))
        }
        EngineError::Warehouse(error) => warehouse(error),
        EngineError::Load(error) => load(error),
        EngineError::Prepare(_)
        | EngineError::Encode(_)
        | EngineError::Arrow(_)
        | EngineError::Gap { .. }
        | EngineError::NoLog(_)
        | EngineError::NoDryRun
        | EngineError::DryRun(_)
        | EngineError::Panicked(_)
        | EngineError::Thread(_) => other(error),
    }
}
