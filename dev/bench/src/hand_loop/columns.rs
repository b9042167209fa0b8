//! The columns of the three outputs, and their Parquet files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Builder, Int32Builder, Int64Builder, MapBuilder, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use super::event::{Event, EventText, STATUSES};
use super::state::Closed;
use crate::Outcome;

/// Rows that are gathered in builders before they go to the encoder.
const ROWS: usize = 4096;

/// The columns of the table of events, in its order.
pub(super) struct Rows {
    rows: usize,
    transaction_id: StringBuilder,
    customer_id: StringBuilder,
    amount: Float64Builder,
    currency: StringBuilder,
    merchant: StringBuilder,
    category: StringBuilder,
    status: StringBuilder,
    timestamp: StringBuilder,
    metadata: MapBuilder<StringBuilder, StringBuilder>,
    event_timestamp: TimestampMicrosecondBuilder,
    amount_category: StringBuilder,
    hour_of_day: Int32Builder,
    day_of_week: Int32Builder,
    row_hash: StringBuilder,
    processing_timestamp: TimestampMicrosecondBuilder,
    source_partition: Int32Builder,
    source_offset: Int64Builder,
    source_timestamp: TimestampMicrosecondBuilder,
}

/// Instants in UTC.
fn times() -> TimestampMicrosecondBuilder {
    TimestampMicrosecondBuilder::with_capacity(ROWS).with_timezone("UTC")
}

/// Texts of about so many bytes.
fn texts(bytes: usize) -> StringBuilder {
    StringBuilder::with_capacity(ROWS, ROWS * bytes)
}

impl Rows {
    /// None yet, with room for as many as there will be.
    pub(super) fn new() -> Self {
        let (pairs, number) = (3 * ROWS, Int32Builder::with_capacity);
        Rows {
            rows: 0,
            transaction_id: texts(32),
            customer_id: texts(16),
            amount: Float64Builder::with_capacity(ROWS),
            currency: texts(4),
            merchant: texts(24),
            category: texts(16),
            status: texts(16),
            timestamp: texts(40),
            metadata: MapBuilder::with_capacity(
                None,
                StringBuilder::with_capacity(pairs, pairs * 12),
                StringBuilder::with_capacity(pairs, pairs * 16),
                ROWS,
            ),
            event_timestamp: times(),
            amount_category: texts(8),
            hour_of_day: number(ROWS),
            day_of_week: number(ROWS),
            row_hash: texts(64),
            processing_timestamp: times(),
            source_partition: number(ROWS),
            source_offset: Int64Builder::with_capacity(ROWS),
            source_timestamp: times(),
        }
    }

    /// Appends an event with its enrichments; `true` when it is time to take the rows.
    pub(super) fn push(
        &mut self,
        event: &Event<'_>,
        time: i64,
        row_hash: &str,
        now: i64,
        offset: i64,
    ) -> Outcome<bool> {
        const DAY: i64 = 86_400_000_000;
        let text = |value: &Option<EventText<'_>>, out: &mut StringBuilder| {
            out.append_option(value.as_ref().map(|text| &text.0));
        };
        self.rows += 1;
        self.transaction_id.append_value(&event.transaction_id.0);
        self.customer_id.append_value(&event.customer_id.0);
        self.amount.append_value(event.amount);
        text(&event.currency, &mut self.currency);
        text(&event.merchant, &mut self.merchant);
        text(&event.category, &mut self.category);
        self.status.append_value(&event.status.0);
        self.timestamp.append_value(&event.timestamp.0);
        for (key, value) in event.metadata.iter().flat_map(|pairs| &pairs.0) {
            self.metadata.keys().append_value(&key.0);
            self.metadata.values().append_value(&value.0);
        }
        self.metadata.append(event.metadata.is_some())?;
        self.event_timestamp.append_value(time);
        self.amount_category.append_value(match event.amount {
            ..100.0 => "small",
            ..1000.0 => "medium",
            _ => "large",
        });
        let hour = time.rem_euclid(DAY) / 3_600_000_000;
        self.hour_of_day.append_value(hour as i32);
        // 1970-01-01 was a Thursday; 1 is Sunday.
        let day = (time.div_euclid(DAY) + 4).rem_euclid(7) + 1;
        self.day_of_week.append_value(day as i32);
        self.row_hash.append_value(row_hash);
        self.processing_timestamp.append_value(now);
        self.source_partition.append_value(0);
        self.source_offset.append_value(offset);
        self.source_timestamp.append_null();
        Ok(self.rows >= ROWS)
    }

    /// Takes the rows that have been gathered.
    pub(super) fn take(&mut self) -> Outcome<RecordBatch> {
        let mut rows = std::mem::replace(self, Rows::new());
        let columns: [(&str, ArrayRef); 18] = [
            ("transaction_id", Arc::new(rows.transaction_id.finish())),
            ("customer_id", Arc::new(rows.customer_id.finish())),
            ("amount", Arc::new(rows.amount.finish())),
            ("currency", Arc::new(rows.currency.finish())),
            ("merchant", Arc::new(rows.merchant.finish())),
            ("category", Arc::new(rows.category.finish())),
            ("status", Arc::new(rows.status.finish())),
            ("timestamp", Arc::new(rows.timestamp.finish())),
            ("metadata", Arc::new(rows.metadata.finish())),
            ("event_timestamp", Arc::new(rows.event_timestamp.finish())),
            ("amount_category", Arc::new(rows.amount_category.finish())),
            ("hour_of_day", Arc::new(rows.hour_of_day.finish())),
            ("day_of_week", Arc::new(rows.day_of_week.finish())),
            ("row_hash", Arc::new(rows.row_hash.finish())),
            (
                "processing_timestamp",
                Arc::new(rows.processing_timestamp.finish()),
            ),
            ("source_partition", Arc::new(rows.source_partition.finish())),
            ("source_offset", Arc::new(rows.source_offset.finish())),
            ("source_timestamp", Arc::new(rows.source_timestamp.finish())),
        ];
        Ok(RecordBatch::try_from_iter_with_nullable(
            columns.map(|(name, column)| (name, column, true)),
        )?)
    }
}

/// Rejected records and why.
#[derive(Default)]
pub(super) struct Rejected {
    payload: StringBuilder,
    reasons: StringBuilder,
    offset: Int64Builder,
}

impl Rejected {
    pub(super) fn push(&mut self, payload: &[u8], reasons: &str, offset: i64) {
        self.payload.append_value(String::from_utf8_lossy(payload));
        self.reasons.append_value(reasons);
        self.offset.append_value(offset);
    }

    pub(super) fn take(&mut self) -> Outcome<RecordBatch> {
        let columns: [(&str, ArrayRef); 3] = [
            ("payload", Arc::new(self.payload.finish())),
            ("reasons", Arc::new(self.reasons.finish())),
            ("source_offset", Arc::new(self.offset.finish())),
        ];
        Ok(RecordBatch::try_from_iter(columns)?)
    }
}

/// Windows that are final.
pub(super) fn windows(closed: &[Closed]) -> Outcome<RecordBatch> {
    let [mut start, mut end] = [times(), times()];
    let (mut status, mut count) = (StringBuilder::new(), Int64Builder::new());
    let [mut sum, mut min, mut max] = [(); 3].map(|()| Float64Builder::new());
    for (from, to, group, sums) in closed {
        start.append_value(*from);
        end.append_value(*to);
        status.append_value(STATUSES[*group]);
        count.append_value(sums.count);
        sum.append_value(sums.sum);
        min.append_value(sums.min);
        max.append_value(sums.max);
    }
    let columns: [(&str, ArrayRef); 7] = [
        ("window_start", Arc::new(start.finish())),
        ("window_end", Arc::new(end.finish())),
        ("status", Arc::new(status.finish())),
        ("transaction_count", Arc::new(count.finish())),
        ("total_amount", Arc::new(sum.finish())),
        ("min_amount", Arc::new(min.finish())),
        ("max_amount", Arc::new(max.finish())),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

/// The files of one dataset, one for each batch that has rows of it.
pub(super) struct Files {
    prefix: PathBuf,
    properties: Arc<WriterProperties>,
    written: usize,
    bytes: u64,
    open: Option<ArrowWriter<Vec<u8>>>,
}

impl Files {
    pub(super) fn new(dir: &Path, dataset: &str, properties: &Arc<WriterProperties>) -> Self {
        Files {
            prefix: dir.join(dataset),
            properties: Arc::clone(properties),
            written: 0,
            bytes: 0,
            open: None,
        }
    }

    pub(super) fn write(&mut self, rows: &RecordBatch) -> Outcome<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let writer = match &mut self.open {
            Some(writer) => writer,
            None => {
                let properties = Some(WriterProperties::clone(&self.properties));
                self.open
                    .insert(ArrowWriter::try_new(Vec::new(), rows.schema(), properties)?)
            }
        };
        Ok(writer.write(rows)?)
    }

    /// Ends the file of this batch, if it has rows.
    pub(super) fn finish(&mut self) -> Outcome<()> {
        if let Some(writer) = self.open.take() {
            let bytes = writer.into_inner()?;
            self.bytes += bytes.len() as u64;
            let path = self
                .prefix
                .with_extension(format!("{}.parquet", self.written));
            std::fs::write(path, bytes)?;
            self.written += 1;
        }
        Ok(())
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}
