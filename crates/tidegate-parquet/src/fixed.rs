//! Numbers and times: values of four or eight bytes.

use std::ops::Range;

use arrow::array::{Array, ArrayData, ArrayRef};
use arrow::datatypes::{ArrowNativeType, ToByteSlice};
use parquet::basic::Encoding;
use parquet::file::properties::EnabledStatistics;
use parquet::file::statistics::{Statistics, ValueStatistics};

use crate::delta;
use crate::dictionary::DictionaryPage;
use crate::leaf::{LeafOptions, Values};

// Pages have numbers as little-endian machines do.
const _: () = assert!(cfg!(target_endian = "little"));

/// Appends values in some encoding.
type Append<T> = fn(&[T], &mut Vec<u8>);

/// A type of numbers.
pub(crate) trait NumberType: ArrowNativeType {
    /// Stores differences, if that is done for this type.
    const DELTA: Option<Append<Self>>;

    /// Its bits, which are of one value only.
    fn bits(self) -> u64;

    /// Statistics of least, greatest, and the number of nulls.
    fn statistics(range: Option<(Self, Self)>, nulls: u64) -> Statistics;

    /// How zero is stored as least and as greatest value.
    fn zeros() -> (Self, Self);

    /// Whether a least or greatest value is one of the values, so that an engine may answer with
    /// it. A zero that stands for those of both signs need not be.
    fn is_value(self) -> bool {
        let (least, greatest) = Self::zeros();
        self != least || least.bits() == greatest.bits()
    }
}

macro_rules! number {
    ($type:ty, $kind:ident, $delta:expr, $bits:expr, $zeros:expr) => {
        impl NumberType for $type {
            const DELTA: Option<Append<Self>> = $delta;

            fn bits(self) -> u64 {
                $bits(self)
            }

            fn statistics(range: Option<(Self, Self)>, nulls: u64) -> Statistics {
                let (least, greatest) = range.unzip();
                let values = ValueStatistics::new(least, greatest, None, Some(nulls), false)
                    .with_min_is_exact(least.is_some_and(Self::is_value))
                    .with_max_is_exact(greatest.is_some_and(Self::is_value));
                Statistics::$kind(values.with_backwards_compatible_min_max(true))
            }

            fn zeros() -> (Self, Self) {
                $zeros
            }
        }
    };
}

number!(i32, Int32, None, |value| value as u32 as u64, (0, 0));
number!(
    i64,
    Int64,
    Some(delta::encode),
    |value| value as u64,
    (0, 0)
);
// The format's definition of statistics wants zeros of both signs between least and greatest.
number!(
    f32,
    Float,
    None,
    |value: f32| value.to_bits().into(),
    (-0.0, 0.0)
);
number!(f64, Double, None, f64::to_bits, (-0.0, 0.0));

/// Numbers of a page, as they are or as differences.
pub(crate) struct Fixed<T> {
    /// The last value and its number in the dictionary: neighbours are often equal.
    last: Option<(u64, u32)>,
    delta: Option<Append<T>>,
    values: Vec<T>,
    has_statistics: bool,
    range: Option<(T, T)>,
    /// A value was not a number: it is outside of any range, so that none may be told.
    has_nan: bool,
}

impl<T: NumberType> Fixed<T> {
    /// None if the options ask for what is not done here.
    pub(crate) fn new(options: &LeafOptions) -> Option<Self> {
        let delta = match options.encoding {
            Encoding::PLAIN => None,
            Encoding::DELTA_BINARY_PACKED => Some(T::DELTA?),
            _ => return None,
        };
        Some(Fixed {
            last: None,
            delta,
            values: Vec::new(),
            has_statistics: options.statistics != EnabledStatistics::None,
            range: None,
            has_nan: false,
        })
    }

    fn widen_range(&mut self, values: &[T]) {
        // No early end, so that the compiler makes vectors of it; for whole numbers it makes
        // nothing.
        let is_nan = |value: &T| value.partial_cmp(value).is_none();
        self.has_nan |= values.iter().fold(false, |nan, value| nan | is_nan(value));
        if self.has_nan {
            return;
        }
        self.range = values.iter().copied().fold(self.range, |range, value| {
            let (least, greatest) = range.unwrap_or((value, value));
            Some((
                if value < least { value } else { least },
                if value > greatest { value } else { greatest },
            ))
        });
    }
}

impl<T: NumberType> Values for Fixed<T> {
    type Array<'a> = &'a [T];

    fn view<'a>(array: &'a ArrayRef, data: &'a ArrayData) -> Self::Array<'a> {
        &data.buffer::<T>(0)[..array.len()]
    }

    fn bytes_of(_array: &Self::Array<'_>, range: Range<usize>) -> usize {
        range.len() * size_of::<T>()
    }

    fn add(
        &mut self,
        array: &Self::Array<'_>,
        range: Range<usize>,
        dictionary: Option<DictionaryPage<'_>>,
    ) {
        let values = &array[range];
        if self.has_statistics {
            self.widen_range(values);
        }
        match dictionary {
            Some((dictionary, numbers)) => {
                for value in values {
                    let bits = value.bits();
                    let number = match self.last {
                        Some((last, number)) if last == bits => {
                            dictionary.count_known();
                            number
                        }
                        _ => dictionary.fixed(bits, std::slice::from_ref(value).to_byte_slice()),
                    };
                    self.last = Some((bits, number));
                    numbers.push(number);
                }
            }
            None => self.values.extend_from_slice(values),
        }
    }

    fn bytes(&self) -> usize {
        size_of_val(&*self.values)
    }

    fn take(&mut self, out: &mut Vec<u8>) -> Encoding {
        let encoding = match self.delta {
            Some(encode) => {
                encode(&self.values, out);
                Encoding::DELTA_BINARY_PACKED
            }
            None => {
                out.extend_from_slice(self.values.to_byte_slice());
                Encoding::PLAIN
            }
        };
        self.values.clear();
        encoding
    }

    fn statistics(&self, nulls: u64) -> Option<Statistics> {
        // Engines take NaN for greater than all numbers, and pass over a row group by its range:
        // with a range of the other values, rows with NaN would vanish from answers.
        let range = self.range.filter(|_| !self.has_nan);
        let range = range.map(|(least, greatest)| {
            let (zero, other) = T::zeros();
            (
                if least == zero { zero } else { least },
                if greatest == other { other } else { greatest },
            )
        });
        self.has_statistics.then(|| T::statistics(range, nulls))
    }
}
