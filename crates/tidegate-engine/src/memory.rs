//! How much memory the embedded warehouse may take where the configuration does not say it.

use std::path::{Path, PathBuf};

/// The least that the warehouse gets, in bytes: with less, small loads would go through the disk.
const LEAST: u64 = 256 << 20;

/// Half of the memory that this process may have, less what is in flight between source and
/// commit: the other half is for the pipeline's state, the other tiers, and what DuckDB does not
/// count. In bytes; none where the system does not say how much there is.
pub(crate) fn for_warehouse(in_flight: usize) -> Option<usize> {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    Some(share(available(&read)?, in_flight))
}

fn share(available: u64, in_flight: usize) -> usize {
    let in_flight = u64::try_from(in_flight).unwrap_or(u64::MAX);
    let share = (available / 2).saturating_sub(in_flight).max(LEAST);
    usize::try_from(share).unwrap_or(usize::MAX)
}

/// Bytes of memory that this process may have: the machine's, or less where its control group, or
/// one around it, has a limit. `read` gives the text of a file, if it is there.
fn available(read: &dyn Fn(&Path) -> Option<String>) -> Option<u64> {
    let machine = of_machine(&read(Path::new("/proc/meminfo"))?)?;
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let limits = groups
        .lines()
        .flat_map(limit_files)
        .filter_map(|file| read(&file)?.trim().parse().ok());
    Some(limits.fold(machine, u64::min))
}

/// `MemTotal:       16384 kB`.
fn of_machine(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1 << 10)
}

/// Where the limits stand of a group and of those around it, by a line of `/proc/self/cgroup`:
/// `0::/a/b` is version 2, `5:memory:/a/b` is version 1.
fn limit_files(line: &str) -> Vec<PathBuf> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else {
        return Vec::new();
    };
    let (root, file) = if controllers.is_empty() {
        ("/sys/fs/cgroup", "memory.max")
    } else if controllers.split(',').any(|name| name == "memory") {
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
    } else {
        return Vec::new();
    };
    let group = Path::new(group.trim_start_matches('/'));
    let around = group.ancestors();
    around
        .map(|group| Path::new(root).join(group).join(file))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal:       16777216 kB\nMemFree:         1048576 kB\n";
    const GIB: u64 = 1 << 30;

    fn found(files: &[(&str, &str)]) -> Option<u64> {
        available(&|path: &Path| {
            let file = files.iter().find(|(name, _)| Path::new(name) == path);
            file.map(|(_, text)| (*text).to_owned())
        })
    }

    #[test]
    fn the_memory_is_that_of_the_machine_or_the_least_limit_of_the_groups() {
        let meminfo = ("/proc/meminfo", MEMINFO);
        let v2 = ("/proc/self/cgroup", "0::/pods/one\n");
        for (files, wanted) in [
            (&[][..], None),
            (&[meminfo], Some(16 * GIB)),
            (&[meminfo, v2], Some(16 * GIB)),
            (
                &[
                    meminfo,
                    v2,
                    ("/sys/fs/cgroup/pods/one/memory.max", "max\n"),
                    ("/sys/fs/cgroup/pods/memory.max", "4294967296\n"),
                ],
                Some(4 * GIB),
            ),
            (
                &[
                    meminfo,
                    ("/proc/self/cgroup", "0::/\n"),
                    ("/sys/fs/cgroup/memory.max", "2147483648\n"),
                ],
                Some(2 * GIB),
            ),
            (
                &[
                    meminfo,
                    (
                        "/proc/self/cgroup",
                        "7:cpu,cpuacct:/x\n5:memory:/docker/x\n",
                    ),
                    (
                        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                        "1073741824\n",
                    ),
                    (
                        "/sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes",
                        "9223372036854771712\n",
                    ),
                ],
                Some(GIB),
            ),
        ] {
            assert_eq!(found(files), wanted, "{files:?}");
        }
    }

    #[test]
    fn the_warehouse_gets_half_less_what_is_in_flight_and_never_too_little() {
        assert_eq!(share(16 * GIB, 256 << 20), (8 << 30) - (256 << 20));
        assert_eq!(share(2 * GIB, 256 << 20), 768 << 20);
        assert_eq!(share(GIB / 2, 256 << 20), 256 << 20);
        assert_eq!(share(GIB, usize::MAX), 256 << 20);
    }

    #[test]
    fn this_machine_says_how_much_memory_it_has() {
        assert!(for_warehouse(0).is_some_and(|bytes| bytes >= 256 << 20));
    }
}
