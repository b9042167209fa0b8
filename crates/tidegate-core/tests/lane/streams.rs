//! Streams, however they are cut.

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Event, late, duplicate and watermark are those of the model, however the stream is cut.
    #[test]
    fn fates_do_not_depend_on_how_the_stream_is_cut(seed: u64, len in 1_usize..3000, longest in 1_usize..1000) {
        let mut rng = Random::new(seed);
        let events = stream(&mut rng, len);
        let (expected, watermark) = model(&events);
        let plan = plan(&job());
        for longest in [longest, usize::MAX - 1] {
            let mut run = Run::new(&plan, 3);
            for range in chunks(&mut rng, &events, longest) {
                run.absorb(range.start, &events[range]);
            }
            prop_assert_eq!(&run.fates, &expected);
            prop_assert_eq!(run.lane.watermark(), watermark);
        }
    }

    /// Windows are those that brute force makes of the kept events, each exactly once; whenever
    /// they are closed, however often the lane is rebuilt from committed rows on the way.
    #[test]
    fn windows_and_restarts_agree_with_brute_force(
        seed: u64,
        len in 1_usize..2500,
        longest in 1_usize..600,
        close_every in 1_usize..6,
        restart_one_in in 1_u64..20,
        live_max in 10_usize..1000,
    ) {
        let mut rng = Random::new(seed);
        let events = stream(&mut rng, len);
        let (expected, watermark) = model(&events);
        let plan = plan(&job());
        let mut run = Run::new(&plan, close_every);
        run.live_max = live_max;
        for range in chunks(&mut rng, &events, longest) {
            run.absorb(range.start, &events[range]);
            if rng.one_in(restart_one_in) {
                run.restart(&mut rng);
            }
        }
        prop_assert_eq!(&run.fates, &expected);
        prop_assert_eq!(run.lane.watermark(), watermark);
        run.close();
        let kept: Vec<&Event> = events
            .iter()
            .zip(&expected)
            .filter_map(|(event, fate)| (*fate == Fate::Event).then_some(event))
            .collect();
        let specs = job().windows;
        for ended in [false, true] {
            for ((window, spec), batches) in plan.windows().zip(&specs).zip(&run.closed) {
                let mut wanted = windows_of(window.size, window.slide, &spec.group_by, &kept);
                if !ended {
                    wanted.retain(|key, _| watermark.is_some_and(|w| key.0 + window.size <= w));
                }
                prop_assert_eq!(emitted(window.size, batches), wanted, "{} {}", window.name, ended);
            }
            // Those that are not closed yet are live already.
            for ((window, spec), live) in plan.windows().zip(&specs).zip(&run.live) {
                prop_assert_eq!(live, &windows_of(window.size, window.slide, &spec.group_by, &kept), "{} live", window.name);
            }
            if !ended {
                run.end();
            }
        }
    }

    /// A lane that follows others forgets, closes and judges as one whose own events moved the
    /// watermark.
    #[test]
    fn following_is_as_good_as_moving(seed: u64, ahead in 0_i64..3 * DELAY) {
        let mut rng = Random::new(seed);
        let events = stream(&mut rng, 300);
        let after = stream(&mut rng, 50);
        let plan = plan(&job());
        let mut runs = [Run::new(&plan, 1), Run::new(&plan, 1)];
        for run in &mut runs {
            run.absorb(0, &events);
        }
        let to = runs[0].lane.watermark().unwrap_or(NOW) + ahead;
        runs[0].lane.follow(to);
        runs[0].lane.follow(to - 1);
        runs[0].close();
        runs[1].lane.follow(to);
        runs[1].restart(&mut rng);
        for run in &mut runs {
            prop_assert_eq!(run.lane.watermark(), Some(to));
            run.absorb(1000, &after);
            run.end();
        }
        let [a, b] = &runs;
        prop_assert_eq!(&a.fates, &b.fates);
        for (window, (a, b)) in plan.windows().zip(a.closed.iter().zip(&b.closed)) {
            prop_assert_eq!(emitted(window.size, a), emitted(window.size, b));
        }
    }

    /// The order of rows does not show in sums, least and greatest values of floats.
    #[test]
    fn float_aggregates_do_not_depend_on_order(seed: u64, len in 2_usize..500) {
        let mut rng = Random::new(seed);
        let mut values: Vec<f64> = (0..len)
            .map(|_| match rng.place(4) {
                0 => rng.range(-1_000_000_000, 1_000_000_000) as f64 * 1e6,
                1 => [0.0, -0.0][rng.place(2)],
                _ => rng.range(-100_000_000, 100_000_000) as f64 / 100.0,
            })
            .collect();
        let mut spec = plain_job(&["at!: timestamp_us", "f: float64"]);
        spec.windows = vec![window("w", 4000, 1000, &[], &["s = sum(f)", "low = min(f)", "high = max(f)"])];
        let plan = plan(&spec);
        let mut results = Vec::new();
        for _ in 0..3 {
            for i in (1..values.len()).rev() {
                values.swap(i, rng.place(i + 1));
            }
            let mut preparer = preparer(&plan);
            let mut lane = Lane::new(0, &plan, None);
            let records: Vec<String> = values
                .iter()
                .enumerate()
                .map(|(i, f)| format!(r#"{{"at":{},"f":{f:e}}}"#, 1_000_000 + i % 4 * 1000))
                .collect();
            lane.absorb(&preparer.prepare(&chunk_at(0, &records), NOW, &[]).unwrap());
            lane.follow(lane.last_end().unwrap());
            let mut out = [ClosedWindows::default()];
            lane.close_windows(&mut out);
            let [closed] = out;
            let batch = closed.into_batch(plan.windows().next().unwrap()).unwrap();
            // The window that all four panes are in.
            let starts = batch.column(0).as_primitive::<TimestampMicrosecondType>();
            let row = starts.values().iter().position(|s| *s == 1_000_000).unwrap();
            let bits = |name: &str| {
                batch.column_by_name(name).unwrap().as_primitive::<Float64Type>().value(row).to_bits()
            };
            results.push([bits("s"), bits("low"), bits("high")]);
        }
        prop_assert_eq!(results[0], results[1]);
        prop_assert_eq!(results[0], results[2]);
    }
}
