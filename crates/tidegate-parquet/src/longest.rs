//! How long the texts of a file are at most, said in its footer: for a reader whose columns have
//! widths, and who has to make them wide enough before it reads.

use std::ops::Range;

use arrow::array::{AsArray, StringArray};
use arrow::datatypes::DataType;
use parquet::file::metadata::{FileMetaData, KeyValue};

use crate::draft::{BatchRows, Draft};
use crate::leaf::nulls;

/// What an entry's key begins with; the column's name follows. Persisted: files with it are there.
const KEY: &str = "tidegate.longest-text.";

/// The entries of a draft's columns of text.
pub(crate) fn entries(draft: &Draft) -> Vec<KeyValue> {
    let columns = draft.schema.fields().iter().enumerate();
    columns
        .filter(|(_, field)| *field.data_type() == DataType::Utf8)
        .map(|(index, field)| {
            let of_part =
                |part: &BatchRows| among(part.batch.column(index).as_string(), &part.runs);
            let longest = draft.parts.iter().map(of_part).max().unwrap_or(0);
            KeyValue::new(format!("{KEY}{}", field.name()), longest.to_string())
        })
        .collect()
}

/// Bytes of the longest text among some rows. What is behind a null does not count.
fn among(texts: &StringArray, runs: &[Range<usize>]) -> i32 {
    let Some(nulls) = nulls(texts) else {
        let all = runs.iter().map(|run| of_all(texts, run.clone()));
        return all.max().unwrap_or(0);
    };
    let of_run = |run: &Range<usize>| {
        let there = nulls.slice(run.start, run.len());
        let longest = there
            .valid_slices()
            .map(|(start, end)| of_all(texts, run.start + start..run.start + end));
        longest.max().unwrap_or(0)
    };
    runs.iter().map(of_run).max().unwrap_or(0)
}

fn of_all(texts: &StringArray, rows: Range<usize>) -> i32 {
    let places = texts.value_offsets()[rows.start..=rows.end].windows(2);
    // `fold` and not `max`, so that the compiler makes vectors of it.
    places.fold(0, |longest, place| longest.max(place[1] - place[0]))
}

/// Bytes of the longest text of a column, as the file's footer says, which it does for files that
/// were written with [`Draft::longest_texts`]; 0 where all are empty or null. None if it does not
/// say.
pub fn longest_text(metadata: &FileMetaData, column: &str) -> Option<u64> {
    let name = |entry: &&KeyValue| entry.key.strip_prefix(KEY) == Some(column);
    let entry = metadata.key_value_metadata()?.iter().find(name)?;
    entry.value.as_ref()?.parse().ok()
}
