//! Expressions tried out on made-up events, so that one that can never be computed is refused
//! before it rejects every record of a topic, or every record of a kind.

use std::sync::Arc;

use arrow::array::{
    Array as _, ArrayRef, AsArray as _, BooleanArray, Date32Array, Decimal128Array, Float64Array,
    Int32Array, Int64Array, StringArray, StructArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use tidegate_base::time::UTC;
use tidegate_expr::{Expression, Subexpression, type_name, visible_batch, words};

/// Whole numbers that events could have: small ones, a year, a date as a number, and a time in
/// microseconds. How many there are is a prime number, so that every step goes through all of them.
const NUMBERS: [i64; 13] = [
    1,
    2,
    3,
    7,
    5,
    12,
    0,
    10,
    -1,
    100,
    20_260_101,
    2026,
    1_767_225_600_000_000,
];
/// Texts that events could have: words, numbers, times, and what holds more. None is empty, because
/// a function may give an empty text back before it looks at anything else.
const TEXTS: [&str; 14] = [
    "a",
    "Some words, and a longer sentence of them (with marks: 1/2, 50%).",
    "7",
    "-12.50",
    "20260101",
    "2026-01-01",
    "2026-01-01T12:30:00Z",
    "01.02.2026 12:30:00",
    "12:30",
    "{\"a\": [1, null, \"b\"]}",
    "ann@example.com",
    "9b2f0c1e-6d7a-4e55-8f3b-0a1c2d3e4f50",
    "https://example.com/a/b?c=d&e=f",
    "äöü €",
];
/// Steps by which columns go through all of them, each in another order.
const STEPS: [usize; 4] = [1, 5, 7, 11];
/// 2026-01-01T00:00:00Z, in microseconds, and in days.
const DAY: i64 = 86_400_000_000;
const NEW_YEAR: i32 = 20_454;

/// Why an expression over a schema of [`tidegate_expr::visible_schema`], or a part of it, fails for
/// all events, if one does, in words for the person who wrote it.
///
/// A part is a fault even where a condition stands before it: a condition that is never true has
/// been left out by the planner, so that any other is one that somebody waits for. What a condition
/// may be there for, though, is to keep values away that a part cannot take, so that a part may
/// fail for an event without any value, as long as it can be computed for another one.
///
/// `stored` is the type as which the result is stored: what that cannot hold is rejected, too.
pub(crate) fn failure(
    expression: &Expression,
    schema: &SchemaRef,
    stored: &DataType,
) -> Option<String> {
    let trial = Trial::new(schema)?;
    let mut parts = expression.parts();
    let whole = parts.pop()?;
    for part in &parts {
        if let Some(error) = trial.failure(part, None) {
            let text = format!("`{part}` fails for every event that gets to it: {error}");
            return Some(text);
        }
    }
    // Nothing stands before the whole.
    let failure =
        error(&whole, &trial.nothing, Some(stored)).or_else(|| trial.failure(&whole, Some(stored)));
    failure.map(|error| format!("this fails for every event: {error}"))
}

/// Whether a condition is false or null whatever an event has: nothing of an event is left in it
/// when it has been planned.
pub(crate) fn is_never_true(expression: &Expression, schema: &SchemaRef) -> bool {
    if !expression.columns().is_empty() || expression.reads_now() {
        return false;
    }
    let Some(trial) = Trial::new(schema) else {
        return false;
    };
    let value = expression.evaluate(&trial.nothing);
    value.is_ok_and(|value| {
        let truth = value.as_boolean_opt();
        truth.is_some_and(|truth| truth.is_null(0) || !truth.value(0))
    })
}

/// Rows that have a value before a cast, and none after it.
pub(crate) fn lost(before: &ArrayRef, after: &ArrayRef) -> Vec<usize> {
    if after.null_count() == before.null_count() || before.data_type().is_null() {
        return Vec::new();
    }
    (0..before.len())
        .filter(|row| before.is_valid(*row) && after.is_null(*row))
        .collect()
}

/// Events to try expressions on.
struct Trial<'a> {
    schema: &'a SchemaRef,
    /// One event without any value.
    nothing: RecordBatch,
    /// Events with values, each for itself, because one row fails a whole batch.
    events: Vec<RecordBatch>,
}

impl<'a> Trial<'a> {
    fn new(schema: &'a SchemaRef) -> Option<Self> {
        let fields = schema.fields().get(1..)?;
        let now = i64::from(NEW_YEAR) * DAY;
        let batch = |columns: Vec<ArrayRef>| visible_batch(schema, now, 1, &columns).ok();
        let nulls = fields
            .iter()
            .map(|field| new_null_array(field.data_type(), 1));
        let event = |row: usize| {
            let columns = fields.iter().enumerate();
            // Other numbers in each column: what divides by a difference must not find it zero.
            let columns = columns.map(|(place, field)| {
                value(field.data_type(), row * STEPS[place % STEPS.len()] + place)
            });
            batch(columns.collect())
        };
        Some(Trial {
            schema,
            nothing: batch(nulls.collect())?,
            events: (0..NUMBERS.len()).map(event).collect::<Option<_>>()?,
        })
    }

    /// Why a part fails for each of the events with values, if it does.
    fn failure(&self, part: &Subexpression<'_>, stored: Option<&DataType>) -> Option<String> {
        if let Some(format) = part.wrong_format(self.schema) {
            return Some(format!(
                "'{format}' is no format of a time: after a `%` it has what stands for nothing"
            ));
        }
        self.failure_for_values(part)
            .or_else(|| self.failure_for_events(part, stored))
    }

    /// Why a part that is made of one value and constants fails for each value, if it does. It is
    /// the same wherever that value comes from: a list, a map, or what is made of a text.
    fn failure_for_values(&self, part: &Subexpression<'_>) -> Option<String> {
        let ty = part.operand(self.schema)?;
        let values: Vec<ArrayRef> = if ty.is_string() && part.takes_any_text() {
            let texts = TEXTS.map(|text| StringArray::from(vec![text]));
            let texts = texts.iter().map(|text| cast(text, &ty));
            texts.collect::<Result<_, _>>().ok()?
        } else if is_tried(&ty) && !ty.is_nested() {
            (0..NUMBERS.len()).map(|place| value(&ty, place)).collect()
        } else {
            return None;
        };
        let mut failed = None;
        for value in values {
            // Times in another unit have another range.
            if *value.data_type() != ty || value.is_null(0) {
                return None;
            }
            failed = Some(words(&part.evaluate_for(value).err()?));
        }
        failed
    }

    /// Why a part fails for each of the events with values, if it does. What texts look like cannot
    /// be guessed, and to take one for a number may fail for all but the right ones: a part that
    /// reads one has to fail for an event without any value, too.
    fn failure_for_events(
        &self,
        part: &Subexpression<'_>,
        stored: Option<&DataType>,
    ) -> Option<String> {
        if !part.reads(self.schema).iter().all(is_tried) {
            error(part, &self.nothing, stored)?;
        }
        let mut failed = None;
        for event in &self.events {
            failed = Some(error(part, event, stored)?);
        }
        failed
    }
}

fn error(
    part: &Subexpression<'_>,
    event: &RecordBatch,
    stored: Option<&DataType>,
) -> Option<String> {
    let value = match part.evaluate(event) {
        Ok(value) => value,
        Err(error) => return Some(words(&error)),
    };
    let stored = stored.filter(|stored| *stored != value.data_type())?;
    match cast(&value, stored) {
        Ok(cast) if lost(&value, &cast).is_empty() => None,
        Ok(_) => Some(format!("it is beyond what {} holds", type_name(stored))),
        Err(error) => Some(words(&error.into())),
    }
}

/// Whether there are values to try.
fn is_tried(ty: &DataType) -> bool {
    use DataType::{Boolean, Date32, Decimal128, Float64, Int32, Int64, Struct, Timestamp};
    match ty {
        Struct(members) => members.iter().all(|member| is_tried(member.data_type())),
        ty => matches!(
            ty,
            Boolean | Int32 | Int64 | Float64 | Decimal128(..) | Timestamp(..) | Date32
        ),
    }
}

/// One value of a type, the one at some place.
fn value(ty: &DataType, place: usize) -> ArrayRef {
    let number = NUMBERS[place % NUMBERS.len()];
    let days = NEW_YEAR + i32::try_from(number % 10_000).unwrap_or(0);
    match ty {
        DataType::Utf8 => Arc::new(StringArray::from(vec![number.to_string()])),
        DataType::Boolean => Arc::new(BooleanArray::from(vec![number % 2 == 0])),
        DataType::Int32 => {
            let number = i32::try_from(number).unwrap_or(4);
            Arc::new(Int32Array::from(vec![number]))
        }
        DataType::Int64 => Arc::new(Int64Array::from(vec![number])),
        DataType::Float64 => Arc::new(Float64Array::from(vec![number as f64])),
        DataType::Date32 => Arc::new(Date32Array::from(vec![days])),
        DataType::Timestamp(..) => {
            let time = i64::from(days) * DAY + number % DAY;
            Arc::new(TimestampMicrosecondArray::from(vec![time]).with_timezone(UTC))
        }
        DataType::Decimal128(precision, scale) => {
            let decimal = Decimal128Array::from(vec![i128::from(number) % 10]);
            match decimal.with_precision_and_scale(*precision, *scale) {
                Ok(decimal) => Arc::new(decimal),
                Err(_) => new_null_array(ty, 1),
            }
        }
        DataType::Struct(members) => {
            let places = members.iter().zip(place..);
            let values = places.map(|(member, place)| value(member.data_type(), place));
            match StructArray::try_new(members.clone(), values.collect(), None) {
                Ok(values) => Arc::new(values),
                Err(_) => new_null_array(ty, 1),
            }
        }
        _ => new_null_array(ty, 1),
    }
}
