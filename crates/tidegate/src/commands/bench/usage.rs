//! CPU time of this process by stage, and of the whole machine, as Linux counts it (proc(5)).

use std::collections::BTreeMap;
use std::fs;

use super::verdict::Stage;

/// Ticks in a second of the times in `/proc`: fixed in Linux's interface.
const TICKS: f64 = 100.0;

/// Seconds of CPU time used up to some moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Usage {
    /// By this process, those threads included that have ended.
    pub(super) all: f64,
    /// By its threads, for each stage.
    pub(super) by_stage: BTreeMap<Stage, f64>,
    /// By everything on the machine.
    pub(super) machine: f64,
}

impl Usage {
    /// As of now. What cannot be read counts as nothing.
    pub(super) fn now() -> Self {
        let mut by_stage = BTreeMap::new();
        let mut threads = 0.0;
        for task in fs::read_dir("/proc/self/task")
            .into_iter()
            .flatten()
            .flatten()
        {
            let read = |file: &str| fs::read_to_string(task.path().join(file)).unwrap_or_default();
            let seconds = nanoseconds(&read("schedstat")) / 1e9;
            threads += seconds;
            *by_stage
                .entry(Stage::of_thread(read("comm").trim()))
                .or_insert(0.0) += seconds;
        }
        let all = ticks(&fs::read_to_string("/proc/self/stat").unwrap_or_default()) / TICKS;
        // Threads that have ended: those that help to encode live for one batch.
        *by_stage.entry(Stage::Parquet).or_insert(0.0) += (all - threads).max(0.0);
        Usage {
            all,
            by_stage,
            machine: busy(&fs::read_to_string("/proc/stat").unwrap_or_default()) / TICKS,
        }
    }

    /// What was used since `before`.
    pub(super) fn since(&self, before: &Usage) -> Usage {
        let by_stage = self.by_stage.iter().map(|(stage, seconds)| {
            let earlier = before.by_stage.get(stage).copied().unwrap_or(0.0);
            (*stage, (seconds - earlier).max(0.0))
        });
        Usage {
            all: (self.all - before.all).max(0.0),
            by_stage: by_stage.collect(),
            machine: (self.machine - before.machine).max(0.0),
        }
    }
}

/// Most memory that this process has had, in bytes; 0 where it is not known.
pub(super) fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

/// The time that a thread ran: the first number of its `schedstat`.
fn nanoseconds(schedstat: &str) -> f64 {
    schedstat
        .split(' ')
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or(0.0)
}

/// `utime` and `stime` of `/proc/PID/stat`: fields 14 and 15, counted after the name in brackets.
fn ticks(stat: &str) -> f64 {
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let numbers = fields.split_whitespace().skip(11).take(2);
    numbers.filter_map(|n| n.parse::<f64>().ok()).sum()
}

/// All of the line `cpu` of `/proc/stat` but idle and iowait; time of guests is in that of users.
fn busy(stat: &str) -> f64 {
    let line = stat.lines().next().unwrap_or_default();
    let numbers = line.split_whitespace().skip(1).take(8).enumerate();
    let busy = numbers.filter(|(index, _)| !matches!(index, 3 | 4));
    busy.filter_map(|(_, n)| n.parse::<f64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_linux_are_read() {
        assert_eq!(nanoseconds("1500000000 27 3\n"), 1.5e9);
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 9 0 0 0 250 50 0 0 20 0 1 0 5 6 7";
        assert_eq!(ticks(stat), 300.0);
        assert_eq!(busy("cpu  10 1 5 1000 50 2 3 4 0 0\ncpu0 1\n"), 25.0);
        assert_eq!((nanoseconds(""), ticks(""), busy("")), (0.0, 0.0, 0.0));
    }
}
