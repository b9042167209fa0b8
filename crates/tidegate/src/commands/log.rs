//! `tidegate log`: the commit log for people. These commands only read, except `gc --delete`.

mod gc;
mod inspect;
mod verify;

use std::fmt::Write as _;

pub(super) use self::gc::gc;
pub(super) use self::inspect::inspect;
pub(super) use self::verify::verify;

/// Partitions and problems that are listed for people; JSON has them all.
const LISTED_MAX: usize = 20;

/// Says that there is more than is listed.
fn more(out: &mut String, count: usize) {
    if count > LISTED_MAX {
        let _ = writeln!(
            out,
            "  ... and {} more (--format json has them all)",
            count - LISTED_MAX
        );
    }
}
