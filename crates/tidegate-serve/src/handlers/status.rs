//! `GET /v1/status`: how the job is doing.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use tidegate_base::clock::Clock;
use tidegate_engine::{BatchStatus, LoadStatus, Phase, Reach, Slow, Status, WindowStatus};
use utoipa::ToSchema;

use super::openapi::Refusals;
use crate::app::App;
use crate::history::{LatencyBody, Quality, Quantiles};
use crate::metrics::resident_bytes;
use crate::time::Time;

/// How a job is doing. A process that is starting, or that only loads, has what it knows: all but
/// the members of `Pipeline`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Status)]
pub(crate) struct StatusBody {
    phase: PhaseBody,
    uptime_seconds: f64,
    storage: ReachBody,
    /// The stages that take longer than their interval.
    slow: Vec<SlowBody>,
    now: Time,
    #[serde(flatten)]
    loads: LoadsBody,
    #[serde(flatten)]
    #[schema(value_type = PipelineBody)]
    pipeline: Option<PipelineBody>,
}

/// What `tidegate run` knows once it has started: then all of it is there, and before that, and in
/// `tidegate load`, nothing of it. Counts are of the whole life of the job, except where they say
/// otherwise.
// The document says that none of it is required: `openapi::CommonComponents`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Pipeline)]
pub(crate) struct PipelineBody {
    /// Records that were read and committed.
    read: u64,
    /// Of these: events.
    events: u64,
    /// Of these: late events.
    late: u64,
    /// Of these: rejected records.
    rejected: u64,
    /// Of these: exact repeats that were dropped.
    duplicates: u64,
    /// Offsets that expired at the source before they could be read.
    gone: u64,
    /// When this process last committed that offsets had expired.
    #[schema(required)]
    gone_at: Option<Time>,
    /// How often each reason to reject occurred.
    rejected_by: BTreeMap<String, u64>,
    /// Fields that records have and the schema does not, by name, since the process started; at
    /// most 64 names.
    unknown_fields: BTreeMap<String, u64>,
    /// All of them, those included whose names are not told apart.
    unknown_fields_total: u64,
    /// Sums of decimals in final windows that have more digits than their type, since the process
    /// started; the window shows null for them.
    window_sums_without_room: u64,
    /// Records of the commit log.
    commits: u64,
    /// Sequence number of the newest commit.
    last_seq: u64,
    /// Whether the source has ended, so that all windows are final.
    complete: bool,
    /// When this process committed last.
    #[schema(required)]
    committed_at: Option<Time>,
    /// What keeps the commit under way from succeeding, if anything.
    #[schema(required)]
    commit_error: Option<String>,
    /// Whether this process loads the warehouse.
    loads_here: bool,
    source: ReachBody,
    /// Records read since the process started, committed or not.
    read_live: u64,
    /// When this process read a record last.
    #[schema(required)]
    read_at: Option<Time>,
    /// Records that the source holds beyond what was read, per partition.
    // In JSON every name is a text.
    #[schema(value_type = BTreeMap<String, u64>)]
    lag: BTreeMap<i32, u64>,
    /// Of all partitions together.
    lag_total: u64,
    /// Of the lag, records that wait at the source for the end of a transaction.
    held: u64,
    /// Partitions whose history turned out to be another one than what was read, since the process
    /// started.
    replaced: u64,
    /// Whether the job has been behind its source for a while.
    behind: bool,
    /// Seconds until it has caught up, if the lag goes on shrinking as it does; null while it
    /// grows.
    #[schema(required)]
    catch_up_seconds: Option<f64>,
    /// By lane.
    #[schema(value_type = BTreeMap<String, Time>)]
    watermarks: BTreeMap<i32, Time>,
    /// How often one record moved a watermark further than `event-time.delay`, since the process
    /// started.
    watermark_jumps: u64,
    last_batch: BatchBody,
    /// Fingerprints and window groups in memory.
    state_keys: u64,
    /// Bytes of memory of the fingerprints and of the open windows.
    state_bytes: u64,
    /// Open windows in memory, by name.
    windows: BTreeMap<String, WindowBody>,
    /// Bytes of payload between source and commit.
    in_flight_bytes: u64,
    /// Bytes of memory of this process; null where they cannot be had.
    #[schema(required)]
    memory_bytes: Option<u64>,
    /// Records read a second, over ten seconds.
    #[schema(required)]
    input_rate: Option<f64>,
    /// Records committed a second, over ten seconds.
    #[schema(required)]
    processing_rate: Option<f64>,
    /// Shares of the records, over five minutes.
    quality: Quality,
    /// Seconds since the event could be read, over five minutes.
    latency: LatencyBody,
    /// How old events were, by their own time, when they could be read, over five minutes.
    lateness: Quantiles,
}

/// Where a job is in its life.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Phase)]
enum PhaseBody {
    /// Opening the log, rebuilding state.
    Starting,
    /// Reading.
    Running,
    /// Committing and loading what is in flight.
    Stopping,
    /// Ended.
    Stopped,
}

/// What is about loads. All of it is null where this process does not load.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = Loads)]
struct LoadsBody {
    #[schema(required)]
    warehouse: Option<ReachBody>,
    /// Loads since the process started.
    #[schema(required)]
    loads: Option<u64>,
    /// Sequence number of the newest commit that is in the warehouse.
    #[schema(required)]
    loaded_seq: Option<u64>,
    /// When this process loaded last.
    #[schema(required)]
    loaded_at: Option<Time>,
    /// Rows that were loaded since the process started.
    #[schema(required)]
    rows_loaded: Option<u64>,
    /// Rows that replaced, or lost to, a row of the same key, since the process started.
    #[schema(required)]
    updates: Option<u64>,
    /// Rows that were not loaded, because a text is longer than its column can be, since the
    /// process started.
    #[schema(required)]
    load_rejected: Option<u64>,
    /// Rows of which a text was cut to its column's width, since the process started.
    #[schema(required)]
    load_cut: Option<u64>,
    #[schema(required)]
    last_load: Option<LoadBody>,
    /// Loads that failed one after the other, up to now.
    #[schema(required)]
    load_failures: Option<u64>,
    /// What kept the last load from succeeding, if anything.
    #[schema(required)]
    load_error: Option<String>,
}

/// Whether something outside of the job can be reached.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Reach)]
struct ReachBody {
    reachable: bool,
    /// Since when it cannot.
    #[schema(required)]
    since: Option<Time>,
    /// For how long it cannot.
    #[schema(required)]
    away_seconds: Option<f64>,
    /// Why, and what to do about it.
    #[schema(required)]
    error: Option<String>,
}

/// A stage that takes longer than its interval.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Slow)]
struct SlowBody {
    /// `batch` or `load`.
    #[schema(pattern = "^(batch|load)$")]
    stage: &'static str,
    /// How long it takes.
    seconds: f64,
    /// How long it may take.
    interval_seconds: f64,
    /// The key of the configuration that says the interval.
    key: &'static str,
}

/// The open windows of one name.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenWindows)]
struct WindowBody {
    /// Groups in memory, over all lanes.
    groups: u64,
    /// Bytes of memory.
    bytes: u64,
    /// Start of the first window, in microseconds since 1970, where the window was added to a job
    /// that had rows already: there are none before it.
    #[schema(required)]
    begins: Option<i64>,
}

/// The last batch that was committed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Batch)]
struct BatchBody {
    records: u64,
    /// Files that were written.
    files: u64,
    /// Bytes of these files.
    bytes: u64,
    /// Time for encoding.
    encode_seconds: f64,
    /// Time for putting the files and committing.
    commit_seconds: f64,
}

/// The last load.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Load)]
struct LoadBody {
    rows: u64,
    seconds: f64,
}

/// How the job is doing at this moment.
#[utoipa::path(
    get,
    path = "/v1/status",
    tag = "job",
    summary = "How the job does",
    description = "A process that is starting, or that only loads, answers without the members \
                   that only a running pipeline has.",
    responses(Refusals, (status = 200, description = "The status.", body = StatusBody))
)]
pub(crate) async fn status(State(app): State<Arc<App>>) -> Json<StatusBody> {
    Json(show(&app))
}

/// The engine's status, with what this process remembers: rates, shares, latencies.
pub(crate) fn show(app: &App) -> StatusBody {
    let status = app.status();
    let past = app.history.now();
    let known = StatusBody::of(&status, app.job.clock());
    let lag_total = status.lag_total();
    let lanes = status.watermarks.iter();
    let windows = status.windows.iter();
    let pipeline = PipelineBody {
        read: status.read,
        events: status.events,
        late: status.late,
        rejected: status.rejected,
        duplicates: status.duplicates,
        gone: status.gone,
        gone_at: status.gone_at.map(Time),
        commits: status.commits,
        last_seq: status.last_seq,
        complete: status.complete,
        committed_at: status.committed_at.map(Time),
        loads_here: status.loads_here,
        source: (&status.source).into(),
        read_live: status.read_live,
        read_at: status.read_at.map(Time),
        lag_total,
        held: status.held,
        replaced: status.replaced,
        behind: status.behind,
        catch_up_seconds: status.catch_up_seconds,
        watermarks: lanes.map(|(lane, at)| (*lane, Time(*at))).collect(),
        watermark_jumps: status.watermark_jumps,
        window_sums_without_room: status.window_sums_without_room,
        last_batch: (&status.last_batch).into(),
        state_keys: status.state_keys,
        state_bytes: status.state_bytes,
        windows: windows
            .map(|(name, window)| (name.clone(), window.into()))
            .collect(),
        in_flight_bytes: status.in_flight_bytes,
        memory_bytes: resident_bytes(),
        input_rate: past.input_rate,
        processing_rate: past.processing_rate,
        quality: past.quality,
        latency: past.latency,
        lateness: past.lateness,
        rejected_by: status.rejected_by,
        unknown_fields: status.unknown_fields,
        unknown_fields_total: status.unknown_fields_total,
        commit_error: status.commit_error,
        lag: status.lag,
    };
    StatusBody {
        pipeline: Some(pipeline),
        ..known
    }
}

impl StatusBody {
    /// What every process knows.
    pub(crate) fn of(status: &Status, clock: &Clock) -> Self {
        StatusBody {
            phase: status.phase.into(),
            uptime_seconds: status.uptime_seconds,
            storage: (&status.storage).into(),
            slow: status.slow.iter().map(SlowBody::from).collect(),
            now: Time(clock.now_micros()),
            loads: LoadsBody::of(status),
            pipeline: None,
        }
    }
}

impl LoadsBody {
    fn of(status: &Status) -> Self {
        if !status.loads_here {
            return LoadsBody::default();
        }
        LoadsBody {
            warehouse: Some((&status.warehouse).into()),
            loads: Some(status.loads),
            loaded_seq: Some(status.loaded_seq),
            loaded_at: status.loaded_at.map(Time),
            rows_loaded: Some(status.rows_loaded),
            updates: Some(status.updates),
            load_rejected: Some(status.load_rejected),
            load_cut: Some(status.load_cut),
            last_load: Some((&status.last_load).into()),
            load_failures: Some(status.load_failures),
            load_error: status.load_error.clone(),
        }
    }
}

impl From<Phase> for PhaseBody {
    fn from(phase: Phase) -> Self {
        match phase {
            Phase::Starting => PhaseBody::Starting,
            Phase::Running => PhaseBody::Running,
            Phase::Stopping => PhaseBody::Stopping,
            Phase::Stopped => PhaseBody::Stopped,
        }
    }
}

impl From<&Reach> for ReachBody {
    fn from(reach: &Reach) -> Self {
        ReachBody {
            reachable: reach.reachable,
            since: reach.since.map(Time),
            away_seconds: reach.away_seconds,
            error: reach.error.clone(),
        }
    }
}

impl From<&Slow> for SlowBody {
    fn from(slow: &Slow) -> Self {
        SlowBody {
            stage: slow.stage,
            seconds: slow.seconds,
            interval_seconds: slow.interval_seconds,
            key: slow.key,
        }
    }
}

impl From<&WindowStatus> for WindowBody {
    fn from(window: &WindowStatus) -> Self {
        WindowBody {
            groups: window.groups,
            bytes: window.bytes,
            begins: window.begins,
        }
    }
}

impl From<&BatchStatus> for BatchBody {
    fn from(batch: &BatchStatus) -> Self {
        BatchBody {
            records: batch.records,
            files: batch.files,
            bytes: batch.bytes,
            encode_seconds: batch.encode_seconds,
            commit_seconds: batch.commit_seconds,
        }
    }
}

impl From<&LoadStatus> for LoadBody {
    fn from(load: &LoadStatus) -> Self {
        LoadBody {
            rows: load.rows,
            seconds: load.seconds,
        }
    }
}
