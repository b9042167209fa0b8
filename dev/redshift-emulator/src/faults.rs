//! Faults on demand: a list of them, and faults by chance from a seed.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tidegate_random::Random;

const RULES_MAX: usize = 1000;

/// What can go wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum RedshiftFault {
    /// Error 1023 instead of a commit; what the transaction did is rolled back.
    SerializableViolation,
    /// A batch fails when `after` of its statements have run.
    AbortBatch {
        /// How many run before it.
        after: usize,
    },
    /// The call has its effect, and the connection is closed without an answer.
    LostAnswer,
    /// The call is refused with ThrottlingException.
    Throttle,
    /// The call is refused with ActiveStatementsExceededException.
    ActiveStatementsExceeded,
    /// The call is refused with InternalServerException.
    InternalError,
    /// The call is refused with BatchExecuteStatementException, which is the service's own fault.
    BatchExecuteStatementError,
    /// What the statement or batch did is rolled back, and it fails with this message.
    FailsWith {
        /// What Redshift says, after `ERROR: `.
        message: String,
    },
    /// The call has its effect, and is answered with InternalServerException.
    InternalErrorAfterEffect,
    /// The statement waits before it runs.
    Slow {
        /// For how long, in milliseconds.
        ms: u64,
    },
    /// The statement commits and is reported as FAILED.
    FailedThoughCommitted,
    /// The statement commits and is reported as ABORTED.
    AbortedThoughCommitted,
    /// The statement runs, and nobody knows its id afterwards.
    Forgotten,
}

impl RedshiftFault {
    /// Where it strikes.
    fn point(&self) -> FaultPoint {
        match self {
            Self::SerializableViolation | Self::FailsWith { .. } => FaultPoint::Commit,
            Self::AbortBatch { .. } => FaultPoint::Batch,
            Self::LostAnswer | Self::InternalErrorAfterEffect => FaultPoint::Answer,
            Self::Throttle
            | Self::ActiveStatementsExceeded
            | Self::InternalError
            | Self::BatchExecuteStatementError => FaultPoint::Call,
            Self::Slow { .. } => FaultPoint::Start,
            Self::FailedThoughCommitted | Self::AbortedThoughCommitted => FaultPoint::Report,
            Self::Forgotten => FaultPoint::Submit,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::SerializableViolation => "serializable_violation",
            Self::AbortBatch { .. } => "abort_batch",
            Self::LostAnswer => "lost_answer",
            Self::Throttle => "throttle",
            Self::ActiveStatementsExceeded => "active_statements_exceeded",
            Self::InternalError => "internal_error",
            Self::BatchExecuteStatementError => "batch_execute_statement_error",
            Self::FailsWith { .. } => "fails_with",
            Self::InternalErrorAfterEffect => "internal_error_after_effect",
            Self::Slow { .. } => "slow",
            Self::FailedThoughCommitted => "failed_though_committed",
            Self::AbortedThoughCommitted => "aborted_though_committed",
            Self::Forgotten => "forgotten",
        }
    }
}

/// The places where the emulator asks whether something is to go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaultPoint {
    /// Before a call has any effect.
    Call,
    /// After a call has had its effect.
    Answer,
    /// When a statement has been accepted.
    Submit,
    /// Before a statement runs.
    Start,
    /// Before a batch runs.
    Batch,
    /// Instead of a commit.
    Commit,
    /// When a committed statement is about to be reported as finished.
    Report,
}

/// A fault, and when it strikes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// What goes wrong.
    #[serde(flatten)]
    pub fault: RedshiftFault,
    /// Only at calls of this operation, as `ExecuteStatement`. At any where not given. Faults of
    /// statements look at the operation that brought the statement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// How many chances it lets pass: 0 strikes at the first.
    #[serde(default)]
    pub skip: u32,
    /// How often it strikes.
    #[serde(default = "one")]
    pub times: u32,
}

fn one() -> u32 {
    1
}

impl Rule {
    /// Strikes once, at the next chance.
    pub fn next(fault: RedshiftFault) -> Self {
        Self {
            fault,
            operation: None,
            skip: 0,
            times: 1,
        }
    }

    /// Strikes at calls of `operation` only.
    #[must_use]
    pub fn at(mut self, operation: &str) -> Self {
        self.operation = Some(operation.to_owned());
        self
    }

    /// Lets `skip` chances pass.
    #[must_use]
    pub fn after(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }

    /// Strikes `times` times.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }
}

/// Faults by chance: the same draws for the same seed. Each field is a probability from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RandomFaults {
    /// Where the draws begin.
    pub seed: u64,
    /// Of [`RedshiftFault::SerializableViolation`], at each commit.
    pub serializable_violation: f64,
    /// Of [`RedshiftFault::AbortBatch`] after up to seven statements, at each batch.
    pub abort_batch: f64,
    /// Of [`RedshiftFault::LostAnswer`], at each call.
    pub lost_answer: f64,
    /// Of [`RedshiftFault::Throttle`], at each call.
    pub throttle: f64,
    /// Of [`RedshiftFault::ActiveStatementsExceeded`], at each call that submits.
    pub active_statements_exceeded: f64,
    /// Of [`RedshiftFault::InternalError`], at each call.
    pub internal_error: f64,
    /// Of [`RedshiftFault::InternalErrorAfterEffect`], at each call.
    pub internal_error_after_effect: f64,
    /// Of [`RedshiftFault::Slow`] with up to `slow_ms_max`, at each statement.
    pub slow: f64,
    /// The longest delay.
    pub slow_ms_max: u64,
    /// Of [`RedshiftFault::FailedThoughCommitted`], at each statement.
    pub failed_though_committed: f64,
    /// Of [`RedshiftFault::AbortedThoughCommitted`], at each statement.
    pub aborted_though_committed: f64,
    /// Of [`RedshiftFault::Forgotten`], at each statement.
    pub forgotten: f64,
}

#[derive(Debug, Default)]
struct FaultState {
    rules: Vec<Rule>,
    random: Option<(RandomFaults, Random)>,
    struck: BTreeMap<&'static str, u64>,
}

/// The faults of one emulator.
#[derive(Debug, Default)]
pub struct Faults {
    state: Mutex<FaultState>,
}

impl Faults {
    pub(crate) fn new(random: Option<RandomFaults>) -> Self {
        let faults = Self::default();
        faults.set_random(random);
        faults
    }

    /// Adds a fault. Rules are asked in the order in which they came; past a thousand they are not
    /// taken, and `false` comes back.
    pub fn add(&self, rule: Rule) -> bool {
        let mut state = self.lock();
        if state.rules.len() >= RULES_MAX {
            return false;
        }
        state.rules.push(rule);
        true
    }

    /// Faults by chance from now on, with the draws of the seed from their beginning; `None` ends
    /// them.
    pub fn set_random(&self, random: Option<RandomFaults>) {
        self.lock().random = random.map(|random| (random, Random::new(random.seed)));
    }

    /// No faults any more. What has struck stays counted.
    pub fn clear(&self) {
        let mut state = self.lock();
        state.rules.clear();
        state.random = None;
    }

    /// The rules that have not struck yet.
    pub fn pending(&self) -> Vec<Rule> {
        self.lock().rules.clone()
    }

    /// How often each kind of fault has struck.
    pub fn struck(&self) -> BTreeMap<&'static str, u64> {
        self.lock().struck.clone()
    }

    /// What goes wrong at `point` of a call of `operation`.
    pub(crate) fn strike(&self, point: FaultPoint, operation: &str) -> Option<RedshiftFault> {
        let mut state = self.lock();
        let mut fault = None;
        for rule in &mut state.rules {
            let applies = rule.fault.point() == point
                && rule.operation.as_deref().is_none_or(|at| at == operation)
                && rule.times > 0;
            if !applies {
                continue;
            }
            if rule.skip > 0 {
                rule.skip -= 1;
                continue;
            }
            rule.times -= 1;
            fault = Some(rule.fault.clone());
            break;
        }
        state.rules.retain(|rule| rule.times > 0);
        if fault.is_none()
            && let Some((random, draws)) = &mut state.random
        {
            fault = by_chance(random, draws, point, operation);
        }
        if let Some(fault) = &fault {
            *state.struck.entry(fault.name()).or_default() += 1;
            tracing::info!(fault = fault.name(), operation, "a fault strikes");
        }
        fault
    }

    fn lock(&self) -> MutexGuard<'_, FaultState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn by_chance(
    random: &RandomFaults,
    draws: &mut Random,
    point: FaultPoint,
    operation: &str,
) -> Option<RedshiftFault> {
    let submits = matches!(operation, "ExecuteStatement" | "BatchExecuteStatement");
    match point {
        FaultPoint::Call if draws.hits(random.throttle) => Some(RedshiftFault::Throttle),
        FaultPoint::Call if draws.hits(random.internal_error) => Some(RedshiftFault::InternalError),
        FaultPoint::Call if submits && draws.hits(random.active_statements_exceeded) => {
            Some(RedshiftFault::ActiveStatementsExceeded)
        }
        FaultPoint::Answer if draws.hits(random.lost_answer) => Some(RedshiftFault::LostAnswer),
        FaultPoint::Answer if draws.hits(random.internal_error_after_effect) => {
            Some(RedshiftFault::InternalErrorAfterEffect)
        }
        FaultPoint::Submit if draws.hits(random.forgotten) => Some(RedshiftFault::Forgotten),
        FaultPoint::Start if draws.hits(random.slow) => Some(RedshiftFault::Slow {
            ms: draws.below(random.slow_ms_max.saturating_add(1)),
        }),
        FaultPoint::Batch if draws.hits(random.abort_batch) => Some(RedshiftFault::AbortBatch {
            after: usize::try_from(draws.below(8)).unwrap_or(0),
        }),
        FaultPoint::Commit if draws.hits(random.serializable_violation) => {
            Some(RedshiftFault::SerializableViolation)
        }
        FaultPoint::Report if draws.hits(random.failed_though_committed) => {
            Some(RedshiftFault::FailedThoughCommitted)
        }
        FaultPoint::Report if draws.hits(random.aborted_though_committed) => {
            Some(RedshiftFault::AbortedThoughCommitted)
        }
        _ => None,
    }
}
