//! Maintenance happens on schedule, after loads, and it is remembered.

use std::time::Duration;

use tidegate_warehouse::{Loader, LoaderOptions, Maintenance};

use super::{Place, World};
use crate::job::{Event, NEW_YEAR, events_table};

super::on_each_warehouse! {
    maintenance_happens_on_schedule_and_only_after_loads,
    maintenance_that_was_never_done_has_no_time,
}

/// What the warehouse does beside renewing statistics.
fn other_maintenance(place: &Place) -> Maintenance {
    match place {
        Place::DuckDb => Maintenance::Checkpoint,
        Place::Redshift(_) => Maintenance::Vacuum,
    }
}

fn maintenance_happens_on_schedule_and_only_after_loads(place: &Place) {
    let other = other_maintenance(place);
    let mut world = place.world();
    let options = LoaderOptions {
        analyze_every: Duration::from_secs(100),
        checkpoint_every: Duration::from_secs(30),
        vacuum_every: Duration::from_secs(30),
        ..LoaderOptions::default()
    };
    let mut offset = 0;
    let mut tick = |loader: &mut Loader, world: &mut World<'_>, seconds: i64, load: bool| {
        world.job.clock.set(NEW_YEAR + seconds * 1_000_000);
        if load {
            offset += 1;
            world
                .job
                .commit("events", &[Event("a", offset, 0, offset, 0.0)]);
        }
        let tick = loader.tick().unwrap();
        let done = |action| tick.maintained.contains(&action);
        (done(Maintenance::Analyze), done(other))
    };
    let mut loader = world.loader(vec![events_table()], options.clone());
    let first = tick(&mut loader, &mut world, 0, true);
    assert_eq!(first, (true, true), "what was never done is due");
    let soon = tick(&mut loader, &mut world, 10, true);
    assert_eq!(soon, (false, false));
    let due = tick(&mut loader, &mut world, 31, false);
    assert_eq!(due, (false, true));
    let idle = tick(&mut loader, &mut world, 70, false);
    assert_eq!(idle, (false, false), "nothing was loaded");
    let due = tick(&mut loader, &mut world, 99, true);
    assert_eq!(due, (false, true));
    drop(loader);
    // It is remembered when it was done.
    let mut loader = world.loader(vec![events_table()], options);
    assert_eq!(tick(&mut loader, &mut world, 99, true), (false, false));
    assert_eq!(tick(&mut loader, &mut world, 101, true), (true, false));
    drop(loader);
    let sql = "SELECT action, times FROM tidegate_maintenance ORDER BY action";
    let expect = format!("analyze,2\n{},3\n", other.name());
    assert_eq!(world.ask(sql), expect);
    let warehouse = world.open(vec![events_table()]);
    let at = |seconds: i64| Some(NEW_YEAR + seconds * 1_000_000);
    let analyzed = warehouse.maintained_at(Maintenance::Analyze).unwrap();
    assert_eq!(analyzed, at(101));
    assert_eq!(warehouse.maintained_at(other).unwrap(), at(99));
}

fn maintenance_that_was_never_done_has_no_time(place: &Place) {
    let world = place.world();
    let mut warehouse = world.open(vec![events_table()]);
    let all = warehouse.maintenance();
    assert_eq!(all, [Maintenance::Analyze, other_maintenance(place)]);
    for action in all {
        assert_eq!(warehouse.maintained_at(*action).unwrap(), None);
        let now = NEW_YEAR + 123_456;
        warehouse.maintain(*action, now).unwrap();
        assert_eq!(warehouse.maintained_at(*action).unwrap(), Some(now));
    }
}
