//! Limits that change while an app runs, and the memory mark.

use super::*;
use crate::kernel::Run;
use opm::model::{ByteSize, Cause, Event, Generation, LimitChange, MarkPassed, Refusal};
use opm::supervise::Effect;
use std::collections::VecDeque;
use std::time::Duration;

fn limit(pids: Option<u32>) -> Order {
    let change = LimitChange { pids: Some(pids), ..LimitChange::default() };
    Order::Limit { targets: web(), change: Box::new(change) }
}

fn marked(mark: u64) -> AppSpec {
    AppSpec { max_memory_restart: Some(ByteSize(mark)), ..spec("web") }
}

/// Passes memory.high so many times, a second apart, and holds so much then.
fn growing(held: impl IntoIterator<Item = u64>) -> Program {
    Program { grows: held.into_iter().map(|held| (Duration::from_secs(1), held)).collect(), ..Program::steady() }
}

fn live(world: &World) -> &Run {
    world.kernel.live_of(WEB_0).next().expect("it lives")
}

fn exits(world: &World) -> Vec<(Cause, Option<MarkPassed>, u32, u32)> {
    let exit = |event: &Event| match event {
        Event::Exited(record) => Some((record.cause, record.memory_mark, record.restarts, record.failures)),
        _ => None,
    };
    world.journal.iter().filter_map(|(_, event)| exit(event)).collect()
}

#[test]
fn a_limit_changes_under_what_runs_when_it_is_durable() {
    let mut world = world_with(AppSpec { instances: 2, ..spec("web") });
    let run = row(&world).run;
    let before = world.effects.len();
    let order = world.order(limit(Some(40)), Some("a"));
    world.secs(1);
    let outcomes = world.answer(order).clone().expect("not refused");
    assert!(outcomes.iter().all(|o| matches!(o.verdict, Verdict::Limited { pid: Some(_) })), "{outcomes:?}");
    assert!(outcomes.iter().all(|o| o.changes.as_deref() == Some("pids none -> 40")), "{outcomes:?}");
    assert_eq!((row(&world).run, row(&world).generation, live(&world).limits.pids), (run, Generation(1), Some(40)));
    let persist = world.effects[before..].iter().position(|e| matches!(e, Effect::Persist { .. }));
    let first = world.effects[before..].iter().position(|e| matches!(e, Effect::Limit { .. }));
    assert!(persist.is_some() && persist < first, "durable, then acted upon");
    // The same again says so, and writes nothing.
    let again = world.order(limit(Some(40)), Some("b"));
    world.secs(1);
    let outcomes = world.answer(again).clone().expect("not refused");
    assert!(outcomes.iter().all(|o| o.changes.is_none() && matches!(o.verdict, Verdict::Limited { pid: Some(_) })));
    assert_eq!(world.effects.iter().filter(|e| matches!(e, Effect::Limit { .. })).count(), 2);
    verdicts(&mut world, limit(None));
    assert_eq!((row(&world).run, live(&world).limits.pids), (run, None), "taken off");
    all_is_well(&world);
}

#[test]
fn a_limit_that_cannot_be_saved_is_not_applied() {
    let mut world = world_with(spec("web"));
    world.disk_refuses = true;
    let order = world.order(limit(Some(40)), None);
    world.secs(2);
    assert!(matches!(world.answer(order), Err(Refusal::NotSaved(_))));
    assert_eq!(live(&world).limits.pids, None);
    all_is_well(&world);
}

#[test]
fn a_file_in_which_only_limits_are_others_restarts_nothing() {
    let mut world = world_with(AppSpec { pids: Some(10), ..spec("web") });
    let run = row(&world).run;
    let told = verdicts(&mut world, replace(AppSpec { pids: Some(20), instances: 2, ..spec("web") }));
    assert!(matches!(told[..], [Verdict::Limited { pid: Some(_) }, Verdict::Started { .. }]), "{told:?}");
    assert_eq!((row(&world).run, live(&world).limits.pids), (run, Some(20)));
    let told = verdicts(&mut world, replace(AppSpec { pids: Some(30), nice: Some(1), ..spec("web") }));
    assert!(matches!(told[..], [Verdict::Restarted { .. }]), "another field is another matter: {told:?}");
    all_is_well(&world);
}

#[test]
fn what_does_not_run_gets_its_limits_with_its_next_run() {
    let mut world = world_with(spec("web"));
    verdicts(&mut world, stop());
    assert_eq!(verdicts(&mut world, limit(Some(5))), [Verdict::Limited { pid: None }]);
    verdicts(&mut world, start());
    assert_eq!(live(&world).limits.pids, Some(5));
    all_is_well(&world);
}

#[test]
fn a_limit_that_the_kernel_refuses_is_said_and_tried_again_when_somebody_asks() {
    let mut world = world_with(spec("web"));
    world.limits_refused = true;
    let told = verdicts(&mut world, limit(Some(40)));
    let [Verdict::Failed(why)] = &told[..] else { panic!("{told:?}") };
    assert!(why.starts_with("no such device; it is saved all the same"), "{why}");
    assert!(why.ends_with("'opm limit web --pids none' takes it off"), "{why}");
    let trouble = |(_, event): &(u32, Event)| matches!(event, Event::Trouble { message } if message.contains("web:0"));
    assert_eq!(world.journal.iter().filter(|line| trouble(line)).count(), 1);
    world.limits_refused = false;
    world.secs(100);
    assert_eq!(live(&world).limits.pids, None, "not by itself");
    assert!(matches!(verdicts(&mut world, limit(Some(40)))[..], [Verdict::Limited { pid: Some(_) }]));
    assert_eq!(live(&world).limits.pids, Some(40));
    all_is_well(&world);
}

#[test]
fn a_new_daemon_writes_limits_again_and_leaves_alone_what_never_had_any() {
    for (pids, expected) in [(Some(10), 1), (None, 0)] {
        let mut world = world_with(AppSpec { pids, ..spec("web") });
        let pid = row(&world).pid;
        world.kill_daemon();
        if pids.is_some() {
            // On systemd before 254 the controllers were taken off meanwhile.
            world.kernel.runs.values_mut().for_each(|run| run.limits.pids = None);
        }
        let before = world.effects.len();
        world.secs(60);
        assert_eq!((row(&world).pid, live(&world).limits.pids), (pid, pids));
        let limits = world.effects[before..].iter().filter(|e| matches!(e, Effect::Limit { .. })).count();
        assert_eq!(limits, expected);
        all_is_well(&world);
    }
}

#[test]
fn what_passes_its_memory_mark_is_replaced_and_that_is_no_failure() {
    let mut world = world();
    next_runs(&mut world, [growing([101]), growing([150])]);
    world.order(create(AppSpec { restart: opm::model::policy::RestartPolicy::Never, ..marked(100) }), None);
    world.secs(10);
    let passed = |seen| Some(MarkPassed { mark: 100, seen });
    assert_eq!(
        exits(&world),
        [(Cause::MemoryMark, passed(101), 1, 0), (Cause::MemoryMark, passed(150), 2, 0)],
        "it had its time to end, and was started again at once"
    );
    assert_eq!((row(&world).restarts, world.live(WEB_0)), (2, 1));
    all_is_well(&world);
}

#[test]
fn page_cache_above_the_mark_is_looked_at_less_and_less() {
    let mut world = world();
    next_runs(&mut world, [growing([90; 600])]);
    world.order(create(marked(100)), None);
    world.secs(600);
    let looks = world.effects.iter().filter(|e| matches!(e, Effect::WatchMemory { .. })).count();
    assert!((20..=26).contains(&looks), "{looks} looks at 600 events in 600 s");
    assert_eq!(row(&world).restarts, 0);
    all_is_well(&world);
}

#[test]
fn what_passed_its_mark_while_no_daemon_lived_is_noticed_by_the_next() {
    let mut world = world();
    next_runs(&mut world, [growing([200])]);
    world.order(create(marked(100)), None);
    world.pass(Duration::from_millis(500));
    world.kill_daemon();
    world.restart_at = None;
    world.secs(30);
    world.start_daemon();
    world.secs(10);
    assert!(matches!(exits(&world)[..], [(Cause::MemoryMark, ..)]), "{:?}", exits(&world));
    all_is_well(&world);
}

#[test]
fn a_daemon_that_dies_over_it_does_not_make_an_order_of_it() {
    let mut world = world();
    let slow = Program { obeys: Some(Duration::from_secs(5)), ..growing([200]) };
    next_runs(&mut world, [slow]);
    world.order(create(marked(100)), None);
    world.secs(3);
    assert_eq!(row(&world).state, opm::model::InstanceState::Stopping);
    world.kill_daemon();
    world.secs(60);
    assert!(matches!(exits(&world)[..], [(Cause::MemoryMark, Some(_), 1, 0)]), "{:?}", exits(&world));
    assert_eq!(row(&world).restarts, 1);
    all_is_well(&world);
}

#[test]
fn a_mark_set_below_what_it_holds_is_acted_upon_and_a_paused_app_waits_for_that() {
    let mut world = world();
    next_runs(&mut world, [Program { grows: VecDeque::from([(Duration::ZERO, 150)]), ..Program::steady() }]);
    world.order(create(marked(1_000)), None);
    world.secs(5);
    verdicts(&mut world, Order::Pause { targets: web() });
    let change = LimitChange { max_memory_restart: Some(Some(ByteSize(100))), ..LimitChange::default() };
    verdicts(&mut world, Order::Limit { targets: web(), change: Box::new(change) });
    assert_eq!(exits(&world), [], "it is paused, to be kept as it is");
    verdicts(&mut world, Order::Resume { targets: web() });
    assert!(matches!(exits(&world)[..], [(Cause::MemoryMark, ..)]));
    all_is_well(&world);
}

#[test]
fn a_mark_is_watched_although_other_limits_could_not_be_written() {
    for daemon_dies in [false, true] {
        let mut world = world();
        let grows = VecDeque::from([(Duration::from_secs(20), 150)]);
        next_runs(&mut world, [Program { grows, ..Program::steady() }]);
        world.order(create(marked(100)), None);
        world.secs(2);
        world.limits_refused = true;
        if daemon_dies {
            // The next one writes all of them again.
            world.kill_daemon();
        } else {
            assert!(matches!(verdicts(&mut world, limit(Some(40)))[..], [Verdict::Failed(_)]));
        }
        world.secs(60);
        assert!(matches!(exits(&world)[..], [(Cause::MemoryMark, ..)]), "{daemon_dies}: {:?}", exits(&world));
        all_is_well(&world);
    }
}
