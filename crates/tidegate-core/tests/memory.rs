//! What state says that it takes of memory is what it takes.

// The allocator counts.
#![allow(unsafe_code)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use tidegate_core::lane::Lane;
use tidegate_core::window::ClosedWindows;

use common::{NOW, SECOND, chunk_at, plain_job, plan, preparer, window};

/// Counts the bytes that are allocated.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is left to the system's allocator, and counting changes none of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Groups of a chunk.
const CHUNK: usize = 5_000;

/// Two million groups took 730 MB, of which nothing was counted: here are fewer of them.
#[test]
fn the_bytes_of_windows_are_counted_and_grow_with_their_groups() {
    let mut spec = plain_job(&["at!: timestamp_us", "id: string", "f: float64", "i: int64"]);
    spec.windows = vec![
        window(
            "plain",
            60 * SECOND,
            60 * SECOND,
            &["id"],
            &["n = count(*)"],
        ),
        window(
            "rich",
            60 * SECOND,
            10 * SECOND,
            &["id"],
            &["s = sum(f)", "a = avg(i)", "low = min(f)"],
        ),
    ];
    let plan = plan(&spec);
    let mut preparer = preparer(&plan);
    let mut lane = Lane::new(0, &plan, None);
    let empty = ALLOCATED.load(Ordering::Relaxed);
    let mut sizes = Vec::new();
    for chunk in 0..20_usize {
        let records: Vec<String> = (0..CHUNK)
            .map(|i| {
                let id = chunk * CHUNK + i;
                format!(r#"{{"at":{NOW},"id":"customer-{id:09}","f":1.5,"i":{i}}}"#)
            })
            .collect();
        let chunk = chunk_at((chunk * CHUNK) as i64, &records);
        drop(records);
        let prepared = preparer.prepare(&chunk, NOW, &[]).expect("prepared");
        lane.absorb(&prepared);
        drop((prepared, chunk));
        sizes.push(lane.window_sizes().collect::<Vec<_>>());
    }
    let taken = ALLOCATED.load(Ordering::Relaxed) - empty;
    let said: usize = sizes[19].iter().map(|(_, bytes)| bytes).sum();
    let off = said.abs_diff(taken) * 100 / taken;
    assert!(off < 10, "said {said}, taken {taken}");
    for (window, (groups, bytes)) in sizes[19].iter().enumerate() {
        assert_eq!(*groups, 20 * CHUNK);
        let each = bytes / groups;
        assert!(
            (60..600).contains(&each),
            "window {window}: {each} bytes a group"
        );
    }
    for (less, more) in sizes.iter().zip(&sizes[1..]) {
        assert!(less.iter().zip(more).all(|(less, more)| less <= more));
    }
    // What is closed is given back.
    let end = lane.last_end().expect("open windows");
    lane.follow(end);
    let mut closed: Vec<ClosedWindows> = plan.windows().map(|_| Default::default()).collect();
    lane.close_windows(&mut closed);
    assert!(lane.window_sizes().all(|size| size == (0, 0)));
}
