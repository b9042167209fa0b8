//! Which kind of record stands at an offset, decided by chance.

use super::GeneratorOptions;
use tidegate_source::SourceError;

/// What a record is meant to be. A repeat or an update for which there is no original becomes an
/// original itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    Original,
    Duplicate,
    Update,
    Late,
    Malformed,
    RuleBreaking,
}

/// The shares, as upper bounds in the range of a 32-bit random number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shares {
    bounds: [u64; 5],
}

/// One more than the greatest of the random numbers that bounds are compared with.
pub(super) const RANDOM_END: f64 = u32::MAX as f64 + 1.0;

/// The share, if it is one.
pub(super) fn checked_share(name: &str, share: f64) -> Result<f64, SourceError> {
    if (0.0..=1.0).contains(&share) {
        Ok(share)
    } else {
        Err(SourceError::option(
            format!("source.{name}"),
            format!("a share is between 0 and 1, not {share}"),
        ))
    }
}

impl Shares {
    pub(super) fn new(options: &GeneratorOptions) -> Result<Self, SourceError> {
        let GeneratorOptions {
            duplicates,
            updates,
            late,
            malformed,
            rule_breaking,
            ..
        } = *options;
        for (name, share) in [
            ("duplicates", duplicates),
            ("updates", updates),
            ("late", late),
            ("malformed", malformed),
            ("rule-breaking", rule_breaking),
        ] {
            checked_share(name, share)?;
        }
        let sum = duplicates + updates + late + malformed + rule_breaking;
        if sum > 1.0 {
            return Err(SourceError::option(
                "source.duplicates, updates, late, malformed, rule-breaking",
                format!("the shares add up to {sum}, and more than all of the events there is not"),
            ));
        }
        // An update needs an original at the place that it is the update of, which is there with
        // probability `rest - slots`. So slots * (rest - slots) = updates.
        let rest = 1.0 - (sum - updates);
        let slots = (rest - (rest * rest - 4.0 * updates).max(0.0).sqrt()) / 2.0;
        let mut below = 0.0;
        let bounds = [duplicates, slots, late, malformed, rule_breaking].map(|share| {
            below += share;
            (below * RANDOM_END) as u64
        });
        Ok(Shares { bounds })
    }

    /// What a record is whose random number this is. Only the upper half counts.
    pub(super) fn slot(&self, random: u64) -> Slot {
        let x = random >> 32;
        let [duplicate, update, late, malformed, rule_breaking] = self.bounds;
        if x >= rule_breaking {
            Slot::Original
        } else if x < duplicate {
            Slot::Duplicate
        } else if x < update {
            Slot::Update
        } else if x < late {
            Slot::Late
        } else if x < malformed {
            Slot::Malformed
        } else {
            Slot::RuleBreaking
        }
    }
}
