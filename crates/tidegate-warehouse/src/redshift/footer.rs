//! Which columns a Parquet file has, and how long their texts are, from its end. `COPY` maps
//! columns by position, so they have to be known of each file, and not only of the configuration as
//! it is now. And it fails for a text that is longer than its column, or cuts blanks off.

use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt};
use parquet::arrow::parquet_to_arrow_schema;
use parquet::file::metadata::{FileMetaData, FooterTail, ParquetMetaDataReader};
use tidegate_log::{FileEntry, Record};
use tidegate_parquet::longest_text;
use tidegate_storage::Storage;

use super::options::VARCHAR_MAX;
use super::plan::{FileColumns, SourceFile};
use super::sql::Type;
use crate::load::LoadFault;

/// Bytes that are read at first: almost every footer fits.
const TAIL: u64 = 32 << 10;
/// Bytes after the metadata: its length, and the magic number.
const FOOTER: u64 = 8;
/// Files that are read at a time.
const AT_ONCE: usize = 16;

/// The files of a load that have rows and a table, with what their ends say, in the order of the
/// log.
///
/// # Errors
/// If a file is missing, has another size, or is not Parquet.
pub(super) async fn read_files<'a>(
    storage: &Storage,
    records: &'a [Record],
    wanted: impl Fn(&FileEntry) -> bool,
) -> Result<Vec<SourceFile<'a>>, LoadFault> {
    let taken = |entry: &&FileEntry| entry.rows > 0 && wanted(entry);
    let entries = records.iter().flat_map(|record| {
        let entries = record.files.iter().filter(taken);
        entries.map(move |entry| (record.seq, entry))
    });
    let described = stream::iter(entries)
        .map(|(seq, entry)| async move {
            let mut file = SourceFile {
                seq,
                entry,
                columns: Arc::default(),
                longest_texts: Vec::new(),
            };
            let metadata = metadata(storage, &file).await?;
            describe(&mut file, &metadata);
            Ok::<_, LoadFault>(file)
        })
        .buffered(AT_ONCE);
    let mut described = pin!(described);
    let mut files = Vec::new();
    // Most files of a load are of one form, or of a few.
    let mut forms: Vec<Arc<FileColumns>> = Vec::new();
    while let Some(mut file) = described.try_next().await? {
        match forms.iter().find(|form| **form == file.columns) {
            Some(form) => file.columns = Arc::clone(form),
            None => forms.push(Arc::clone(&file.columns)),
        }
        files.push(file);
    }
    Ok(files)
}

/// Notes what the end of a file says of it.
fn describe(file: &mut SourceFile<'_>, metadata: &FileMetaData) {
    let schema = metadata.schema_descr();
    let fields = schema.root_schema().get_fields();
    let names: Vec<_> = fields.iter().map(|field| field.name().to_owned()).collect();
    let longest = |column: &String| {
        let bytes = longest_text(metadata, column)?;
        Some(u32::try_from(bytes).map_or(VARCHAR_MAX, |bytes| bytes.min(VARCHAR_MAX)))
    };
    file.longest_texts = names.iter().map(longest).collect();
    // What is nested in the file itself is no JSON text.
    let plain = |ty: Type| (ty != Type::Super).then_some(ty);
    let arrow = parquet_to_arrow_schema(schema, metadata.key_value_metadata()).ok();
    let types = names.iter().map(|name| {
        let field = arrow.as_ref()?.field_with_name(name).ok()?;
        Type::of(field.data_type()).and_then(plain)
    });
    file.columns = Arc::new(FileColumns {
        types: types.collect(),
        names,
    });
}

async fn metadata(storage: &Storage, file: &SourceFile<'_>) -> Result<FileMetaData, LoadFault> {
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
    let metadata = metadata.file_metadata();
    let rows = metadata.num_rows();
    if u64::try_from(rows) != Ok(file.entry.rows) {
        return Err(file.fault(format!("has {rows} rows instead of {}", file.entry.rows)));
    }
    Ok(metadata.clone())
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
