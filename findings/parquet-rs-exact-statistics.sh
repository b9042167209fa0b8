#!/bin/sh
# The Rust crate `parquet` 58.4.1 (crates.io) writes whether the least and the greatest value of a column chunk are among its
# values (`is_min_value_exact`, `is_max_value_exact` of Parquet's Statistics), for columns of every type; but when it reads them,
# it takes them only for BYTE_ARRAY and FIXED_LEN_BYTE_ARRAY. Of DOUBLE, INT64 and the others it says "exact" whatever the file
# says: bounds that another writer has marked as not exact (a zero that stands for those of both signs) look like values.
#
# Seen: the flags false and false of a DOUBLE column come back as true and true; those of a BYTE_ARRAY column as they were.
#
# Needs cargo and crates.io. Ends with 0 if this is still so, with 1 if it has changed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/src"
cat > "$folder/Cargo.toml" <<'TOML'
[package]
name = "exact"
version = "0.0.0"
edition = "2021"
[dependencies]
bytes = "1"
parquet = { version = "=58.4.1", default-features = false }
[workspace]
TOML
cat > "$folder/src/main.rs" <<'RUST'
use std::sync::Arc;

use bytes::Bytes;
use parquet::data_type::ByteArray;
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter, RowGroupMetaData,
};
use parquet::file::statistics::{Statistics, ValueStatistics};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::SchemaDescriptor;

/// Flags of the only column, written as not exact and read back.
fn back(column: &str, statistics: Statistics) -> (bool, bool) {
    let schema = parse_message_type(&format!("message m {{ required {column} x; }}")).unwrap();
    let schema = Arc::new(SchemaDescriptor::new(Arc::new(schema)));
    let chunk = ColumnChunkMetaData::builder(schema.column(0)).set_num_values(2).set_statistics(statistics).build().unwrap();
    let group = RowGroupMetaData::builder(schema.clone()).set_num_rows(2).add_column_metadata(chunk).build().unwrap();
    let metadata = ParquetMetaData::new(FileMetaData::new(1, 2, None, None, schema, None), vec![group]);
    let mut file = b"PAR1".to_vec();
    ParquetMetaDataWriter::new(&mut file, &metadata).finish().unwrap();
    let read = ParquetMetaDataReader::new().parse_and_finish(&Bytes::from(file)).unwrap();
    let statistics = read.row_group(0).column(0).statistics().unwrap();
    (statistics.min_is_exact(), statistics.max_is_exact())
}

fn main() {
    let doubles = ValueStatistics::new(Some(-0.0_f64), Some(0.0), None, Some(0), false);
    let doubles = Statistics::Double(doubles.with_min_is_exact(false).with_max_is_exact(false));
    let texts = ValueStatistics::new(Some(ByteArray::from("a")), Some(ByteArray::from("b")), None, Some(0), false);
    let texts = Statistics::ByteArray(texts.with_min_is_exact(false).with_max_is_exact(false));
    let found = (back("double", doubles), back("binary", texts));
    println!("written as not exact; read of DOUBLE: {:?}, of BYTE_ARRAY: {:?}", found.0, found.1);
    std::process::exit(i32::from(found != ((true, true), (false, false))));
}
RUST
CARGO_TARGET_DIR="$folder/target" cargo run --quiet --manifest-path "$folder/Cargo.toml"
