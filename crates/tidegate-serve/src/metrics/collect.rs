//! The values of all metrics at one moment.

use std::sync::atomic::{AtomicU64, Ordering};

use tidegate_engine::{Histogram, Latency, Phase, Status};

use super::names::Metric;
use super::page::Page;
use super::{Fixed, process};
use crate::guard::Guard;
use crate::ingest::Ingest;
use crate::options::Thresholds;

/// Those of the bounds of the engine's histograms that are shown, in seconds: fewer, with the
/// limits of the contract among them (0.5, 2, 8, 15, 25, 58.5 and 300).
const LATENCY_BOUNDS: [f64; 22] = [
    0.01, 0.1, 0.25, 0.5, 0.8, 1.0, 1.6, 2.0, 2.5, 4.0, 5.0, 8.0, 15.0, 25.0, 40.0, 58.5, 100.0,
    200.0, 300.0, 630.0, 4_000.0, 100_000.0,
];

/// Reads everything of a process that runs a job.
pub(crate) fn collect(
    fixed: &Fixed,
    status: &Status,
    latency: &Latency,
    guard: &Guard,
    ingest: Option<&Ingest>,
) -> Page {
    let mut page = Page::new(&fixed.pipeline);
    process(&mut page, fixed, status);
    state(&mut page, status);
    records(&mut page, fixed, status);
    positions(&mut page, fixed, status);
    batches(&mut page, fixed, status);
    stage(&mut page, "read", &latency.read);
    stage(&mut page, "commit", &latency.commit);
    histogram(&mut page, Metric::Lateness, None, &latency.lateness);
    quality(&mut page, &fixed.quality);
    if fixed.is_load_separate {
        page.add(Metric::LoadSeparate, true);
    }
    loads(&mut page, fixed, status, latency);
    http(&mut page, guard, ingest);
    page
}

/// Reads everything of a process that only loads.
pub(crate) fn collect_loads(
    fixed: &Fixed,
    status: &Status,
    latency: &Latency,
    guard: &Guard,
) -> Page {
    let mut page = Page::new(&fixed.pipeline);
    process(&mut page, fixed, status);
    loads(&mut page, fixed, status, latency);
    http(&mut page, guard, None);
    page
}

/// What every process says of itself.
fn process(page: &mut Page, fixed: &Fixed, status: &Status) {
    page.add_for(Metric::Info, &fixed.version, 1_u64);
    for phase in [
        Phase::Starting,
        Phase::Running,
        Phase::Stopping,
        Phase::Stopped,
    ] {
        page.add_for(Metric::Phase, phase.name(), phase == status.phase);
    }
    page.add(Metric::StartTime, seconds(fixed.started_at));
    if let Some(bytes) = process::resident_bytes() {
        page.add(Metric::ResidentMemory, bytes);
    }
    page.add(Metric::StorageReachable, status.storage.reachable);
    page.add(Metric::Contract, fixed.contract.as_secs_f64());
}

/// What is in memory.
fn state(page: &mut Page, status: &Status) {
    page.add(Metric::StateKeys, status.state_keys);
    page.add(Metric::StateBytes, status.state_bytes);
    for (window, size) in &status.windows {
        page.add_for(Metric::WindowGroups, window, size.groups);
    }
    for (window, size) in &status.windows {
        page.add_for(Metric::WindowBytes, window, size.bytes);
    }
    page.add(Metric::InFlight, status.in_flight_bytes);
}

/// Every reason is there from the start: a series that appears with its first burst would hide it
/// from whoever asks for an increase.
fn records(page: &mut Page, fixed: &Fixed, status: &Status) {
    page.add(Metric::Read, status.read_live);
    page.add(Metric::Committed, status.read);
    page.add(Metric::Events, status.events);
    page.add(Metric::Late, status.late);
    page.add(Metric::Rejected, status.rejected);
    let mut reasons = status.rejected_by.clone();
    for reason in &fixed.reasons {
        reasons.entry(reason.clone()).or_insert(0);
    }
    for (reason, count) in &reasons {
        page.add_for(Metric::RejectReasons, reason, *count);
    }
    page.add(Metric::CommittedBefore, status.before.read);
    for reason in reasons.keys() {
        let before = status.before.rejected_by.get(reason).copied();
        page.add_for(Metric::RejectReasonsBefore, reason, before.unwrap_or(0));
    }
    page.add(Metric::Duplicates, status.duplicates);
    page.add(Metric::UnknownFields, status.unknown_fields_total);
    page.add(Metric::Updates, status.updates);
    page.add(Metric::WindowSums, status.window_sums_without_room);
    page.add(Metric::Gone, status.gone);
    page.add(Metric::GoneTime, seconds(status.gone_at.unwrap_or(0)));
}

fn positions(page: &mut Page, fixed: &Fixed, status: &Status) {
    page.add(Metric::SourceReachable, status.source.reachable);
    let read_at = status.read_at.unwrap_or(fixed.started_at);
    page.add(Metric::SourceRecordTime, seconds(read_at));
    page.add(Metric::Lag, status.lag_total());
    page.add(Metric::LagHeld, status.held);
    page.add(Metric::Replaced, status.replaced);
    for (partition, lag) in &status.lag {
        page.add_for(Metric::PartitionLag, &partition.to_string(), *lag);
    }
    for (lane, watermark) in &status.watermarks {
        page.add_for(Metric::Watermark, &lane.to_string(), seconds(*watermark));
    }
    page.add(Metric::WatermarkJumps, status.watermark_jumps);
}

fn batches(page: &mut Page, fixed: &Fixed, status: &Status) {
    page.add(Metric::Commits, status.commits);
    page.add(Metric::CommitSequence, status.last_seq);
    page.add(Metric::CommitFailing, status.commit_error.is_some());
    page.add(Metric::BatchInterval, fixed.batch_interval.as_secs_f64());
    let Some(at) = status.committed_at else {
        return;
    };
    page.add(Metric::CommitTime, seconds(at));
    let batch = &status.last_batch;
    page.add(Metric::BatchRecords, batch.records);
    page.add(Metric::BatchFiles, batch.files);
    page.add(Metric::BatchBytes, batch.bytes);
    page.add(Metric::EncodeSeconds, batch.encode_seconds);
    page.add(Metric::CommitSeconds, batch.commit_seconds);
}

fn quality(page: &mut Page, quality: &Thresholds) {
    for (rate, threshold) in quality.named() {
        page.add_for(Metric::QualityThreshold, rate, threshold);
    }
}

fn stage(page: &mut Page, stage: &str, durations: &Histogram) {
    histogram(page, Metric::Latency, Some(stage), durations);
}

fn histogram(page: &mut Page, metric: Metric, label: Option<&str>, durations: &Histogram) {
    let buckets = durations.cumulative();
    let shown = buckets.filter(|(bound, _)| LATENCY_BOUNDS.contains(bound));
    let (count, sum) = (durations.count(), durations.sum_seconds());
    page.add_histogram(metric, label, shown, count, sum);
}

/// Nothing where this process does not load: a 0 would say that all is well. What only a load can
/// say is left out until this process has loaded.
fn loads(page: &mut Page, fixed: &Fixed, status: &Status, latency: &Latency) {
    let Some(interval) = fixed.load_interval else {
        return;
    };
    stage(page, "queryable", &latency.queryable);
    page.add(Metric::WarehouseReachable, status.warehouse.reachable);
    page.add(Metric::LoadInterval, interval.as_secs_f64());
    page.add(Metric::Loads, status.loads);
    page.add(Metric::LoadedRows, status.rows_loaded);
    page.add(Metric::Updates, status.updates);
    page.add(Metric::LoadRejected, status.load_rejected);
    page.add(Metric::LoadCut, status.load_cut);
    page.add(Metric::LoadFailing, status.load_error.is_some());
    page.add(Metric::LoadFailures, status.load_failures);
    let loaded_at = status.loaded_at.unwrap_or(fixed.started_at);
    page.add(Metric::LoadTime, seconds(loaded_at));
    page.add(Metric::LoadedSequence, status.loaded_seq);
    if status.loaded_at.is_some() {
        page.add(Metric::LoadRows, status.last_load.rows);
        page.add(Metric::LoadSeconds, status.last_load.seconds);
    }
}

fn http(page: &mut Page, guard: &Guard, ingest: Option<&Ingest>) {
    for (class, count) in guard.answered() {
        page.add_for(Metric::HttpRequests, class, read(count));
    }
    for (route, durations) in guard.durations() {
        // The buckets first: answers are counted meanwhile, and no bucket may exceed the count.
        let buckets: Vec<_> = durations.cumulative().collect();
        let (count, sum) = (durations.count(), durations.sum_seconds());
        let buckets = buckets.into_iter();
        page.add_histogram(Metric::HttpSeconds, Some(route), buckets, count, sum);
    }
    let refused = guard.refused();
    for (reason, count) in [
        ("unauthorized", &refused.unauthorized),
        ("forbidden", &refused.forbidden),
        ("busy", &refused.busy),
        ("timeout", &refused.timeout),
    ] {
        page.add_for(Metric::HttpRefused, reason, read(count));
    }
    let Some(ingest) = ingest else { return };
    let counts = &ingest.counts;
    for (result, count) in [
        ("accepted", &counts.accepted),
        ("rejected", &counts.rejected),
        ("failed", &counts.failed),
    ] {
        page.add_for(Metric::IngestRecords, result, read(count));
    }
    page.add(Metric::IngestLimited, read(&counts.limited));
}

fn read(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

#[allow(clippy::cast_precision_loss)]
fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tidegate_engine::{Reach, WindowStatus};

    use super::*;
    use crate::guard::GuardOptions;
    use crate::options::CONTRACT;

    /// A job with something of everything.
    fn busy() -> Status {
        Status {
            phase: Phase::Running,
            read: 100,
            events: 80,
            late: 5,
            rejected: 10,
            duplicates: 5,
            rejected_by: [
                ("decode.syntax".to_owned(), 4),
                ("rule.amount".to_owned(), 7),
            ]
            .into(),
            read_live: 120,
            lag: [(0, 7), (1, 13)].into(),
            watermarks: [(0, 1_772_452_800_500_000)].into(),
            watermark_jumps: 2,
            committed_at: Some(1_772_452_801_000_000),
            loaded_at: Some(1_772_452_802_000_000),
            load_error: Some("no".to_owned()),
            load_failures: 3,
            unknown_fields_total: 9,
            windows: [(
                "by_minute".to_owned(),
                WindowStatus {
                    groups: 12,
                    bytes: 4_096,
                    begins: None,
                },
            )]
            .into(),
            source: Reach {
                reachable: false,
                since: Some(1_772_452_800_000_000),
                away_seconds: Some(1.0),
                error: Some("no Kafka broker is reachable".to_owned()),
            },
            ..Status::default()
        }
    }

    /// Latencies of a few events.
    fn latency() -> Latency {
        let mut latency = Latency::default();
        latency.read.add(400_000, 3);
        latency.commit.add(2_000_000, 2);
        latency.queryable.add(300_000_000, 99);
        latency.queryable.add(300_000_001, 1);
        latency.lateness.add(600_000_000, 1);
        latency
    }

    fn fixed(load_interval: Option<Duration>) -> Fixed {
        Fixed {
            pipeline: "payments".to_owned(),
            version: "1.2.3".to_owned(),
            batch_interval: Duration::from_millis(1500),
            load_interval,
            is_load_separate: false,
            contract: Duration::from_secs(60),
            quality: Thresholds::default(),
            reasons: ["decode.syntax", "decode.missing", "rule.amount"]
                .map(str::to_owned)
                .to_vec(),
            started_at: 1_772_452_800_000_000,
        }
    }

    fn page(status: &Status, latency: &Latency, load_interval: Option<Duration>) -> String {
        let fixed = fixed(load_interval);
        let guard = Guard::open(&GuardOptions::default()).unwrap();
        collect(&fixed, status, latency, &guard, None).text()
    }

    #[test]
    fn every_number_of_the_status_is_there() {
        let text = page(&busy(), &latency(), Some(Duration::from_secs(2)));
        for line in [
            "tidegate_info{pipeline=\"payments\",version=\"1.2.3\"} 1",
            "tidegate_phase{pipeline=\"payments\",phase=\"running\"} 1",
            "tidegate_phase{pipeline=\"payments\",phase=\"stopped\"} 0",
            "process_start_time_seconds{pipeline=\"payments\"} 1772452800",
            "tidegate_records_read_total{pipeline=\"payments\"} 120",
            "tidegate_records_committed_total{pipeline=\"payments\"} 100",
            "tidegate_reject_reasons_total{pipeline=\"payments\",reason=\"rule.amount\"} 7",
            "tidegate_reject_reasons_total{pipeline=\"payments\",reason=\"decode.missing\"} 0",
            "tidegate_source_reachable{pipeline=\"payments\"} 0",
            "tidegate_storage_reachable{pipeline=\"payments\"} 1",
            "tidegate_warehouse_reachable{pipeline=\"payments\"} 1",
            "tidegate_source_last_record_timestamp_seconds{pipeline=\"payments\"} 1772452800",
            "tidegate_offsets_gone_timestamp_seconds{pipeline=\"payments\"} 0",
            "tidegate_unknown_fields_total{pipeline=\"payments\"} 9",
            "tidegate_contract_seconds{pipeline=\"payments\"} 60",
            "tidegate_quality_threshold{pipeline=\"payments\",rate=\"null_rate\"} 0.01",
            "tidegate_lateness_seconds_count{pipeline=\"payments\"} 1",
            "tidegate_lag_records{pipeline=\"payments\"} 20",
            "tidegate_partition_lag_records{pipeline=\"payments\",partition=\"1\"} 13",
            "tidegate_watermark_timestamp_seconds{pipeline=\"payments\",lane=\"0\"} 1772452800.5",
            "tidegate_watermark_jumps_total{pipeline=\"payments\"} 2",
            "tidegate_batch_interval_seconds{pipeline=\"payments\"} 1.5",
            "tidegate_load_failing{pipeline=\"payments\"} 1",
            "tidegate_window_groups{pipeline=\"payments\",window=\"by_minute\"} 12",
            "tidegate_window_bytes{pipeline=\"payments\",window=\"by_minute\"} 4096",
            "tidegate_load_failures{pipeline=\"payments\"} 3",
            "tidegate_last_load_timestamp_seconds{pipeline=\"payments\"} 1772452802",
            "tidegate_latency_seconds_bucket{pipeline=\"payments\",stage=\"read\",le=\"0.25\"} 0",
            "tidegate_latency_seconds_bucket{pipeline=\"payments\",stage=\"read\",le=\"0.5\"} 3",
            "tidegate_latency_seconds_bucket{pipeline=\"payments\",stage=\"queryable\",le=\"300\"} 99",
            "tidegate_latency_seconds_bucket{pipeline=\"payments\",stage=\"queryable\",le=\"+Inf\"} 100",
            "tidegate_latency_seconds_sum{pipeline=\"payments\",stage=\"commit\"} 4",
            "tidegate_latency_seconds_count{pipeline=\"payments\",stage=\"commit\"} 2",
            "tidegate_http_refused_total{pipeline=\"payments\",reason=\"busy\"} 0",
        ] {
            assert!(
                text.lines().any(|found| found == line),
                "{line} is not in\n{text}"
            );
        }
    }

    #[test]
    fn only_what_nobody_has_asked_or_sent_is_not_on_the_page_of_a_busy_job() {
        let text = page(&busy(), &latency(), Some(Duration::from_secs(2)));
        let missing: Vec<_> = Metric::ALL
            .iter()
            .filter(|metric| !text.contains(&format!("# TYPE {} ", metric.definition().name)))
            .collect();
        // Nobody has asked anything here, and no other process loads.
        let none = [
            Metric::LoadSeparate,
            Metric::HttpSeconds,
            Metric::IngestRecords,
            Metric::IngestLimited,
        ];
        assert_eq!(missing, none.iter().collect::<Vec<_>>());
    }

    #[test]
    fn every_bound_that_is_shown_is_one_of_the_engine() {
        let text = page(&busy(), &latency(), None);
        for bound in LATENCY_BOUNDS {
            let bucket = format!("stage=\"commit\",le=\"{bound}\"");
            assert!(text.contains(&bucket), "{bucket}");
        }
        // What the alert of the contract asks for by default is exact.
        assert!(LATENCY_BOUNDS.contains(&CONTRACT.as_secs_f64()));
    }

    #[test]
    fn a_process_that_does_not_load_says_nothing_of_loads_but_that() {
        let fixed = Fixed {
            is_load_separate: true,
            ..fixed(None)
        };
        let guard = Guard::open(&GuardOptions::default()).unwrap();
        let text = collect(&fixed, &busy(), &latency(), &guard, None).text();
        let about: Vec<_> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter(|line| line.contains("load") || line.contains("queryable"))
            .collect();
        let only = ["tidegate_load_separate{pipeline=\"payments\"} 1"];
        assert_eq!(about, only);
    }

    #[test]
    fn a_process_that_only_loads_says_nothing_of_records() {
        let guard = Guard::open(&GuardOptions::default()).unwrap();
        let fixed = fixed(Some(Duration::from_secs(2)));
        let text = collect_loads(&fixed, &busy(), &latency(), &guard).text();
        for (name, is_there) in [
            ("tidegate_load_failing", true),
            ("tidegate_loaded_sequence", true),
            ("tidegate_warehouse_reachable", true),
            ("tidegate_storage_reachable", true),
            ("tidegate_latency_seconds_count", true),
            ("tidegate_http_requests_total", true),
            ("tidegate_commit_sequence", false),
            ("tidegate_records_read_total", false),
            ("tidegate_source_reachable", false),
            ("tidegate_lag_records", false),
        ] {
            assert_eq!(text.contains(&format!("\n{name}{{")), is_there, "{name}");
        }
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let text = page(&Status::default(), &Latency::default(), None);
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let known: Vec<_> = samples
            .filter(|line| line.contains("load") || line.contains("last_batch"))
            .collect();
        assert!(known.is_empty(), "{known:?}");
    }
}
