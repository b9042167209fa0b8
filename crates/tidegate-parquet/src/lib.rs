//! Parquet files from Arrow batches, in memory.
//!
//! Files, their metadata and the rarer types are the `parquet` crate's. Columns of text, numbers,
//! times and maps of texts, of which most of the bytes of events are, are encoded here: selected
//! rows go from Arrow's buffers into pages run by run, without a filtered copy, a hash of what will
//! not repeat, or a level for each value. Of [`WriterProperties`] all counts but how many values
//! are written at a time, and the limits of row groups, which have one of their own. What
//! `ArrowWriter` adds for size statistics, and the schema in Arrow's form, are left out, and so are
//! least and greatest value of floats among which is NaN.
//!
//! - [`Draft`] and [`BatchRows`]: rows that become a file. [`encode`]: files, on several threads at
//!   once.
//! - `column`: which encoder a column has. `flat` and `map`: rows into leaves.
//! - `leaf`: levels and values of one leaf into pages; `text`, `fixed` and `int96` are its values.
//! - [`with_instants`]: how instants that are `INT96` are read. [`longest_text`]: how long the
//!   texts of a column are, where the footer says so.
//! - `nan`: the same for floats within nested columns, which the `parquet` crate encodes.
//! - `chunk`: pages, compressed, into a column chunk.
//! - `dictionary`, `levels`, `delta`, `pack`: the encodings of the Parquet format
//!   (<https://parquet.apache.org/docs/file-format/data-pages/encodings/>).

#![forbid(unsafe_code)]

mod chunk;
mod column;
mod delta;
mod dictionary;
mod draft;
mod file;
mod fixed;
mod flat;
mod int96;
mod leaf;
mod levels;
mod longest;
mod map;
mod nan;
mod pack;
mod text;

pub use draft::{BatchRows, Draft};
pub use file::encode;
pub use int96::with_instants;
pub use longest::longest_text;

#[cfg(doc)]
use parquet::file::properties::WriterProperties;
