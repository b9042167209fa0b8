//! Work on many things at once, whose results one thread takes.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Results that may wait for each thread.
const WAITING: usize = 2;

/// Does `work` on each of `items`, on up to `threads` threads, and hands what they give away to
/// `take` on this one, in no particular order. The first error ends it, whoever has it.
///
/// This is the one place where threads of a scope share a channel. Both of its ends are inside of
/// the scope: when `take` fails or panics, the receiver is gone before the scope waits for the
/// threads, so that none of them stays blocked. `work` ends when what it gives away is not taken
/// any more.
///
/// # Errors
/// The first one of `work` or `take`.
#[expect(
    clippy::disallowed_methods,
    reason = "the receiver is dropped before the scope waits"
)]
pub(crate) fn fan_out<I: Sync, T: Send, E: Send>(
    threads: NonZeroUsize,
    items: &[I],
    work: impl Fn(&I, &mut dyn FnMut(T) -> bool) -> Result<(), E> + Sync,
    mut take: impl FnMut(T) -> Result<(), E>,
) -> Result<(), E> {
    let threads = threads.get().min(items.len());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (sender, results) = crossbeam_channel::bounded(WAITING * threads.max(1));
        for _ in 0..threads {
            let (sender, work, next) = (sender.clone(), &work, &next);
            scope.spawn(move || {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut give = |result| sender.send(Ok(result)).is_ok();
                    if let Err(error) = work(item, &mut give) {
                        // If nobody takes it, another error was first.
                        let _ = sender.send(Err(error));
                        return;
                    }
                }
            });
        }
        drop(sender);
        for result in results {
            take(result?)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    const THREADS: NonZeroUsize = NonZeroUsize::new(4).unwrap();
    /// Results of each item: more than all that can wait, so that who is not heard blocks.
    const RESULTS: usize = 100;

    /// Runs it on a thread of its own, and fails if it does not end.
    fn within_a_minute<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, is_done) = mpsc::channel();
        std::thread::spawn(move || done.send(run()));
        let waited = is_done.recv_timeout(Duration::from_secs(60));
        waited.expect("it hangs: somebody waits for a send that nobody takes")
    }

    fn give(item: usize, out: &mut dyn FnMut(usize) -> bool) {
        for result in 0..RESULTS {
            if !out(item * RESULTS + result) {
                return;
            }
        }
    }

    #[test]
    fn all_results_are_taken() {
        let items: Vec<usize> = (0..50).collect();
        let mut taken = Vec::new();
        let work = |item: &usize, out: &mut dyn FnMut(usize) -> bool| {
            give(*item, out);
            Ok::<(), String>(())
        };
        fan_out(THREADS, &items, work, |result| {
            taken.push(result);
            Ok(())
        })
        .expect("no error");
        taken.sort_unstable();
        assert_eq!(taken, (0..50 * RESULTS).collect::<Vec<_>>());
        fan_out(THREADS, &[], work, |_| Err("nothing comes".to_owned())).expect("no error");
    }

    #[test]
    fn an_error_at_any_item_ends_it() {
        for bad in 0..20 {
            let outcome = within_a_minute(move || {
                let items: Vec<usize> = (0..20).collect();
                let work = |item: &usize, out: &mut dyn FnMut(usize) -> bool| {
                    if *item == bad {
                        return Err(format!("{item} is bad"));
                    }
                    give(*item, out);
                    Ok(())
                };
                fan_out(THREADS, &items, work, |_| Ok(()))
            });
            assert_eq!(outcome, Err(format!("{bad} is bad")));
        }
    }

    #[test]
    fn who_stops_taking_leaves_nobody_blocked() {
        for at in [0, 1, 7, 150] {
            let outcome = within_a_minute(move || {
                let items: Vec<usize> = (0..20).collect();
                let mut taken = 0;
                let work = |item: &usize, out: &mut dyn FnMut(usize) -> bool| {
                    give(*item, out);
                    Ok(())
                };
                fan_out(THREADS, &items, work, |_| {
                    taken += 1;
                    if taken > at { Err("enough") } else { Ok(()) }
                })
            });
            assert_eq!(outcome, Err("enough"));
        }
    }

    #[test]
    fn a_panic_leaves_nobody_blocked() {
        let panicked = within_a_minute(|| {
            let items: Vec<usize> = (0..20).collect();
            let work = |item: &usize, out: &mut dyn FnMut(usize) -> bool| {
                give(*item, out);
                Ok::<(), String>(())
            };
            let run = || fan_out(THREADS, &items, work, |_| panic!("as the test wants it"));
            catch_unwind(AssertUnwindSafe(run)).is_err()
        });
        assert!(panicked);
    }
}
