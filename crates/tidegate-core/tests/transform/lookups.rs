//! Reference tables.

use super::*;

fn with_lookup() -> JobSpec {
    let mut spec = plain_job(&["at!: timestamp", "shop: string", "code: int64"]);
    spec.lookups = vec![
        LookupSpec {
            name: "shops".to_owned(),
            on: "shop".to_owned(),
            key: "id".to_owned(),
            columns: vec![
                LookupColumn {
                    from: "tier".to_owned(),
                    name: "tier".to_owned(),
                    ty: FieldType::String,
                },
                LookupColumn {
                    from: "limit".to_owned(),
                    name: "shop_limit".to_owned(),
                    ty: FieldType::Int64,
                },
            ],
        },
        LookupSpec {
            name: "codes".to_owned(),
            on: "code".to_owned(),
            key: "code".to_owned(),
            columns: vec![LookupColumn {
                from: "text".to_owned(),
                name: "code_text".to_owned(),
                ty: FieldType::String,
            }],
        },
    ];
    spec.rules = named(&[("tier_is_not_banned", "tier IS NULL OR tier <> 'banned'")]);
    spec.enrich = named(&[(
        "label",
        "coalesce(tier, 'none') || '/' || coalesce(code_text, '?')",
    )]);
    spec
}

#[test]
fn lookups_are_left_joins() {
    let texts = |values: &[Option<&str>]| StringArray::from(values.to_vec());
    let shops = LookupTable::new(
        &texts(&[Some("a"), Some("b"), None, Some("")]),
        vec![
            Arc::new(texts(&[Some("gold"), Some("banned"), Some("ghost"), None])),
            Arc::new(arrow::array::Int64Array::from(vec![
                Some(1),
                None,
                Some(3),
                Some(4),
            ])),
        ],
    )
    .expect("a table");
    let codes = LookupTable::new(
        &texts(&[Some("7"), Some("-9223372036854775808")]),
        vec![Arc::new(texts(&[Some("seven"), Some("least")]))],
    )
    .expect("a table");
    let empty: Vec<ArrayRef> = vec![
        Arc::new(StringArray::new_null(0)),
        Arc::new(arrow::array::Int64Array::new_null(0)),
    ];
    let none = LookupTable::new(&StringArray::new_null(0), empty).expect("a table");
    let at = iso(NOW);
    let records: Vec<String> = [
        r#""shop":"a","code":7"#,
        r#""shop":"b","code":7"#,
        r#""shop":"A","code":70"#,
        r#""shop":"","code":-9223372036854775808"#,
        r#""shop":null"#,
    ]
    .iter()
    .map(|members| format!(r#"{{"at":"{at}",{members}}}"#))
    .collect();
    let plan = plan(&with_lookup());
    let mut preparer = preparer(&plan);
    let (shops, codes, none) = (Arc::new(shops), Arc::new(codes), Arc::new(none));
    let prepared = preparer
        .prepare(&chunk(&records), NOW, &[shops, Arc::clone(&codes)])
        .expect("prepared");
    let labels: Vec<&str> = text(&prepared, "label").iter().flatten().collect();
    assert_eq!(
        labels,
        [
            "gold/seven",
            "banned/seven",
            "none/?",
            "none/least",
            "none/?"
        ]
    );
    assert_eq!(
        int64(&prepared, "shop_limit"),
        [Some(1), None, None, Some(4), None]
    );
    assert_eq!(prepared.accepted, [true, false, true, true, true]);

    let prepared = preparer
        .prepare(&chunk(&records), NOW, &[none, codes])
        .expect("prepared");
    assert_eq!(int64(&prepared, "shop_limit"), [None; 5]);

    let twice = LookupTable::new(&texts(&[Some("a"), Some("a")]), vec![]);
    assert_eq!(twice.err(), Some(LookupError::DuplicateKey("a".to_owned())));
}
