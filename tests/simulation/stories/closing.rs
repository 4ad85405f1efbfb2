//! Stories of the daemon's end.

use super::*;
use opm::model::{Desired, ExitStatus, Refusal};

#[test]
fn a_shutdown_ends_everything_and_the_next_daemon_brings_it_back() {
    let mut world = world_with(AppSpec { instances: 2, ..spec("web") });
    let order = world.order(Order::Shutdown { keep_apps: false }, None);
    let late = world.order(start(), None);
    assert_eq!(world.answer(late), &Err(Refusal::ShuttingDown));
    world.secs(5);
    assert_eq!(outcome(&world, order), [Verdict::Stopped, Verdict::Stopped]);
    assert_eq!((world.quit, world.kernel.runs.len()), (Some(false), 0));
    assert_eq!(world.store.apps[&WEB].instances[0].desired, Desired::Up);
    world.start_daemon();
    world.secs(1);
    assert_eq!(world.kernel.runs.len(), 2);
    all_is_well(&world);
}

#[test]
fn apps_that_are_kept_live_on_and_what_dies_meanwhile_is_the_next_daemons() {
    let mut world = world();
    next_runs(&mut world, [Program::ending(3_000, ExitStatus::Code(1))]);
    world.order(create(spec("web")), None);
    world.secs(1);
    world.order(Order::Shutdown { keep_apps: true }, None);
    world.secs(10);
    assert_eq!((world.quit, world.live(WEB_0)), (Some(true), 0));
    world.start_daemon();
    world.secs(1);
    assert_eq!(row(&world).restarts, 1);
    all_is_well(&world);
}

#[test]
fn everybody_is_answered_before_the_end() {
    let mut world = world_with(spec("web"));
    let waits = world.order(Order::Wait { targets: web(), until: Desired::Down }, None);
    let starts = world.order(create(spec("db")), None);
    let ends = world.order(Order::Shutdown { keep_apps: true }, None);
    world.secs(1);
    for order in [waits, starts, ends] {
        assert!(world.answer(order).is_ok());
    }
    assert_eq!((world.quit, world.store.apps.len()), (Some(true), 2), "durable, and started by the next daemon");
    all_is_well(&world);
}
