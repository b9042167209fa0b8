//! What holds a job up, from what was measured: facts in, a sentence out.

use std::fmt;

use super::usage::Usage;

/// Where a thread's work belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    /// Reading the source; making up events, if it is the generator.
    Source,
    /// Kafka's client library.
    KafkaClient,
    /// Decode, rules, enrichment.
    Prepare,
    /// Deduplication, watermark, windows.
    State,
    /// Encoding Parquet.
    Parquet,
    /// Putting files and records of the log.
    Commit,
    /// The warehouse.
    Load,
    /// Everything else.
    Other,
}

impl Stage {
    /// The stage of a thread with this name.
    pub(super) fn of_thread(name: &str) -> Self {
        match name {
            "tg-source" => Stage::Source,
            "tg-worker" => Stage::Prepare,
            "tg-state" => Stage::State,
            "tg-encoder" | "tg-encode" => Stage::Parquet,
            "tg-committer" | "tidegate-io" => Stage::Commit,
            "tg-loader" => Stage::Load,
            name if name.starts_with("rdk:") => Stage::KafkaClient,
            _ => Stage::Other,
        }
    }

    /// Whether one thread does all of it, so that more cores do not help.
    fn is_one_thread(self) -> bool {
        matches!(self, Stage::Source | Stage::KafkaClient | Stage::State)
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Source => "reading the source",
            Stage::KafkaClient => "Kafka's client",
            Stage::Prepare => "decode, rules, enrichment",
            Stage::State => "deduplication and windows",
            Stage::Parquet => "Parquet",
            Stage::Commit => "files and commits",
            Stage::Load => "loading the warehouse",
            Stage::Other => "everything else",
        })
    }
}

/// What was measured, as far as it decides.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    /// Seconds that were measured.
    pub(super) seconds: f64,
    /// Cores that this process may use.
    pub(super) cores: f64,
    /// CPU time that was used.
    pub(super) usage: Usage,
    /// Share of the time in which files were put and committed.
    pub(super) committing: f64,
    /// Share of the time in which the warehouse was loaded.
    pub(super) loading: f64,
    /// Whether commits came faster than they were loaded.
    pub(super) loads_fall_behind: bool,
}

/// Something with no room left is used for so much of the time.
const FULL: f64 = 0.85;

/// What holds the job up, and what helps.
pub(super) fn bottleneck(facts: &Facts) -> String {
    let share = |seconds: f64| seconds / facts.seconds.max(1e-9);
    let stages = &facts.usage.by_stage;
    let thread = stages
        .iter()
        .find(|(stage, seconds)| stage.is_one_thread() && share(**seconds) >= FULL);
    if let Some((stage, seconds)) = thread {
        return format!(
            "The bottleneck is one thread: {stage} takes {:.0} % of a core. More cores do not help; more processes do.",
            100.0 * share(*seconds)
        );
    }
    if share(facts.usage.machine) >= FULL * facts.cores {
        let others = share(facts.usage.machine - facts.usage.all) / facts.cores;
        if others >= 0.25 {
            return format!(
                "The bottleneck is the CPU, of which other programs take {:.0} %: measure again without them, or on more cores.",
                100.0 * others
            );
        }
        let most = stages.iter().max_by(|a, b| a.1.total_cmp(b.1));
        let most = most.map_or_else(String::new, |(stage, seconds)| {
            format!(
                " Most of it, {:.0} %, is {stage}.",
                100.0 * seconds / facts.usage.all.max(1e-9)
            )
        });
        return format!("The bottleneck is the CPU: more cores, or more processes, help.{most}");
    }
    if facts.committing >= FULL {
        return "The bottleneck is storage: files are being put all of the time. A longer batch.interval makes fewer and larger ones."
            .to_owned();
    }
    if facts.loads_fall_behind && facts.loading >= FULL {
        return "The bottleneck is the warehouse: it is being loaded all of the time, and commits come faster. \
                A longer load.interval makes fewer and larger loads."
            .to_owned();
    }
    "The bottleneck is the source: everything after it has room left.".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(by_stage: &[(Stage, f64)]) -> Facts {
        let all = by_stage.iter().map(|(_, seconds)| seconds).sum();
        Facts {
            seconds: 10.0,
            cores: 2.0,
            usage: Usage {
                all,
                by_stage: by_stage.iter().copied().collect(),
                machine: all,
            },
            committing: 0.1,
            loading: 0.2,
            loads_fall_behind: false,
        }
    }

    fn check(facts: &Facts, expect: &str) {
        let found = bottleneck(facts);
        assert!(found.contains(expect), "{found}");
    }

    #[test]
    fn a_thread_that_is_full_is_named_before_the_cpu() {
        check(
            &facts(&[(Stage::KafkaClient, 9.5), (Stage::Prepare, 9.0)]),
            "Kafka's client takes 95 % of a core",
        );
        // Any number of threads share this one.
        check(
            &facts(&[(Stage::Prepare, 9.5), (Stage::Parquet, 1.0)]),
            "the source",
        );
    }

    #[test]
    fn a_full_cpu_names_what_takes_most_of_it() {
        let mut facts = facts(&[(Stage::Prepare, 8.0), (Stage::Parquet, 12.0)]);
        check(
            &facts,
            "is the CPU: more cores, or more processes, help. Most of it, 60 %, is Parquet.",
        );
        facts.usage.by_stage.insert(Stage::Parquet, 1.0);
        facts.usage.all = 9.0;
        check(&facts, "other programs take 55 %");
    }

    #[test]
    fn waiting_for_storage_or_the_warehouse_is_told_from_waiting_for_the_source() {
        let mut facts = facts(&[(Stage::Prepare, 2.0)]);
        check(&facts, "the source");
        facts.loading = 0.95;
        check(&facts, "the source");
        facts.loads_fall_behind = true;
        check(&facts, "the warehouse");
        facts.committing = 0.9;
        check(&facts, "storage");
    }
}
