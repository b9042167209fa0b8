//! Texts.

use std::ops::Range;

use arrow::array::{ArrayData, ArrayRef, AsArray, StringArray};
use parquet::basic::Encoding;
use parquet::file::properties::EnabledStatistics;
use parquet::file::statistics::Statistics;

use crate::delta;
use crate::dictionary::DictionaryPage;
use crate::leaf::{LeafOptions, Values};

/// Texts of a page: lengths and bytes.
pub(crate) struct TextPage {
    encoding: Encoding,
    lengths: Vec<i32>,
    bytes: Vec<u8>,
}

impl TextPage {
    /// None if the options ask for what is not done here.
    pub(crate) fn new(options: &LeafOptions) -> Option<Self> {
        let is_done = matches!(
            options.encoding,
            Encoding::PLAIN | Encoding::DELTA_LENGTH_BYTE_ARRAY
        );
        (is_done && options.statistics == EnabledStatistics::None).then(|| TextPage {
            encoding: options.encoding,
            lengths: Vec::new(),
            bytes: Vec::new(),
        })
    }
}

impl Values for TextPage {
    type Array<'a> = &'a StringArray;

    fn view<'a>(array: &'a ArrayRef, _data: &'a ArrayData) -> Self::Array<'a> {
        array.as_string()
    }

    fn bytes_of(array: &Self::Array<'_>, range: Range<usize>) -> usize {
        let offsets = array.value_offsets();
        (offsets[range.end] - offsets[range.start]) as usize
    }

    fn add(
        &mut self,
        array: &Self::Array<'_>,
        range: Range<usize>,
        dictionary: Option<DictionaryPage<'_>>,
    ) {
        let offsets = &array.value_offsets()[range.start..=range.end];
        let data = array.value_data();
        let places = offsets.windows(2);
        match dictionary {
            Some((dictionary, numbers)) => {
                let texts = places.map(|place| &data[place[0] as usize..place[1] as usize]);
                numbers.extend(texts.map(|text| dictionary.text(text)));
            }
            None if self.encoding == Encoding::PLAIN => {
                for place in places {
                    let text = &data[place[0] as usize..place[1] as usize];
                    let length = text.len() as u32;
                    self.bytes.extend_from_slice(&length.to_le_bytes());
                    self.bytes.extend_from_slice(text);
                }
            }
            None => {
                self.lengths.extend(places.map(|place| place[1] - place[0]));
                let (begin, end) = (offsets[0], offsets[offsets.len() - 1]);
                self.bytes
                    .extend_from_slice(&data[begin as usize..end as usize]);
            }
        }
    }

    fn bytes(&self) -> usize {
        self.bytes.len() + size_of_val(&*self.lengths)
    }

    fn take(&mut self, out: &mut Vec<u8>) -> Encoding {
        if self.encoding == Encoding::DELTA_LENGTH_BYTE_ARRAY {
            delta::encode(&self.lengths, out);
            self.lengths.clear();
        }
        out.append(&mut self.bytes);
        self.encoding
    }

    fn statistics(&self, _nulls: u64) -> Option<Statistics> {
        None
    }
}
