//! Stories of failing: backoff, the start limit, what forgives. The arithmetic is tested beside the policy itself.

use super::*;
use opm::model::policy::ErroredRetry;
use opm::model::state::Detail;
use opm::model::{ExitStatus, InstanceState};
use std::time::Duration;

fn crashes(times: usize) -> Vec<Program> {
    vec![Program::ending(5, ExitStatus::Code(1)); times]
}

#[test]
fn ten_failures_are_errored_then_one_attempt_a_minute() {
    let mut world = world();
    next_runs(&mut world, crashes(12));
    let spec = AppSpec { backoff: "100ms..1s".parse().expect("a backoff"), ..spec("web") };
    world.order(create(spec), None);
    world.secs(20);
    let errored = row(&world);
    assert_eq!((errored.state, errored.restarts), (InstanceState::Errored, 9));
    assert!(errored.next_attempt.is_some_and(|at| at > world.now));
    let before = world.journal.len();
    world.secs(60);
    assert!(world.journal.len() > before, "one attempt");
    assert_eq!((row(&world).state, row(&world).restarts), (InstanceState::Errored, 10), "which failed");
    world.secs(180);
    assert_eq!(row(&world).state, InstanceState::Online, "the third goes well");
    all_is_well(&world);
}

#[test]
fn errored_for_good_waits_for_an_order() {
    let mut world = world();
    next_runs(&mut world, crashes(3));
    world.order(create(AppSpec { max_restarts: 3, errored_retry: ErroredRetry::Never, ..spec("web") }), None);
    world.secs(3_600);
    assert_eq!((row(&world).state, row(&world).next_attempt), (InstanceState::Errored, None));
    assert!(matches!(verdicts(&mut world, start())[..], [Verdict::Started { .. }]));
    assert_eq!(row(&world).restarts, 0, "an order begins a clean sheet");
    all_is_well(&world);
}

#[test]
fn a_reset_tries_an_errored_instance_at_once_even_on_a_full_disk() {
    let mut world = world();
    next_runs(&mut world, crashes(3));
    world.order(create(AppSpec { max_restarts: 3, ..spec("web") }), None);
    world.secs(5);
    world.disk_refuses = true;
    assert_eq!(verdicts(&mut world, Order::Reset { targets: web() }), [Verdict::Reset]);
    assert_eq!((row(&world).state, row(&world).restarts), (InstanceState::Online, 0));
    all_is_well(&world);
}

#[test]
fn a_stop_in_backoff_stops_it() {
    let mut world = world();
    next_runs(&mut world, crashes(5));
    world.order(create(spec("web")), None);
    world.pass(Duration::from_millis(1_000));
    assert_eq!(row(&world).state, InstanceState::Backoff);
    assert_eq!(verdicts(&mut world, stop()), [Verdict::AlreadyStopped]);
    assert_eq!((row(&world).state, world.kernel.runs.len()), (InstanceState::Stopped, 0));
    all_is_well(&world);
}

#[test]
fn what_finished_is_settled_until_somebody_starts_it() {
    let mut world = world();
    next_runs(&mut world, [Program::ending(2_000, ExitStatus::Code(3)), Program::ending(2_000, ExitStatus::Code(3))]);
    world.order(create(AppSpec { stop_exit_codes: vec![3], ..spec("web") }), None);
    world.secs(100);
    assert_eq!((row(&world).state, row(&world).detail), (InstanceState::Stopped, Some(Detail::Finished)));
    let wait = Order::Wait { targets: web(), until: opm::model::Desired::Up };
    assert_eq!(verdicts(&mut world, wait), [Verdict::Finished]);
    assert!(matches!(verdicts(&mut world, start())[..], [Verdict::Started { .. }]));
    all_is_well(&world);
}
