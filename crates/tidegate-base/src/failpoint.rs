//! Places where a crash test ends the process.
//!
//! With the feature `failpoints`, the environment variable `FAILPOINTS` says where and when:
//! `FAILPOINTS="log.put.before=3*off->return"` kills the process at the fourth arrival. Without the
//! feature, all of this compiles to nothing.

/// Ends the process, as SIGKILL does, if the failpoint `name` is set to `return`.
///
/// Other actions of the `fail` crate (`sleep`, `print`, `panic`...) do what they say there.
#[cfg(feature = "failpoints")]
pub fn failpoint(name: &str) {
    fail::fail_point!(name, |_| die());
}

/// Does nothing: the feature `failpoints` is off.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn failpoint(_name: &str) {}

/// Keeps the failpoints set until it is dropped.
#[must_use = "the failpoints are taken away when this is dropped"]
pub struct Failpoints {
    #[cfg(feature = "failpoints")]
    _scenario: fail::FailScenario<'static>,
}

/// Sets the failpoints that the environment variable `FAILPOINTS` names; call it once, in `main`.
///
/// # Panics
/// With the feature `failpoints`, if the variable is not well-formed.
pub fn setup() -> Failpoints {
    Failpoints {
        #[cfg(feature = "failpoints")]
        _scenario: fail::FailScenario::setup(),
    }
}

/// Ends this process at once: no destructor, no buffer flushed, no handler run.
#[cfg(feature = "failpoints")]
fn die() {
    #[expect(
        unsafe_code,
        reason = "std cannot send a signal; abort() would run handlers and dump core"
    )]
    // SAFETY: getpid and kill touch no memory of ours; SIGKILL to oneself cannot be handled.
    unsafe {
        libc::kill(libc::getpid(), libc::SIGKILL);
    }
    // The signal is delivered before kill returns to this thread, or very soon after.
    loop {
        std::thread::park();
    }
}
