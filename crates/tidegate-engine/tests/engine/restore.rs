//! Jobs that are stopped and started again over the same storage.

use std::collections::BTreeMap;

use bytes::Bytes;
use tidegate_engine::EngineError;
use tidegate_source::ResumePartition;
use tidegate_storage::Storage;

use crate::model::Fate;
use crate::script::{Run, SECOND, START, World};

/// Before the stop: fingerprints, watermarks (15 s and -10 s) and an open window in two lanes.
fn first_half(run: &Run<'_>) {
    run.announce(&[0, 1]);
    run.give(0, 0, &[(0, "a"), (20, "b"), (25, "c")]);
    run.give(1, 0, &[(0, "a")]);
}

/// After it: what is decided needs all of that.
fn second_half(run: &Run<'_>) {
    run.announce(&[0, 1]);
    run.give(
        0,
        3,
        &[(20, "b"), (5, "d"), (28, "e"), (45, "f"), (46, "a")],
    );
    run.give(1, 1, &[(0, "a"), (31, "g"), (41, "h")]);
}

// Fails where a lane is rebuilt without its watermark (`d` would be an event), its fingerprints
// (`b` and `a` would be), or its open windows (that of lane 0 would have one row instead of four).
#[test]
fn a_job_that_was_stopped_and_started_decides_as_one_that_was_not() {
    let undisturbed = World::in_memory("restore-undisturbed");
    let run = undisturbed.start(usize::MAX);
    first_half(&run);
    second_half(&run);
    let summary = run.stop().expect("it ends well");

    let stopped = World::in_memory("restore-stopped");
    let run = stopped.start(usize::MAX);
    first_half(&run);
    run.stop().expect("it ends well");
    let run = stopped.start(usize::MAX);
    assert_eq!(run.job.handle().status().read, 4, "counts go on");
    second_half(&run);
    let after_stop = run.stop().expect("it ends well");
    assert_eq!((summary.read, after_stop.read), (12, 8));

    let (expected, found) = (undisturbed.found(), stopped.found());
    let late = ((0, 4), Fate::Late);
    let kept = [(0, 0), (0, 1), (0, 2), (0, 5), (0, 6), (0, 7)];
    let kept = kept.into_iter().chain([(1, 0), (1, 2), (1, 3)]);
    let fates: BTreeMap<_, _> = kept.map(|at| (at, Fate::Event)).chain([late]).collect();
    assert_eq!(expected.fates, fates);
    assert_eq!(found.fates, fates);
    let end = START + 30 * SECOND;
    let windows = BTreeMap::from([((0, end), 4), ((1, end), 1)]);
    assert_eq!(expected.windows, windows);
    assert_eq!(found.windows, windows);
    let watermarks = BTreeMap::from([(0, START + 36 * SECOND), (1, START + 31 * SECOND)]);
    assert_eq!(expected.watermarks, watermarks);
    assert_eq!(found.watermarks, watermarks);
}

// Fails where a partition goes on elsewhere than after the last commit, or is not recognised.
#[test]
fn the_source_of_a_job_goes_on_where_the_log_ends() {
    let world = World::in_memory("restore-positions");
    let run = world.start(usize::MAX);
    assert!(run.resume.partitions.is_empty());
    first_half(&run);
    run.stop().expect("it ends well");
    let run = world.start(usize::MAX);
    let partition = |id: i32, offset: i64| ResumePartition {
        name: format!("p{id}"),
        lane: id,
        offset,
        identity: Some(format!("{id}-{offset}")),
    };
    let expected = BTreeMap::from([(0, partition(0, 3)), (1, partition(1, 1))]);
    assert_eq!(run.resume.partitions, expected);
    run.stop().expect("it ends well");
}

/// A job that has committed an event at each of these times, in a record of its own; and the paths
/// of the files.
fn committed(name: &str, times: &[i64]) -> (World, Storage, Vec<String>) {
    let world = World::in_memory(name);
    let run = world.start(1);
    for (offset, at) in (0..).zip(times) {
        run.give(0, offset, &[(*at, &at.to_string())]);
    }
    run.until_committed(times.len() as u64 + 1);
    run.stop().expect("it ends well");
    let storage = Storage::open(&world.storage).expect("the storage");
    let found = world.found();
    let files = found.records.iter().flat_map(|record| &record.files);
    let files = files.filter(|file| file.dataset == "events");
    let paths = files.map(|file| file.path.clone()).collect();
    (world, storage, paths)
}

// Fails where a file is taken as it is found: a repeat of what it had would be an event again.
#[test]
fn a_file_that_is_not_what_was_committed_keeps_the_job_from_starting_and_is_named() {
    for (name, said) in [
        ("restore-gone", "it is not there"),
        ("restore-cut", "bytes"),
        ("restore-changed", "checksum"),
    ] {
        let (world, storage, paths) = committed(name, &[0]);
        let damaged = world.runtime.block_on(async {
            let bytes = storage.get(&paths[0]).await?;
            let mut other = bytes.to_vec();
            match name {
                "restore-gone" => return storage.delete(&paths[0]).await,
                "restore-cut" => other.truncate(bytes.len() - 1),
                _ => other[10] ^= 1,
            }
            storage.replace(&paths[0], Bytes::from(other)).await
        });
        damaged.expect("the storage takes it");
        let Err(EngineError::Restore { path, message }) = world.start_with(1, 1 << 20) else {
            panic!("{name}: it is noticed");
        };
        assert_eq!(path, paths[0]);
        assert!(message.contains(said), "{message}");
    }
}

// Fails where all files are read at each start: it would take longer each day.
#[test]
fn a_start_reads_no_file_that_is_older_than_the_horizon() {
    let (world, storage, paths) = committed("restore-old", &[0, 1_000]);
    let deleted = world.runtime.block_on(storage.delete(&paths[0]));
    deleted.expect("the storage takes it");
    world.start(1).stop().expect("it ends well");
}
