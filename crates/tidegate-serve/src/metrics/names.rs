//! Every metric that there is. Names are an interface: people alert on them.

/// Kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows, until the process starts again or for ever.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations by how long they were, since the process started: `_bucket` with the label `le`,
    /// `_sum` and `_count`.
    Histogram,
}

impl MetricKind {
    /// Its name in the text format.
    pub fn name(self) -> &'static str {
        match self {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        }
    }
}

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Definition {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: MetricKind,
    /// Unit of its values; empty for those that are marks.
    pub unit: &'static str,
    /// Names of its labels, beside `pipeline`, which all have.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($metric:ident: $kind:ident $name:literal $unit:literal [$($label:literal),*] $help:literal;)*) => {
        /// A metric.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        // The texts are for people who look at metrics: `[quality]` is a section of a
        // configuration.
        #[allow(rustdoc::broken_intra_doc_links)]
        pub enum Metric {
            $(#[doc = $help] $metric,)*
        }

        impl Metric {
            /// All metrics, in the order in which they are shown.
            pub const ALL: &[Metric] = &[$(Metric::$metric,)*];

            /// What it is.
            pub fn definition(self) -> Definition {
                match self {
                    $(Metric::$metric => Definition {
                        name: $name,
                        kind: MetricKind::$kind,
                        unit: $unit,
                        labels: &[$($label),*],
                        help: $help,
                    },)*
                }
            }
        }
    };
}

metrics! {
    Info: Gauge "tidegate_info" "" ["version"] "1, with the version of the program.";
    Phase: Gauge "tidegate_phase" "" ["phase"] "1 for the phase that the job is in (starting, running, stopping, stopped), 0 for the others.";
    StartTime: Gauge "process_start_time_seconds" "seconds" [] "When the process started, as seconds since 1970.";
    ResidentMemory: Gauge "process_resident_memory_bytes" "bytes" [] "Memory of the process that is resident.";

    Read: Counter "tidegate_records_read_total" "records" [] "Records read from the source since the process started, committed or not: the input rate.";
    Committed: Counter "tidegate_records_committed_total" "records" [] "Records read and committed, in the life of the job: the processing rate. The sum of events, late events, rejected records and duplicates.";
    Events: Counter "tidegate_events_total" "records" [] "Records that became events in time, in the life of the job.";
    Late: Counter "tidegate_late_events_total" "records" [] "Events behind the watermark, in the life of the job. They are loaded too.";
    Rejected: Counter "tidegate_rejected_records_total" "records" [] "Records that did not become events, in the life of the job. They are kept with their reasons.";
    RejectReasons: Counter "tidegate_reject_reasons_total" "reasons" ["reason"] "Reasons for which records were rejected, in the life of the job. A record can have several.";
    CommittedBefore: Gauge "tidegate_records_committed_at_start" "records" [] "What tidegate_records_committed_total was when the process started.";
    RejectReasonsBefore: Gauge "tidegate_reject_reasons_at_start" "reasons" ["reason"] "What tidegate_reject_reasons_total was when the process started: what is more was counted by this process, also before it was asked the first time.";
    Duplicates: Counter "tidegate_duplicates_total" "records" [] "Exact repeats that were dropped, in the life of the job.";
    Updates: Counter "tidegate_updates_total" "rows" [] "Rows that replaced, or lost to, a row of the same key in the warehouse, since the process started.";
    WindowSums: Counter "tidegate_window_sums_without_room_total" "sums" [] "Sums of decimals in final windows, over all lanes, that have more digits than their type, since the process started. The window shows null for them.";
    Gone: Counter "tidegate_offsets_gone_total" "records" [] "Offsets that expired at the source before they were read, in the life of the job: lost data.";
    GoneTime: Gauge "tidegate_offsets_gone_timestamp_seconds" "seconds" [] "When it was last committed that offsets had expired at the source, as seconds since 1970; 0 if that is more than an hour before the process started, or never was.";
    UnknownFields: Counter "tidegate_unknown_fields_total" "fields" [] "Fields of records that the schema does not have, since the process started. They are ignored; /v1/status has their names.";

    SourceReachable: Gauge "tidegate_source_reachable" "" [] "1 while the source can be reached, or nothing else is known yet; 0 while it cannot.";
    SourceRecordTime: Gauge "tidegate_source_last_record_timestamp_seconds" "seconds" [] "When this process read a record last, as seconds since 1970; when it started, if it has read none.";
    StorageReachable: Gauge "tidegate_storage_reachable" "" [] "1 while storage can be reached, 0 while commits fail or a loader cannot read the commit log.";
    WarehouseReachable: Gauge "tidegate_warehouse_reachable" "" [] "1 while the warehouse can be reached, 0 while loads fail. Only of the process that loads.";

    Lag: Gauge "tidegate_lag_records" "records" [] "Records that the source holds beyond what was read.";
    LagHeld: Gauge "tidegate_lag_held_records" "records" [] "Of the lag, records that cannot be read before a transaction at the source ends.";
    Replaced: Counter "tidegate_source_histories_replaced_total" "partitions" [] "Partitions whose history turned out to be another one than what was read, since the process started: a topic that was made anew, or a log that was cut off. Data may be lost.";
    PartitionLag: Gauge "tidegate_partition_lag_records" "records" ["partition"] "Records that a partition holds beyond what was read.";
    Watermark: Gauge "tidegate_watermark_timestamp_seconds" "seconds" ["lane"] "Watermark of a lane, as seconds since 1970 of event time.";
    WatermarkJumps: Counter "tidegate_watermark_jumps_total" "jumps" [] "How often one record moved a watermark further than event-time.delay, since the process started. Events after it, with an earlier time, are late.";

    Commits: Counter "tidegate_commits_total" "commits" [] "Commits in the life of the job.";
    CommitSequence: Gauge "tidegate_commit_sequence" "" [] "Sequence number of the newest commit.";
    CommitTime: Gauge "tidegate_last_commit_timestamp_seconds" "seconds" [] "When this process committed last, as seconds since 1970.";
    CommitFailing: Gauge "tidegate_commit_failing" "" [] "1 while the commit under way fails and is tried again, else 0.";
    BatchInterval: Gauge "tidegate_batch_interval_seconds" "seconds" [] "Time between commits that is configured (batch.interval): the trigger.";
    BatchRecords: Gauge "tidegate_last_batch_records" "records" [] "Records of the last batch.";
    BatchFiles: Gauge "tidegate_last_batch_files" "files" [] "Files of the last batch.";
    BatchBytes: Gauge "tidegate_last_batch_bytes" "bytes" [] "Bytes of the files of the last batch.";
    EncodeSeconds: Gauge "tidegate_last_batch_encode_seconds" "seconds" [] "How long the last batch took to be encoded as Parquet.";
    CommitSeconds: Gauge "tidegate_last_batch_commit_seconds" "seconds" [] "How long the files of the last batch took to be stored and committed.";

    Latency: Histogram "tidegate_latency_seconds" "seconds" ["stage"] "How long after they could be read (in Kafka: the record's timestamp; without one: when they were read) events were read (stage read), committed (commit), and queryable in the warehouse (queryable). Of `tidegate load`: from their commit until they were queryable. A few of each chunk stand for all.";
    Lateness: Histogram "tidegate_lateness_seconds" "seconds" [] "How old events were, by their own time stamp, when they could be read: how late their senders are. No part of the latency.";
    Contract: Gauge "tidegate_contract_seconds" "seconds" [] "Within which time 99 of 100 events are to be queryable (contract.queryable).";
    QualityThreshold: Gauge "tidegate_quality_threshold" "" ["rate"] "Greatest share of records that may be so before it is said ([quality]): null_rate, duplicate_rate, schema_violation_rate, business_rule_rate.";

    LoadInterval: Gauge "tidegate_load_interval_seconds" "seconds" [] "Time between loads that is configured (load.interval).";
    Loads: Counter "tidegate_loads_total" "loads" [] "Loads into the warehouse since the process started.";
    LoadedRows: Counter "tidegate_loaded_rows_total" "rows" [] "Rows loaded into the warehouse since the process started.";
    LoadedSequence: Gauge "tidegate_loaded_sequence" "" [] "Sequence number of the newest commit that is in the warehouse.";
    LoadTime: Gauge "tidegate_last_load_timestamp_seconds" "seconds" [] "When this process loaded last, as seconds since 1970; when it started, if it has not loaded.";
    LoadRows: Gauge "tidegate_last_load_rows" "rows" [] "Rows of the last load.";
    LoadSeconds: Gauge "tidegate_last_load_seconds" "seconds" [] "How long the last load took.";
    LoadRejected: Counter "tidegate_load_rejected_rows_total" "rows" [] "Rows that were not loaded, because a text is longer than a column that cannot be widened, since the process started. Events among them are in the rejected table, with the reason text.too_long.";
    LoadCut: Counter "tidegate_load_cut_rows_total" "rows" [] "Rows of which a text was cut to the width of a column that cannot be widened, since the process started.";
    LoadFailing: Gauge "tidegate_load_failing" "" [] "1 while loads fail and are tried again, else 0.";
    LoadFailures: Gauge "tidegate_load_failures" "loads" [] "Loads that failed one after the other, up to now.";
    LoadSeparate: Gauge "tidegate_load_separate" "" [] "1 where another process, `tidegate load`, is to load (load.separate); it has the metrics of loads.";

    StateKeys: Gauge "tidegate_state_keys" "keys" [] "Fingerprints and window groups in memory.";
    StateBytes: Gauge "tidegate_state_bytes" "bytes" [] "Memory of the fingerprints and of the open windows.";
    WindowGroups: Gauge "tidegate_window_groups" "groups" ["window"] "Groups of open windows in memory, over all lanes.";
    WindowBytes: Gauge "tidegate_window_bytes" "bytes" ["window"] "Memory of open windows: a part of tidegate_state_bytes.";
    InFlight: Gauge "tidegate_in_flight_bytes" "bytes" [] "Payload between source and commit; memory.in-flight bounds it.";

    HttpRequests: Counter "tidegate_http_requests_total" "requests" ["code"] "Requests over HTTP since the process started, by the class of their status: 2xx, 4xx, ...";
    HttpSeconds: Histogram "tidegate_http_request_seconds" "seconds" ["route"] "How long an answer over HTTP took, from the end of the request's headers until it was ready to be sent; a WebSocket until it was open. By what was asked for: aggregates, event, ingest, query, live, status, rows, log, metrics, health, other.";
    HttpRefused: Counter "tidegate_http_refused_total" "requests" ["reason"] "Requests that were refused since the process started: unauthorized (no token, or an unknown one), forbidden (without the role), busy (too many at the same time), timeout.";
    IngestRecords: Counter "tidegate_ingest_records_total" "records" ["result"] "Records sent to POST /v1/events since the process started: accepted (Kafka has them), rejected, failed (Kafka has not acknowledged them).";
    IngestLimited: Counter "tidegate_ingest_limited_total" "requests" [] "Requests to POST /v1/events that were beyond the sender's rate, since the process started.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn names_follow_the_conventions_of_prometheus() {
        let mut names = BTreeSet::new();
        for metric in Metric::ALL {
            let Definition {
                name,
                kind,
                unit,
                help,
                ..
            } = metric.definition();
            assert!(names.insert(name), "{name} is there twice");
            assert!(
                name.starts_with("tidegate_") || name.starts_with("process_"),
                "{name}"
            );
            assert_eq!(
                name.ends_with("_total"),
                kind == MetricKind::Counter,
                "{name}"
            );
            if matches!(unit, "seconds" | "bytes") {
                assert!(name.ends_with(unit), "{name}");
            }
            assert!(
                help.ends_with('.') && !help.contains('\n') && !help.contains('|'),
                "{name}"
            );
        }
    }

    /// `docs/metrics.md`, as it has to be.
    fn document() -> String {
        let mut out = String::from(
            "# Metrics\n\n\
             `GET /metrics` answers in Prometheus' text format; it needs the role `read` where there are tokens.\n\
             Every series has the label `pipeline`, the job's name. Counters of the life of the job come from\n\
             the commit log: they do not start again with the process. A histogram has the series `_bucket`\n\
             with the label `le`, `_sum` and `_count`.\n\n\
             This page is generated from the code: `TIDEGATE_UPDATE=1 cargo test` writes it anew.\n\n\
             | metric | kind | unit | labels | |\n| --- | --- | --- | --- | --- |\n",
        );
        for metric in Metric::ALL {
            let Definition {
                name,
                kind,
                unit,
                labels,
                help,
            } = metric.definition();
            let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
            let _ = writeln!(
                out,
                "| `{name}` | {} | {unit} | {} | {help} |",
                kind.name(),
                labels.join(", ")
            );
        }
        out.push_str(
            "\nDashboards for Grafana and alert rules for Prometheus are in [deploy](../deploy); what to do about\n\
             an alert is in [runbook.md](runbook.md).\n",
        );
        out
    }

    #[test]
    fn the_documentation_has_every_metric() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
        if std::env::var_os("TIDEGATE_UPDATE").is_some() {
            std::fs::write(path, document()).unwrap();
        }
        assert!(
            std::fs::read_to_string(path).unwrap_or_default() == document(),
            "docs/metrics.md is not what the code says; TIDEGATE_UPDATE=1 writes it anew"
        );
    }
}
