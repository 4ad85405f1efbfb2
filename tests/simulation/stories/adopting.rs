//! Stories of daemons that die, and of those that come after.

use super::*;
use opm::model::state::Detail;
use opm::model::{ExitStatus, InstanceState, Refusal, Span, Verdict};
use opm::supervise::{Effect, Input};
use std::time::Duration;

/// The daemon dies and another begins, this much later.
fn another_daemon(world: &mut World, after: Duration) {
    world.kill_daemon();
    world.restart_at = None;
    world.pass(after);
    world.start_daemon();
    world.secs(1);
}

const SOON: Duration = Duration::from_millis(10);

#[test]
fn a_new_daemon_touches_nothing_that_is_as_it_should_be() {
    let mut world = world_with(AppSpec { instances: 3, ..spec("web") });
    let (before, performed) = (row(&world), world.effects.len());
    another_daemon(&mut world, SOON);
    assert_eq!(world.effects.len(), performed);
    assert_eq!((row(&world).run, row(&world).pid), (before.run, before.pid));
    all_is_well(&world);
}

#[test]
fn an_order_that_was_durable_is_carried_out_by_the_next_daemon() {
    let mut world = world_with(spec("web"));
    let old = row(&world).run;
    world.order(restart(), None);
    while world.store.apps[&WEB].instances[0].generation.0 == 1 {
        world.pass(Duration::from_millis(1));
    }
    another_daemon(&mut world, SOON);
    assert_eq!((row(&world).generation.0, row(&world).restarts), (2, 0));
    assert_ne!(row(&world).run, old);
    all_is_well(&world);
}

#[test]
fn a_stop_goes_on_to_its_first_deadline() {
    let mut world = world();
    next_runs(&mut world, [Program { obeys: None, ..Program::steady() }]);
    world.order(create(AppSpec { stop_timeout: Span::millis(5_000), ..spec("web") }), None);
    world.secs(1);
    world.order(stop(), None);
    world.secs(1);
    another_daemon(&mut world, Duration::from_secs(2));
    assert_eq!((row(&world).state, world.live(WEB_0)), (InstanceState::Stopping, 1));
    world.secs(2);
    assert_eq!((row(&world).state, world.live(WEB_0)), (InstanceState::Stopped, 0));
    all_is_well(&world);
}

#[test]
fn a_crash_that_nobody_saw_is_recorded_and_followed() {
    let mut world = world();
    next_runs(&mut world, [Program::ending(5_000, ExitStatus::Code(9))]);
    world.order(create(spec("web")), None);
    world.secs(2);
    another_daemon(&mut world, Duration::from_secs(10));
    let now = row(&world);
    assert_eq!((now.state, now.restarts), (InstanceState::Online, 1));
    assert_eq!(now.last_exit.expect("a record").0.status, ExitStatus::Code(9), "the keeper kept it");
    all_is_well(&world);
}

#[test]
fn settled_is_settled_for_the_next_daemon_until_the_machine_boots_anew() {
    let mut world = world();
    next_runs(&mut world, [Program::ending(2_000, ExitStatus::Code(0))]);
    world.order(create(AppSpec { restart: opm::model::policy::RestartPolicy::OnFailure, ..spec("web") }), None);
    world.secs(5);
    another_daemon(&mut world, SOON);
    assert_eq!((row(&world).detail, world.kernel.runs.len()), (Some(Detail::Finished), 0));
    world.reboot();
    world.secs(5);
    assert_eq!(row(&world).state, InstanceState::Online);
    all_is_well(&world);
}

#[test]
fn a_backoff_goes_on_where_it_was() {
    let mut world = world();
    next_runs(&mut world, vec![Program::ending(1, ExitStatus::Code(1)); 5]);
    world.order(create(AppSpec { backoff: "10s..20s".parse().expect("a backoff"), ..spec("web") }), None);
    world.secs(2);
    let before = row(&world);
    assert_eq!(before.state, InstanceState::Backoff);
    another_daemon(&mut world, SOON);
    assert_eq!((row(&world).next_attempt, row(&world).restarts), (before.next_attempt, before.restarts));
    all_is_well(&world);
}

#[test]
fn nothing_is_started_beside_what_nobody_can_identify() {
    let mut world = world_with(spec("web"));
    world.kernel.runs.values_mut().for_each(|run| run.marked = false);
    another_daemon(&mut world, SOON);
    assert_eq!((row(&world).state, row(&world).detail), (InstanceState::Unknown, Some(Detail::Unmarked)));
    assert!(matches!(&verdicts(&mut world, start())[..], [Verdict::Failed(why)] if why.contains("stop it first")));
    assert_eq!(world.live(WEB_0), 1);
    assert_eq!(verdicts(&mut world, stop()), [Verdict::Stopped]);
    assert!(matches!(verdicts(&mut world, start())[..], [Verdict::Started { .. }]));
    all_is_well(&world);
}

#[test]
fn of_two_runs_of_an_instance_the_newest_that_fits_is_kept() {
    let mut world = world_with(spec("web"));
    let (id, run) = world.kernel.runs.first_key_value().map(|(id, run)| (*id, run.clone())).expect("a run");
    let twin = opm::model::RunId(id.0 + 1);
    world.kernel.runs.insert(twin, crate::kernel::Run { id: twin, main: crate::kernel::Main::Alive(77), ..run });
    another_daemon(&mut world, SOON);
    assert_eq!((row(&world).run, world.live(WEB_0)), (Some(twin), 1));
    all_is_well(&world);
}

#[test]
fn a_run_of_a_forgotten_app_is_ended_and_forgotten() {
    let mut world = world_with(spec("web"));
    world.kill_daemon();
    world.store.apps.clear();
    world.restart_at = None;
    world.start_daemon();
    world.secs(1);
    assert!(world.kernel.runs.is_empty());
    assert!(world.effects.iter().any(|effect| matches!(effect, Effect::Forget { app: WEB, instances: 1 })));
    all_is_well(&world);
}

#[test]
fn reports_that_come_twice_or_late_hurt_nobody() {
    let mut world = world_with(spec("web"));
    let old = row(&world).run.expect("a run");
    world.order(restart(), None);
    world.secs(1);
    let (now, performed) = (row(&world), world.effects.len());
    let status = ExitStatus::Code(1);
    for input in [
        Input::Exited { run: old, status, usage: None, out_of_memory: true },
        Input::Emptied { run: old, tally: None },
        Input::LeftBehind { run: old, left: 3 },
        Input::Spawned { run: old, pid: 1 },
        Input::SpawnFailed { run: old, failure: "late".into(), of_the_spec: true },
        Input::Emptied { run: opm::model::RunId(999), tally: None },
    ] {
        world.tell(Some(input));
    }
    assert_eq!((row(&world), world.effects.len()), (now, performed));
    all_is_well(&world);
}

/// The daemon died between saving the deletion and the end of what it deletes. The next one goes on; until nothing lives the name
/// is taken, and the same order, sent again, is answered when it is so.
#[test]
fn a_deletion_that_a_death_cut_in_two_is_answered_when_it_is_so() {
    let mut world = world();
    next_runs(&mut world, [Program { obeys: None, ..Program::steady() }]);
    world.order(create(spec("web")), None);
    world.secs(2);
    world.order(delete(), None);
    world.pass(Duration::from_millis(200));
    assert!(world.store.apps.is_empty(), "it is saved");
    another_daemon(&mut world, SOON);
    assert_eq!(world.live(WEB_0), 1, "and it lives");
    let again = world.order(delete(), None);
    let taken = world.order(create(spec("web")), None);
    assert!(matches!(world.answer(taken), Err(Refusal::Leaving(_))), "{:?}", world.answer(taken));
    assert!(!world.answers.contains_key(&again));
    world.secs(20);
    assert_eq!((outcome(&world, again), world.kernel.runs.len()), (vec![Verdict::Deleted], 0));
    let free = world.order(create(spec("web")), None);
    world.secs(1);
    assert!(matches!(outcome(&world, free)[..], [Verdict::Started { .. }]));
    all_is_well(&world);
}
