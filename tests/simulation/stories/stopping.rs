//! Stories of ending: ladders, kill modes, what is left behind, what is stuck.

use super::*;
use opm::model::policy::KillMode;
use opm::model::state::Detail;
use opm::model::{Cause, ExitStatus, InstanceState, Span};
use std::time::Duration;

fn mode(kill_mode: KillMode) -> AppSpec {
    AppSpec { kill_mode, stop_timeout: Span::millis(3_000), ..spec("web") }
}

fn deaf() -> Program {
    Program { obeys: None, ..Program::steady() }
}

fn parent(children_obey: bool) -> Program {
    Program { children: 2, children_obey, ..Program::steady() }
}

#[test]
fn what_ignores_the_signal_is_killed_after_its_grace() {
    let mut world = world();
    next_runs(&mut world, [deaf()]);
    world.order(create(mode(KillMode::Mixed)), None);
    world.secs(1);
    let order = world.order(stop(), None);
    world.pass(Duration::from_millis(2_900));
    assert_eq!((world.live(WEB_0), world.answers.contains_key(&order)), (1, false));
    world.secs(1);
    assert_eq!(outcome(&world, order), [Verdict::Stopped]);
    assert_eq!(row(&world).last_exit.expect("a record").0.cause, Cause::Deadline);
    all_is_well(&world);
}

#[test]
fn children_that_ignore_it_get_a_second_and_no_more() {
    for kill_mode in [KillMode::Mixed, KillMode::Cgroup] {
        let mut world = world();
        next_runs(&mut world, [parent(false)]);
        world.order(create(AppSpec { stop_timeout: Span::millis(10_000), ..mode(kill_mode) }), None);
        world.secs(1);
        let order = world.order(stop(), None);
        world.secs(if kill_mode == KillMode::Mixed { 2 } else { 11 });
        assert_eq!(outcome(&world, order), [Verdict::Stopped], "{kill_mode:?}");
        assert_eq!(row(&world).last_exit.expect("a record").0.cause, Cause::StopOrder);
        all_is_well(&world);
    }
}

#[test]
fn leftovers_that_are_to_live_block_a_successor_and_that_is_said() {
    let mut world = world();
    next_runs(&mut world, [parent(false)]);
    world.order(create(mode(KillMode::Process)), None);
    world.secs(1);
    let left = Verdict::Pending { state: InstanceState::Stopping, detail: Some(Detail::MainExited { left: 2 }) };
    let order = world.order(restart(), None);
    world.secs(1);
    assert_eq!(outcome(&world, order), std::slice::from_ref(&left), "at once, not after the grace period");
    assert_eq!(verdicts(&mut world, stop()), [left]);
    assert_eq!(world.live(WEB_0), 1);
    all_is_well(&world);
}

#[test]
fn a_crash_is_followed_only_when_the_children_are_gone() {
    let mut world = world();
    let crash = Program { children: 1, children_obey: false, ..Program::ending(2_000, ExitStatus::Code(1)) };
    next_runs(&mut world, [crash]);
    world.order(create(spec("web")), None);
    world.pass(Duration::from_millis(2_500));
    assert_eq!(
        (row(&world).state, row(&world).detail),
        (InstanceState::Stopping, Some(Detail::MainExited { left: 1 }))
    );
    world.secs(1);
    assert_eq!((row(&world).state, row(&world).restarts), (InstanceState::Online, 1));
    all_is_well(&world);
}

#[test]
fn a_main_process_that_left_its_cgroup_still_counts() {
    let mut world = world();
    next_runs(&mut world, [Program { escapes: true, obeys: None, ..Program::steady() }]);
    world.order(create(mode(KillMode::Mixed)), None);
    world.secs(1);
    let order = world.order(restart(), None);
    world.secs(2);
    assert_eq!(world.kernel.runs.len(), 1, "no successor while it lives");
    world.secs(3);
    assert!(matches!(outcome(&world, order)[..], [Verdict::Restarted { .. }]));
    all_is_well(&world);
}

#[test]
fn what_the_kernel_cannot_end_is_admitted_after_five_seconds_and_never_doubled() {
    let mut world = world();
    next_runs(&mut world, [Program { stuck: Some(Duration::from_secs(60)), ..deaf() }]);
    world.order(create(mode(KillMode::Mixed)), None);
    world.secs(1);
    let order = world.order(restart(), None);
    world.secs(9);
    let stuck = Verdict::Pending { state: InstanceState::Stopping, detail: Some(Detail::StuckInKernel) };
    assert_eq!(outcome(&world, order), std::slice::from_ref(&stuck));
    assert_eq!(verdicts(&mut world, stop()), [stuck], "asked again, answered again");
    assert_eq!(world.live(WEB_0), 1);
    world.order(start(), None);
    world.secs(60);
    assert_eq!((row(&world).state, world.live(WEB_0)), (InstanceState::Online, 1), "it goes on when it can");
    all_is_well(&world);
}

#[test]
fn a_stop_takes_the_place_of_a_start_and_is_not_undone_by_the_next() {
    let mut world = world_with(spec("web"));
    let restarted = world.order(restart(), None);
    let stopped = world.order(stop(), None);
    let started = world.order(start(), None);
    world.secs(2);
    assert_eq!(outcome(&world, restarted), [Verdict::Superseded]);
    assert_eq!(outcome(&world, stopped), [Verdict::Stopped]);
    assert!(matches!(outcome(&world, started)[..], [Verdict::Started { .. }]));
    assert_eq!(verdicts(&mut world, stop()), [Verdict::Stopped]);
    assert_eq!(verdicts(&mut world, stop()), [Verdict::AlreadyStopped]);
    all_is_well(&world);
}

#[test]
fn a_deleted_app_is_forgotten_when_nothing_of_it_lives() {
    let mut world = world_with(spec("web"));
    assert_eq!(verdicts(&mut world, delete()), [Verdict::Deleted]);
    assert!(world.store.apps.is_empty() && world.kernel.runs.is_empty());
    world.order(create(spec("web")), None);
    world.secs(1);
    assert_eq!(world.store.apps.keys().copied().collect::<Vec<_>>(), [AppId(1)], "a new id");
    all_is_well(&world);
}

#[test]
fn a_signal_reaches_what_runs() {
    use opm::model::Signal;
    let mut world = world_with(spec("web"));
    let usr1 = || Order::Signal { targets: web(), signal: Signal::from_number(10).expect("a signal") };
    assert!(matches!(verdicts(&mut world, usr1())[..], [Verdict::Signalled { .. }]));
    verdicts(&mut world, stop());
    assert_eq!(verdicts(&mut world, usr1()), [Verdict::Failed("not running".into())]);
    all_is_well(&world);
}
