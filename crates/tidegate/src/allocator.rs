//! Memory of the program: mimalloc, told to keep what was freed for a while.

use std::ffi::c_long;

use libmimalloc_sys::{mi_option_set_default, mi_option_t};

/// Many threads allocate and free batches; this allocator gives freed memory back and scales.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc 2 and 3: after so many milliseconds freed memory is given
/// back to the system.
const PURGE_DELAY: mi_option_t = 15;
/// A batch needs what the one before has freed. With mimalloc's own second, or less, a pipeline at
/// full speed spends a tenth of its time on memory that it gives back and takes again.
const KEPT_MILLIS: c_long = 10_000;

/// Has freed memory kept for ten seconds, unless the environment says otherwise
/// (`MIMALLOC_PURGE_DELAY`).
pub(crate) fn keep_freed_memory() {
    #[expect(unsafe_code, reason = "mimalloc's options have no safe interface")]
    // SAFETY: the function asks that no other thread sets options, and there is none yet. An option
    // that is not known is ignored.
    unsafe {
        mi_option_set_default(PURGE_DELAY, KEPT_MILLIS);
    }
}
