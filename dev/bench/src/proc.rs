//! What Linux says of processes and of the machine, in `/proc`.

use std::fs;

/// Clock ticks in a second, in which Linux counts CPU time; the same on every architecture it runs
/// on.
const TICKS: f64 = 100.0;

/// CPU seconds that a process has used; see proc(5), `/proc/[pid]/stat`, fields 14 and 15.
pub(crate) fn cpu(pid: u32) -> Option<f64> {
    cpu_of(&format!("/proc/{pid}/stat"))
}

/// CPU seconds that those threads of a process have used whose name begins so.
pub(crate) fn cpu_of_threads(pid: u32, name: &str) -> f64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let named = threads.filter(|thread| {
        fs::read_to_string(thread.path().join("comm")).is_ok_and(|comm| comm.starts_with(name))
    });
    named
        .filter_map(|thread| cpu_of(&thread.path().join("stat").to_string_lossy()))
        .sum()
}

fn cpu_of(stat: &str) -> Option<f64> {
    let stat = fs::read_to_string(stat).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS)
}

/// The processes of a group.
pub(crate) fn group(id: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // Behind the name: state, parent, group.
        let of = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(2)?.parse().ok());
        if of == Some(id) {
            found.push(pid);
        }
    }
    found
}

/// The most memory that a process has had, in bytes.
pub(crate) fn peak(pid: u32) -> Option<u64> {
    memory(pid, "VmHWM:")
}

/// The memory that a process has now, in bytes.
pub(crate) fn resident(pid: u32) -> Option<u64> {
    memory(pid, "VmRSS:")
}

fn memory(pid: u32, what: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(what))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? << 10)
}

/// The cores that this process may use, as the system numbers them.
pub(crate) fn cores() -> Vec<usize> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .unwrap_or("0");
    let mut cores = Vec::new();
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        if let (Ok(first), Ok(last)) = (first.parse(), last.parse::<usize>()) {
            cores.extend(first..=last);
        }
    }
    cores
}

/// What the figures were measured on.
pub(crate) fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|l| l.strip_prefix("model name"))
        .map_or("?", |l| l.trim_start_matches([':', '\t', ' ']));
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!("{model}, {cores} cores")
}
