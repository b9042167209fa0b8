//! Restarts with another configuration.

use super::*;

/// The job with another delay, in microseconds.
fn job_with(delay: i64) -> JobSpec {
    let mut spec = job();
    spec.event_time.delay = Duration::from_micros(delay as u64);
    spec
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// A job that goes on with another delay, shorter or longer by any factor, decides as the rules
    /// say about each event with the delay of its time: nothing that is in the files is forgotten.
    #[test]
    fn a_restart_with_another_delay_decides_as_the_model(
        seed: u64,
        runs in prop::collection::vec((1_i64..400, 1_usize..600), 2..6),
        longest in 1_usize..300,
    ) {
        let mut rng = Random::new(seed);
        let len: usize = runs.iter().map(|(_, len)| len).sum();
        let events = stream(&mut rng, len);
        let mut model = Model::new(None);
        let mut run = Run::new(&plan(&job()), 3);
        let (mut from, mut expected) = (0, Vec::new());
        for (factor, len) in runs {
            // From a fortieth to ten times the usual.
            let delay = DELAY * factor / 40;
            run.restart_as(&plan(&job_with(delay)), &mut rng);
            let part = &events[from..from + len];
            expected.extend(part.iter().map(|event| event.judge(&mut model, delay)));
            for range in chunks(&mut rng, part, longest) {
                run.absorb(from + range.start, &part[range]);
            }
            prop_assert_eq!(run.lane.watermark(), model.watermark);
            from += len;
        }
        prop_assert_eq!(&run.fates, &expected);
        run.end();
        let kept: Vec<&Event> = events
            .iter()
            .zip(&expected)
            .filter_map(|(event, fate)| (*fate == Fate::Event).then_some(event))
            .collect();
        for ((window, spec), batches) in run.plan.windows().zip(&job().windows).zip(&run.closed) {
            let wanted = windows_of(window.size, window.slide, &spec.group_by, &kept);
            prop_assert_eq!(emitted(window.size, batches), wanted, "{}", window.name);
        }
    }

    /// A window over a column that earlier rows lack begins with the first window whose rows all
    /// have it: no part is shown as if it were whole, live or final, however often the job starts
    /// again.
    #[test]
    fn a_window_over_a_new_column_begins_with_its_first_whole_window(
        seed: u64,
        before in 0_usize..600,
        after in 1_usize..1500,
        longest in 1_usize..300,
        close_every in 1_usize..6,
    ) {
        let mut rng = Random::new(seed);
        let events = stream(&mut rng, before + after);
        let (expected, _) = model(&events);
        let old = job();
        let mut new = job();
        new.enrich = named(&[("band", "h")]);
        let mut added = window("added", 5 * SLIDE, SLIDE, &["g", "band"], &[]);
        added.aggregates.clone_from(&old.windows[0].aggregates);
        new.windows.push(added);
        let mut run = Run::new(&plan(&old), close_every);
        for range in chunks(&mut rng, &events[..before], longest) {
            run.absorb(range.start, &events[range]);
        }
        let new = plan(&new);
        let written = run.kept.iter().filter_map(|batch| {
            let times = batch.column_by_name("at")?.as_primitive::<TimestampMicrosecondType>();
            times.values().iter().max().copied()
        });
        let begins = written.max().map(|greatest| greatest + 1);
        let begins = begins.max(run.lane.watermark().map(|w| new.windows().last().expect("a window").first_open(w)));
        if let Some(begins) = begins {
            new.windows().last().expect("a window").begin(begins);
        }
        run.restart_as(&new, &mut rng);
        for range in chunks(&mut rng, &events[before..], longest) {
            run.absorb(before + range.start, &events[before..][range]);
            if rng.one_in(10) {
                run.restart(&mut rng);
            }
        }
        prop_assert_eq!(&run.fates, &expected);
        run.end();
        let kept = |from: usize| -> Vec<&Event> {
            let kept = events.iter().zip(&expected).skip(from);
            kept.filter_map(|(event, fate)| (*fate == Fate::Event).then_some(event)).collect()
        };
        let (added, old_windows) = (run.closed.len() - 1, old.windows.len());
        for ((window, spec), batches) in new.windows().zip(&old.windows).zip(&run.closed) {
            let wanted = windows_of(window.size, window.slide, &spec.group_by, &kept(0));
            prop_assert_eq!(emitted(window.size, batches), wanted, "{}", window.name);
        }
        prop_assert_eq!(added, old_windows);
        let window = new.windows().last().expect("a window");
        let by_band = names(&["g", "h"]);
        let of = |from: usize| {
            let mut windows = windows_of(window.size, window.slide, &by_band, &kept(from));
            windows.retain(|key, _| begins.is_none_or(|begins| key.0 >= begins));
            windows
        };
        let wanted = of(before);
        prop_assert_eq!(&of(0), &wanted, "a window that is shown lacks rows");
        prop_assert_eq!(&emitted_as(window.size, &run.closed[added], "band"), &wanted);
        prop_assert_eq!(&run.live[added], &wanted);
    }
}
