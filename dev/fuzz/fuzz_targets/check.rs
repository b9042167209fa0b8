//! What must hold for any input. The tests of `tidegate-core` run it over the seed corpus.

use tidegate_base::chunk::{Chunk, Payload};
use tidegate_core::decode::{Decoded, Decoder};
use tidegate_core::spec::FieldSpec;

/// A field of each type.
const FIELDS: [(&str, &str); 12] = [
    ("s", "string"),
    ("i", "int32"),
    ("l", "int64"),
    ("f", "float64"),
    ("b", "bool"),
    ("d", "decimal(20,4)"),
    ("t", "timestamp"),
    ("e", "timestamp_ms"),
    ("y", "date"),
    ("m", "map<string,string>"),
    ("a", "list<list<int64>>"),
    (
        "n",
        "struct<x: float64, y: list<struct<z: map<string,decimal(9,2)>>>>",
    ),
];

/// Decodes the lines of `data` as records of one chunk.
///
/// # Panics
/// If a record does not end in exactly one row or reject, or in another one than if it came alone.
pub(crate) fn decode(data: &[u8]) {
    let fields: Vec<FieldSpec> = FIELDS
        .iter()
        .map(|(name, ty)| FieldSpec {
            name: (*name).to_owned(),
            ty: ty.parse().expect("a type"),
            required: false,
        })
        .collect();
    let mut decoder = Decoder::new(&fields);
    let records: Vec<&[u8]> = data.split(|byte| *byte == b'\n').take(64).collect();
    let together = run(&mut decoder, &records);
    let mut rows = together.rows.iter().enumerate();
    let mut rejects = together.rejects.iter();
    for (index, record) in records.iter().enumerate() {
        let alone = run(&mut decoder, &[record]);
        match (alone.rows.as_slice(), alone.rejects.as_slice()) {
            ([0], []) => {
                let (row, found) = rows.next().expect("a row");
                assert_eq!(*found as usize, index);
                for (all, one) in together.columns.iter().zip(&alone.columns) {
                    assert_eq!(&all.slice(row, 1), one);
                }
            }
            ([], [reject]) => {
                let found = rejects.next().expect("a reject");
                assert_eq!((found.index, &found.codes), (index, &reject.codes));
            }
            _ => panic!("neither one row nor one reject"),
        }
    }
    assert!(rows.next().is_none() && rejects.next().is_none());
}

fn run(decoder: &mut Decoder, records: &[&[u8]]) -> Decoded {
    let mut chunk = Chunk::new(0, 0, 0);
    for (offset, record) in (0_i64..).zip(records) {
        chunk.push(offset, None, Payload::Bytes, record);
    }
    decoder.decode(&chunk).expect("decode does not fail")
}
