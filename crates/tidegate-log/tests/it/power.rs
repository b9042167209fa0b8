//! The power fails, and what was not synced is lost. Afterwards the log and the data files that it
//! names are whole, and no commit is missing that was said to be done.
//!
//! A run notes each step that it does to the disk. Then, for any instant of it, a disk is made as a
//! failure may have left it: a file that was not synced has lost its content or a part of it, and
//! of the names that were given or taken in a folder since that was synced, any may be lost, in any
//! order.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tempfile::TempDir;
use tidegate_log::{CommitLog, OpenOptions, verify};
use tidegate_storage::Storage;
use tidegate_storage::disk::{Disk, System};
use tidegate_testkit::Random;

use crate::support::{commits, draft, open, options};

/// Commits of a run.
const COMMITS: u64 = 7;

/// Something that was done, with paths below the root.
#[derive(Debug, Clone)]
enum Step {
    /// A file was written, with this content.
    Write(PathBuf, Vec<u8>),
    SyncFile(PathBuf),
    MakeFolder(PathBuf),
    SyncFolder(PathBuf),
    Link(PathBuf, PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    /// A commit was said to be done.
    Done(u64),
}

/// The machine's disk, that notes what is done to it.
#[derive(Debug)]
struct Noting {
    root: PathBuf,
    steps: Mutex<Vec<Step>>,
    /// Syncs that are forgotten, to see that this would be noticed.
    forgets: fn(&Step) -> bool,
}

impl Noting {
    fn new(root: &Path, forgets: fn(&Step) -> bool) -> Arc<Self> {
        Arc::new(Noting {
            root: root.canonicalize().unwrap(),
            steps: Mutex::default(),
            forgets,
        })
    }

    fn note(&self, step: Step) {
        if !(self.forgets)(&step) {
            self.steps.lock().unwrap().push(step);
        }
    }

    fn below(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root).unwrap().to_owned()
    }
}

impl Disk for Noting {
    fn make_folder(&self, path: &Path) -> io::Result<()> {
        System.make_folder(path)?;
        if let Ok(below) = path.strip_prefix(&self.root) {
            let above: Vec<&Path> = below.ancestors().collect();
            for folder in above.into_iter().rev().filter(|f| *f != Path::new("")) {
                self.note(Step::MakeFolder(folder.to_owned()));
            }
        }
        Ok(())
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.note(Step::SyncFolder(self.below(path)));
        Ok(())
    }

    fn write_new(&self, path: &Path, content: &mut dyn Iterator<Item = &Bytes>) -> io::Result<()> {
        let bytes: Vec<Bytes> = content.cloned().collect();
        System.write_new(path, &mut bytes.iter())?;
        self.note(Step::Write(self.below(path), bytes.concat()));
        Ok(())
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.note(Step::SyncFile(self.below(path)));
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        System.link(from, to)?;
        self.note(Step::Link(self.below(from), self.below(to)));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        System.rename(from, to)?;
        self.note(Step::Rename(self.below(from), self.below(to)));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        System.remove(path)?;
        self.note(Step::Remove(self.below(path)));
        Ok(())
    }
}

/// A change of one folder: a name gets a file or a folder, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    File(usize),
    Folder,
    None,
}

/// What a file is, and whether its content is on stable storage.
#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    is_synced: bool,
}

/// What a power failure after some steps leaves.
struct Left {
    files: Vec<Content>,
    names: BTreeMap<PathBuf, Entry>,
    /// The last commit that was said to be done.
    done: u64,
}

/// Names as they were when they were last synced, and what was done to them since.
#[derive(Default)]
struct Names {
    synced: BTreeMap<PathBuf, Entry>,
    /// Changes that may be lost; each is one of the names or, for a rename, two, which go together.
    pending: Vec<Vec<(PathBuf, Entry)>>,
    now: HashMap<PathBuf, Entry>,
}

impl Names {
    fn change(&mut self, changes: Vec<(PathBuf, Entry)>) {
        self.now.extend(changes.iter().cloned());
        self.pending.push(changes);
    }

    fn sync(&mut self, folder: &Path) {
        let (synced, pending) =
            std::mem::take(&mut self.pending)
                .into_iter()
                .partition(|changes: &Vec<_>| {
                    changes
                        .iter()
                        .any(|(path, _)| path.parent() == Some(folder))
                });
        self.pending = pending;
        let synced: Vec<Vec<_>> = synced;
        self.synced.extend(synced.into_iter().flatten());
    }

    fn file(&self, path: &Path) -> usize {
        match self.now.get(path) {
            Some(Entry::File(file)) => *file,
            other => panic!("{path:?} is {other:?}"),
        }
    }
}

fn after(steps: &[Step], random: &mut Random) -> Left {
    let mut names = Names::default();
    let mut files: Vec<Content> = Vec::new();
    let mut done = 0;
    for step in steps {
        match step {
            Step::Write(path, bytes) => {
                names.change(vec![(path.clone(), Entry::File(files.len()))]);
                files.push(Content {
                    bytes: bytes.clone(),
                    is_synced: false,
                });
            }
            Step::SyncFile(path) => files[names.file(path)].is_synced = true,
            Step::MakeFolder(path) => {
                if names.now.get(path) != Some(&Entry::Folder) {
                    names.change(vec![(path.clone(), Entry::Folder)]);
                }
            }
            Step::SyncFolder(path) => names.sync(path),
            Step::Link(from, to) => names.change(vec![(to.clone(), Entry::File(names.file(from)))]),
            Step::Rename(from, to) => names.change(vec![
                (from.clone(), Entry::None),
                (to.clone(), Entry::File(names.file(from))),
            ]),
            Step::Remove(path) => names.change(vec![(path.clone(), Entry::None)]),
            Step::Done(seq) => done = *seq,
        }
    }
    let Names {
        mut synced,
        pending,
        ..
    } = names;
    // Sometimes nothing of it is lost, and sometimes all.
    let keeps = random.place(5);
    for changes in pending {
        if random.place(4) < keeps {
            synced.extend(changes);
        }
    }
    for file in files.iter_mut().filter(|file| !file.is_synced) {
        match random.below(4) {
            0 => file.bytes.clear(),
            1 => file.bytes.truncate(random.place(file.bytes.len() + 1)),
            2 => file.bytes.fill(0),
            _ => {}
        }
    }
    Left {
        files,
        names: synced,
        done,
    }
}

/// Makes the disk, in a folder of its own.
fn make(left: &Left) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut folders = HashSet::from([PathBuf::new()]);
    // A folder sorts before what is in it. What is in a folder whose name is lost is lost.
    for (path, entry) in &left.names {
        if !path.parent().is_some_and(|parent| folders.contains(parent)) {
            continue;
        }
        let place = folder.path().join(path);
        match entry {
            Entry::File(file) => fs::write(place, &left.files[*file].bytes).unwrap(),
            Entry::Folder => {
                fs::create_dir(place).unwrap();
                folders.insert(path.clone());
            }
            Entry::None => {}
        }
    }
    folder
}

/// A run: founds a job and commits, with a restart in the middle, files that are given up, and
/// snapshots.
async fn run(forgets: fn(&Step) -> bool) -> Vec<Step> {
    let folder = tempfile::tempdir().unwrap();
    let disk = Noting::new(folder.path(), forgets);
    let begin = |unique| {
        let disk: Arc<dyn Disk> = Arc::clone(&disk) as Arc<dyn Disk>;
        let storage = Storage::on_disk(disk, &folder.path().canonicalize().unwrap(), "noting:");
        let with_snapshots = OpenOptions {
            snapshot_every: 3,
            ..options(unique)
        };
        CommitLog::open(storage.unwrap(), with_snapshots)
    };
    let mut log = begin(1).await.unwrap();
    disk.note(Step::Done(1));
    for n in 0..COMMITS {
        if n == COMMITS / 2 {
            draft(&log, 3).await;
            log = begin(2).await.unwrap();
        }
        commits(&mut log, 1).await;
        disk.note(Step::Done(log.state().last_seq));
    }
    let steps = disk.steps.lock().unwrap();
    steps.clone()
}

/// Takes the power away at an instant; says what is wrong afterwards, if anything.
async fn fail(steps: &[Step], seed: u64) -> Result<(), String> {
    let mut random = Random::new(seed);
    let at = random.place(steps.len() + 1);
    let left = after(&steps[..at], &mut random);
    let folder = make(&left);
    let url = format!("file:{}", folder.path().display());
    let storage = Storage::open(&url.as_str().into()).unwrap();
    let report = verify(&storage, &mut |_| {}).await.unwrap();
    let last = report.progress.records_total;
    if !report.is_good() || last < left.done {
        return Err(format!(
            "seed {seed}, step {at}: {last} records, {} were done: {:?}",
            left.done, report.problems
        ));
    }
    if !seed.is_multiple_of(4) {
        return Ok(());
    }
    // And it goes on.
    let mut log = open(&storage, 9).await.map_err(|error| error.to_string())?;
    commits(&mut log, 2).await;
    let report = verify(&storage, &mut |_| {}).await.unwrap();
    match report.is_good() {
        true => Ok(()),
        false => Err(format!("seed {seed}, step {at}: {:?}", report.problems)),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_power_failure_the_log_is_whole_and_no_commit_that_was_done_is_missing() {
    let steps = run(|_| false).await;
    for seed in tidegate_testkit::seeds(0..400, 0..20_000) {
        if let Err(wrong) = fail(&steps, seed).await {
            panic!("{wrong}");
        }
    }
}

/// Each of the syncs is needed: without it, some failure does harm, and the test above would say
/// so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_that_is_forgotten_is_noticed() {
    let of_contents: fn(&Step) -> bool = |step| matches!(step, Step::SyncFile(_));
    let of_names: fn(&Step) -> bool = |step| matches!(step, Step::SyncFolder(_));
    let of_data: fn(&Step) -> bool =
        |step| matches!(step, Step::SyncFolder(path) if path.starts_with("data"));
    let of_log: fn(&Step) -> bool =
        |step| matches!(step, Step::SyncFolder(path) if path.starts_with("log"));
    let of_root: fn(&Step) -> bool =
        |step| matches!(step, Step::SyncFolder(path) if path == Path::new(""));
    for (what, forgets) in [
        ("of contents", of_contents),
        ("of names", of_names),
        ("of names in data", of_data),
        ("of names in log", of_log),
        ("of names in the root", of_root),
    ] {
        let steps = run(forgets).await;
        let mut seed = 0;
        while fail(&steps, seed).await.is_ok() {
            seed += 1;
            assert!(seed < 2_000, "no failure without syncs {what} did harm");
        }
    }
}
