//! Stories of the freezer: what is paused, what is said about it, and that nothing that is to end stays frozen.

use super::*;
use opm::model::policy::KillMode;
use opm::model::state::Detail;
use opm::model::{Desired, ExitStatus, InstanceState, Signal, Span};
use std::time::Duration;

fn pause() -> Order {
    Order::Pause { targets: web() }
}

fn resume() -> Order {
    Order::Resume { targets: web() }
}

/// A world in which `web` runs this program and is paused.
fn paused(program: Program) -> World {
    let mut world = world();
    next_runs(&mut world, [program]);
    world.order(create(AppSpec { stop_timeout: Span::millis(3_000), ..spec("web") }), None);
    world.secs(1);
    assert!(matches!(verdicts(&mut world, pause())[..], [Verdict::Paused { .. }]));
    assert_eq!(row(&world).state, InstanceState::Paused);
    world
}

#[test]
fn paused_is_said_when_it_is_so_and_it_is_no_wish_on_disk() {
    let mut world = world_with(spec("web"));
    let before = world.store.apps.clone();
    let order = world.order(pause(), None);
    assert_eq!((row(&world).state, row(&world).detail), (InstanceState::Online, Some(Detail::Freezing)));
    assert!(!world.answers.contains_key(&order), "asked is not frozen");
    world.secs(1);
    assert!(matches!(outcome(&world, order)[..], [Verdict::Paused { .. }]));
    assert!(matches!(verdicts(&mut world, pause())[..], [Verdict::AlreadyPaused { .. }]));
    assert_eq!((&world.store.apps, row(&world).desired), (&before, Desired::Up));
    assert!(matches!(verdicts(&mut world, resume())[..], [Verdict::Resumed { .. }]));
    assert!(matches!(verdicts(&mut world, resume())[..], [Verdict::AlreadyOnline { .. }]));
    assert_eq!((row(&world).state, row(&world).detail), (InstanceState::Online, None));
    all_is_well(&world);
}

#[test]
fn a_full_disk_keeps_nobody_from_pausing() {
    let mut world = world_with(spec("web"));
    world.disk_refuses = true;
    assert!(matches!(verdicts(&mut world, pause())[..], [Verdict::Paused { .. }]));
    assert!(matches!(verdicts(&mut world, resume())[..], [Verdict::Resumed { .. }]));
    all_is_well(&world);
}

#[test]
fn a_paused_app_that_is_stopped_runs_its_handler() {
    let mut world = paused(Program::steady());
    let order = world.order(stop(), None);
    world.secs(1);
    assert_eq!(outcome(&world, order), [Verdict::Stopped], "within its grace, not after it");
    assert_eq!(row(&world).last_exit.expect("a record").0.status, ExitStatus::Code(0));
    all_is_well(&world);
}

#[test]
fn restart_replaces_what_is_paused_and_start_lets_it_go_on() {
    let mut world = paused(Program::steady());
    let run = row(&world).run;
    assert!(matches!(verdicts(&mut world, start())[..], [Verdict::Resumed { .. }]));
    assert_eq!(row(&world).run, run, "the same run");
    verdicts(&mut world, pause());
    assert!(matches!(verdicts(&mut world, restart())[..], [Verdict::Restarted { .. }]));
    assert_ne!(row(&world).run, run);
    verdicts(&mut world, pause());
    assert_eq!(verdicts(&mut world, delete()), [Verdict::Deleted]);
    all_is_well(&world);
}

#[test]
fn what_cannot_be_frozen_is_admitted_after_five_seconds() {
    let mut world = world();
    next_runs(&mut world, [Program { freezes_after: Duration::from_secs(20), ..Program::steady() }]);
    world.order(create(spec("web")), None);
    world.secs(1);
    let late = Verdict::Pending { state: InstanceState::Online, detail: Some(Detail::Freezing) };
    let order = world.order(pause(), None);
    world.pass(Duration::from_millis(5_100));
    assert_eq!(outcome(&world, order), [late]);
    world.secs(20);
    assert_eq!(row(&world).state, InstanceState::Paused, "the order stands");
    all_is_well(&world);
}

#[test]
fn a_new_daemon_finds_what_is_paused_and_what_was_being_paused() {
    let mut world = paused(Program::steady());
    world.kill_daemon();
    world.secs(45);
    assert_eq!(row(&world).state, InstanceState::Paused);
    assert!(matches!(verdicts(&mut world, resume())[..], [Verdict::Resumed { .. }]));
    world.order(pause(), None);
    world.kill_daemon();
    world.secs(45);
    assert_eq!(row(&world).state, InstanceState::Paused);
    assert_eq!(verdicts(&mut world, stop()), [Verdict::Stopped]);
    all_is_well(&world);
}

#[test]
fn keeping_apps_keeps_them_paused_and_a_shutdown_ends_them() {
    for keep_apps in [true, false] {
        let mut world = paused(Program::steady());
        world.order(Order::Shutdown { keep_apps }, None);
        world.secs(1);
        assert_eq!(world.quit, Some(keep_apps));
        assert_eq!(world.kernel.live_of(WEB_0).filter(|run| run.frozen).count(), usize::from(keep_apps));
        all_is_well(&world);
    }
}

#[test]
fn a_wait_for_online_waits_until_it_is_resumed() {
    let mut world = paused(Program::steady());
    let wait = world.order(Order::Wait { targets: web(), until: Desired::Up }, None);
    world.secs(2);
    assert!(!world.answers.contains_key(&wait));
    verdicts(&mut world, resume());
    assert!(matches!(outcome(&world, wait)[..], [Verdict::Started { .. }]));
    all_is_well(&world);
}

#[test]
fn only_what_is_online_is_paused() {
    let mut world = world_with(spec("web"));
    verdicts(&mut world, stop());
    assert_eq!(verdicts(&mut world, pause()), [Verdict::Failed("not running".into())]);
    assert_eq!(verdicts(&mut world, resume()), [Verdict::Failed("not running".into())]);
    next_runs(&mut world, [Program { obeys: None, ..Program::steady() }]);
    world.order(start(), None);
    world.secs(1);
    world.order(stop(), None);
    let refused = world.order(pause(), None);
    assert_eq!(outcome(&world, refused), [Verdict::Failed("it is stopping, not online".into())]);
    all_is_well(&world);
}

#[test]
fn a_signal_to_what_is_paused_says_that_it_waits() {
    let mut world = paused(Program::steady());
    let usr1 = Order::Signal { targets: web(), signal: Signal::from_number(10).expect("a signal") };
    assert!(matches!(verdicts(&mut world, usr1)[..], [Verdict::Signalled { paused: true, .. }]));
    all_is_well(&world);
}

#[test]
fn a_paused_app_that_dies_is_an_exit_like_any_other_and_its_leftovers_are_let_go() {
    for kill_mode in [KillMode::Mixed, KillMode::Process] {
        let mut world = world();
        next_runs(&mut world, [Program { children: 2, ..Program::steady() }]);
        world.order(create(AppSpec { kill_mode, ..spec("web") }), None);
        world.secs(1);
        verdicts(&mut world, pause());
        let run = row(&world).run.expect("a run");
        world.killed_from_outside(run);
        world.secs(3);
        assert!(world.kernel.runs.values().all(|run| !run.freeze), "{kill_mode:?}");
        match kill_mode {
            KillMode::Mixed | KillMode::Cgroup => assert_eq!(row(&world).state, InstanceState::Online),
            KillMode::Process => assert_eq!(row(&world).detail, Some(Detail::MainExited { left: 2 })),
        }
        all_is_well(&world);
    }
}

#[test]
fn what_is_thawed_by_hand_is_not_called_paused() {
    let mut world = paused(Program::steady());
    world.thawed_by_hand();
    world.secs(1);
    assert_eq!(row(&world).state, InstanceState::Online);
    all_is_well(&world);
}
