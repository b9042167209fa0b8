//! No text does harm, and other readers agree.

use super::*;

/// What arrow-json makes of the same values: the independent answer.
fn oracle(fields: &[FieldSpec], rows: &[Vec<Value>]) -> RecordBatch {
    let schema: Vec<Field> = fields
        .iter()
        .map(|f| Field::new(&f.name, arrow_type(&f.ty), true))
        .collect();
    let mut text = String::new();
    for row in rows {
        let object: Map<String, Value> = fields
            .iter()
            .zip(row)
            .map(|(f, v)| (f.name.clone(), v.clone()))
            .collect();
        text += &Value::Object(object).to_string();
        text.push('\n');
    }
    ReaderBuilder::new(Arc::new(Schema::new(schema)))
        .build(Cursor::new(text))
        .expect("a reader")
        .next()
        .expect("a batch")
        .expect("valid")
}

const CODES: [&str; 10] = [
    "record.empty",
    "decode.not_utf8",
    SYNTAX,
    DEPTH,
    "decode.not_an_object",
    TYPE,
    RANGE,
    TWICE,
    MISSING,
    "record.too_large",
];

fn mutate(rng: &mut Random, bytes: &mut Vec<u8>) {
    for _ in 0..=rng.place(3) {
        let at = rng.place(bytes.len() + 1);
        match rng.place(6) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, rng.bits() as u8),
            2 if at < bytes.len() => drop(bytes.remove(at)),
            3 if at < bytes.len() => bytes[at] = rng.bits() as u8,
            4 if at < bytes.len() => bytes[at] = b"{}[]\":,\\u0e.-+tn "[rng.place(17)],
            _ => {
                let from = rng.place(at + 1);
                let piece = bytes[from..at].to_vec();
                let to = rng.place(bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
        }
    }
}

/// Pieces of JSON in any order: near to the grammar, so that most rules are met.
fn soup(rng: &mut Random) -> Vec<u8> {
    const PIECES: [&str; 28] = [
        "{", "}", "[", "]", ":", ",", "\"", "\"a\"", "\"b\":", "1", "-", "0", ".", "e", "+",
        "true", "null", "false", " ", "\\", "\\u00e9", "\\ud83d", "\\ude00", "é", "\n", "{\"a\":",
        "\"f0\":", "[1,2]",
    ];
    let mut out = Vec::new();
    if rng.one_in(2) {
        out.push(b'{');
    }
    for _ in 0..rng.place(12) {
        out.extend_from_slice(rng.choose(&PIECES).as_bytes());
    }
    if rng.one_in(2) {
        out.push(b'}');
    }
    out
}

/// Whether serde_json takes it for an object; `None` where its limits are others than ours.
fn is_object(bytes: &[u8]) -> Option<bool> {
    match serde_json::from_slice::<Value>(bytes) {
        Ok(value) => Some(value.is_object()),
        Err(error) if error.to_string().contains("out of range") => None,
        Err(error) if error.to_string().contains("recursion") => None,
        Err(_) => Some(false),
    }
}

/// The fuzz target's seeds, whole, cut at every byte, and changed a little.
#[test]
fn the_seeds_of_the_fuzz_target_hold() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../dev/fuzz/corpus/decode");
    let mut rng = Random::new(1);
    let mut seeds = 0;
    for entry in std::fs::read_dir(folder).expect("the seeds") {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("a seed");
        for cut in 0..=bytes.len() {
            check::decode(&bytes[..cut]);
            let mut changed = bytes.clone();
            mutate(&mut rng, &mut changed);
            check::decode(&changed);
        }
        seeds += 1;
    }
    assert!(seeds >= 6);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Any types, any values, any way of writing them: the same columns as arrow-json's.
    #[test]
    fn rows_agree_with_arrow_json(seed: u64) {
        let mut rng = Random::new(seed);
        let all = random_fields(&mut rng);
        let rows: Vec<Vec<Value>> = (0..1 + rng.place(20))
            .map(|_| all.iter().map(|f| random_value(&mut rng, &f.ty, true)).collect())
            .collect();
        let texts: Vec<String> = rows
            .iter()
            .map(|row| Writer { rng: &mut rng, wrong_in: None }.record(&all, row))
            .collect();
        let mut decoder = Decoder::new(&all);
        // The second time everything is reused.
        for _ in 0..2 {
            let decoded = decoder.decode(&chunk(&texts)).unwrap();
            prop_assert!(decoded.rejects.is_empty(), "{:?} {texts:?}", decoded.rejects);
            prop_assert_eq!(batch_of(&all, &decoded), oracle(&all, &rows));
        }
    }

    /// Bad records, wrong at any depth, leave no trace in the rows before and after them.
    #[test]
    fn a_bad_record_does_not_disturb_its_neighbours(seed: u64) {
        let mut rng = Random::new(seed);
        let all = random_fields(&mut rng);
        let mut rows = Vec::new();
        let mut texts = Vec::new();
        let mut good = Vec::new();
        for i in 0..30_u32 {
            let row: Vec<Value> = all.iter().map(|f| random_value(&mut rng, &f.ty, true)).collect();
            let wrong_in = rng.one_in(3).then(|| rng.place(12));
            let mut writer = Writer { rng: &mut rng, wrong_in };
            let mut text = writer.record(&all, &row);
            let mut bad = wrong_in.is_some() && writer.wrong_in.is_none();
            if rng.one_in(4) {
                // Without its last brace it is never complete.
                let end = text.rfind('}').unwrap();
                let cut = (0..=rng.place(end + 1)).rev().find(|n| text.is_char_boundary(*n)).unwrap();
                text.truncate(cut);
                bad = true;
            } else if rng.one_in(8) {
                text.push('x');
                bad = true;
            }
            if !bad {
                good.push(i);
                rows.push(row);
            }
            texts.push(text);
        }
        let decoded = Decoder::new(&all).decode(&chunk(&texts)).unwrap();
        prop_assert_eq!(&decoded.rows, &good);
        prop_assert_eq!(decoded.rejects.len(), 30 - good.len());
        if !rows.is_empty() {
            prop_assert_eq!(batch_of(&all, &decoded), oracle(&all, &rows));
        }
    }

    /// Whatever comes, each record ends as one row or as one reject with a known code, the same as
    /// if it had come alone.
    #[test]
    fn anything_is_a_row_or_a_reject(seed: u64) {
        let mut rng = Random::new(seed);
        let all = random_fields(&mut rng);
        let records: Vec<Vec<u8>> = (0..20)
            .map(|_| match rng.place(4) {
                0 => (0..rng.place(40)).map(|_| rng.bits() as u8).collect(),
                1 => soup(&mut rng),
                _ => {
                    let row: Vec<Value> = all.iter().map(|f| random_value(&mut rng, &f.ty, true)).collect();
                    let mut bytes = Writer { rng: &mut rng, wrong_in: None }.record(&all, &row).into_bytes();
                    mutate(&mut rng, &mut bytes);
                    bytes
                }
            })
            .collect();
        let decoded = decode(&all, &records);
        let mut ends = vec![None; records.len()];
        for row in &decoded.rows {
            prop_assert!(ends[*row as usize].replace("row".to_owned()).is_none());
        }
        for reject in &decoded.rejects {
            prop_assert!(CODES.contains(&reject.codes[0].as_str()), "{reject:?}");
            prop_assert!(!reject.detail.is_empty());
            prop_assert!(ends[reject.index].replace(reject.codes[0].clone()).is_none());
        }
        let rows = rows_of(&batch_of(&all, &decoded));
        for (index, end) in ends.iter().enumerate() {
            let alone = outcome(&all, &records[index]).0;
            match end.as_deref() {
                Some("row") => {
                    let row = decoded.rows.iter().position(|r| *r as usize == index).unwrap();
                    prop_assert_eq!(alone, Outcome::Row(rows[row].clone()));
                }
                Some(code) => prop_assert_eq!(alone, Outcome::Reject(code.to_owned())),
                None => prop_assert!(false, "record {} vanished", index),
            }
        }
    }

    /// Without known fields, a record is accepted if and only if it is a JSON object.
    #[test]
    fn validity_agrees_with_serde_json(seed: u64) {
        let mut rng = Random::new(seed);
        let records: Vec<Vec<u8>> = (0..100)
            .map(|_| {
                let mut bytes = soup(&mut rng);
                if rng.one_in(2) {
                    let all = random_fields(&mut rng);
                    let row: Vec<Value> = all.iter().map(|f| random_value(&mut rng, &f.ty, true)).collect();
                    bytes = Writer { rng: &mut rng, wrong_in: None }.record(&all, &row).into_bytes();
                    mutate(&mut rng, &mut bytes);
                }
                bytes
            })
            .collect();
        let decoded = decode(&[], &records);
        for (index, record) in records.iter().enumerate() {
            let accepted = decoded.rows.contains(&(index as u32));
            if let Some(valid) = is_object(record) {
                prop_assert_eq!(accepted, valid, "{}", String::from_utf8_lossy(record));
            }
        }
    }
}
