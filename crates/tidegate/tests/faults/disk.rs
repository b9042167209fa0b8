//! A disk that is full: a small file system that the test mounts, which only root may.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::check;
use crate::job::{bounded, check_loaded, check_whole, endless, records};
use crate::running::Running;

/// A file system in memory, unmounted when this is dropped.
struct Disk {
    folder: TempDir,
}

impl Disk {
    /// A disk of so many MiB; none, and the test counts itself as skipped, where it cannot be
    /// mounted.
    fn new(mib: u32) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"])
            .arg(folder.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Disk { folder }),
            _ => {
                tidegate_testkit::skip_for_root("a small disk cannot be mounted");
                None
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file until there is no room.
    fn fill(&self) -> PathBuf {
        let path = self.path("filler");
        let mut file = File::create(&path).unwrap();
        for block in [64 << 10, 512] {
            while file.write_all(&vec![1; block]).is_ok() {}
        }
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg("-l")
            .arg(self.folder.path())
            .status();
    }
}

fn link(from: &Path, to: &Path) {
    std::os::unix::fs::symlink(to, from).unwrap();
}

#[test]
fn committing_stops_while_the_disk_is_full_and_goes_on_when_there_is_room() {
    let Some(disk) = Disk::new(64) else { return };
    let job = endless();
    fs::create_dir(disk.path("data")).unwrap();
    link(&job.path("data"), &disk.path("data"));
    let mut process = Running::start(job.command(&["run"]));
    process.wait_until("commits", |_| records(&job) >= 5);
    let mut told = 0;
    for _ in 0..2 {
        let filler = disk.fill();
        told += 1;
        process.wait_until("word of the full disk", |text| {
            text.matches("make room on the disk").count() == told
        });
        let stopped = records(&job);
        process.stays("still", || records(&job) == stopped);
        fs::remove_file(filler).unwrap();
        process.wait_until("commits", |_| records(&job) >= stopped + 5);
    }
    let text = process.end_well();
    assert_eq!(
        text.matches("committing works again").count(),
        told,
        "{text}"
    );
    check_whole(&job);
}

#[test]
fn a_job_that_is_to_end_while_the_disk_is_full_says_so_and_loses_nothing() {
    let Some(disk) = Disk::new(64) else { return };
    let job = endless();
    fs::create_dir(disk.path("data")).unwrap();
    link(&job.path("data"), &disk.path("data"));
    let mut process = Running::start(job.command(&["run"]));
    process.wait_until("commits", |_| records(&job) >= 5);
    let filler = disk.fill();
    process.wait_until("word of the full disk", |text| {
        text.contains("make room on the disk")
    });
    process.terminate();
    let (status, text) = process.end();
    assert_eq!(status.code(), Some(75), "{text}");
    assert!(text.contains("it goes on from the last commit"), "{text}");
    // It does not even start: the log cannot be brought on.
    fs::remove_file(filler).unwrap();
    check_whole(&job);
    let before = records(&job);
    let mut process = Running::start(job.command(&["run"]));
    process.wait_until("commits", |_| records(&job) >= before + 3);
    process.end_well();
    check_whole(&job);
}

#[test]
fn a_bounded_source_waits_for_room_too() {
    let Some(disk) = Disk::new(16) else { return };
    let job = bounded();
    link(&job.path("data"), disk.folder.path());
    let filler = disk.fill();
    let room = File::options().write(true).open(&filler).unwrap();
    // Room for the first records only.
    let full = room.metadata().unwrap().len();
    room.set_len(full - (256 << 10)).unwrap();
    drop(room); // Open, it would keep its room when it is removed.
    let mut process = Running::start(job.command(&["run", "--until-caught-up"]));
    process.wait_until("word of the full disk", |text| {
        text.contains("make room on the disk")
    });
    let stopped = records(&job);
    process.stays("still", || records(&job) == stopped);
    fs::remove_file(filler).unwrap();
    let (status, text) = process.end();
    assert!(status.success(), "{text}");
    assert_eq!(check_whole(&job), 40_000);
}

#[test]
fn a_job_is_not_founded_on_a_full_disk() {
    let Some(disk) = Disk::new(1) else { return };
    let job = bounded();
    link(&job.path("data"), disk.folder.path());
    let filler = disk.fill();
    check(
        &job.output(&["run", "--until-caught-up"]),
        75,
        &["make room"],
    );
    fs::remove_file(filler).unwrap();
    assert_eq!(records(&job), 0);
}

#[test]
fn loading_waits_while_the_warehouse_has_no_room() {
    let Some(disk) = Disk::new(64) else { return };
    let job = endless().set("warehouse.url", "duckdb:disk/warehouse.duckdb");
    link(&job.path("disk"), disk.folder.path());
    let mut process = Running::start(job.command(&["run"]));
    process.wait_until("commits", |_| records(&job) >= 20);
    let filler = disk.fill();
    process.wait_until("word of the load", |text| {
        text.contains("loading is tried again")
    });
    // The files go on meanwhile.
    let before = records(&job);
    process.wait_until("commits", |_| records(&job) >= before + 5);
    fs::remove_file(filler).unwrap();
    process.wait_until("loads", |text| text.contains("loading works again"));
    process.end_well();
    check_whole(&job);
    link(
        &job.path("warehouse.duckdb"),
        &disk.path("warehouse.duckdb"),
    );
    check_loaded(&job);
}
