//! Which columns a Parquet file has, from its end. `COPY` maps columns by position, so this has to be
//! known of each file, and not only of the configuration as it is now.

use std::ops::Range;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt};
use parquet::file::metadata::{FooterTail, ParquetMetaDataReader};
use tidegate_log::{FileEntry, Record, Storage};

use super::plan::SourceFile;
use crate::load::LoadFault;

/// Bytes that are read at first: almost every footer fits.
const TAIL: u64 = 32 << 10;
/// Bytes behind the metadata: its length, and the magic number.
const FOOTER: u64 = 8;
/// Files that are read at a time.
const AT_ONCE: usize = 16;

/// The files of a load that have rows and a table, with their columns, in the order of the log.
///
/// # Errors
/// If a file is missing, has another size, or is not Parquet.
pub(super) async fn read_columns<'a>(
    storage: &Storage,
    records: &'a [Record],
    wanted: impl Fn(&FileEntry) -> bool,
) -> Result<Vec<SourceFile<'a>>, LoadFault> {
    let mut files = Vec::new();
    for record in records {
        for entry in record
            .files
            .iter()
            .filter(|entry| entry.rows > 0 && wanted(entry))
        {
            files.push(SourceFile {
                seq: record.seq,
                entry,
                url: format!("{}/{}", storage.url().trim_end_matches('/'), entry.path),
                columns: Vec::new(),
            });
        }
    }
    stream::iter(files)
        .map(|file| async move {
            let columns = columns(storage, &file).await?;
            Ok(SourceFile { columns, ..file })
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await
}

async fn columns(storage: &Storage, file: &SourceFile<'_>) -> Result<Vec<String>, LoadFault> {
    let size = file.entry.bytes;
    let tail = read(storage, file, size.saturating_sub(TAIL)..size).await?;
    let end: [u8; FOOTER as usize] = tail
        .len()
        .checked_sub(FOOTER as usize)
        .and_then(|at| tail[at..].try_into().ok())
        .ok_or_else(|| file.fault("is too short to be Parquet"))?;
    let length = FooterTail::try_from(end)
        .map_err(|error| file.fault(format!("is not Parquet: {error}")))?
        .metadata_length() as u64;
    let from = size
        .checked_sub(FOOTER + length)
        .ok_or_else(|| file.fault("has a footer that is longer than the file"))?;
    let metadata = if length + FOOTER <= tail.len() as u64 {
        tail.slice(tail.len() - (length + FOOTER) as usize..tail.len() - FOOTER as usize)
    } else {
        read(storage, file, from..size - FOOTER).await?
    };
    let metadata = ParquetMetaDataReader::decode_metadata(&metadata)
        .map_err(|error| file.fault(format!("has a footer that cannot be read: {error}")))?;
    let rows = metadata.file_metadata().num_rows();
    if u64::try_from(rows) != Ok(file.entry.rows) {
        return Err(file.fault(format!("has {rows} rows instead of {}", file.entry.rows)));
    }
    let fields = metadata
        .file_metadata()
        .schema_descr()
        .root_schema()
        .get_fields();
    Ok(fields.iter().map(|field| field.name().to_owned()).collect())
}

/// A range of a file, which has to have the size that the log says.
async fn read(
    storage: &Storage,
    file: &SourceFile<'_>,
    range: Range<u64>,
) -> Result<Bytes, LoadFault> {
    let (store, path) = (storage.object_store(), Path::from(file.entry.path.as_str()));
    let options = GetOptions::new().with_range(Some(range));
    let object = match store.get_opts(&path, options).await {
        Ok(object) => object,
        Err(error) => return Err(refused(store.head(&path).await, file, error)),
    };
    check_size(file, object.meta.size)?;
    let broken = |error| unread(file, error);
    object.bytes().await.map_err(broken)
}

/// Why a range could not be read: that the file ends before it is an error like any other to S3.
fn refused(
    head: object_store::Result<ObjectMeta>,
    file: &SourceFile<'_>,
    error: object_store::Error,
) -> LoadFault {
    match head {
        Err(object_store::Error::NotFound { .. }) => file.fault("is missing"),
        Ok(found) => match check_size(file, found.size) {
            Err(other_size) => other_size,
            Ok(()) => unread(file, error),
        },
        Err(_) => unread(file, error),
    }
}

fn check_size(file: &SourceFile<'_>, found: u64) -> Result<(), LoadFault> {
    let wanted = file.entry.bytes;
    if found == wanted {
        return Ok(());
    }
    Err(file.fault(format!("has {found} bytes instead of {wanted}")))
}

fn unread(file: &SourceFile<'_>, error: object_store::Error) -> LoadFault {
    LoadFault::Footer {
        path: file.entry.path.clone(),
        source: Box::new(error),
    }
}
