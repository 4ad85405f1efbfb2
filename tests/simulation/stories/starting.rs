//! Stories of starting: names, generations, orders sent again.

use super::*;
use opm::model::{Generation, InstanceState, OrderKey, Refusal};

#[test]
fn the_same_spec_again_is_already_online_and_fifty_at_once_are_one() {
    let mut world = world();
    let orders: Vec<_> = (0..50).map(|_| world.order(create(spec("web")), None)).collect();
    world.secs(1);
    for order in orders {
        assert!(matches!(outcome(&world, order)[..], [Verdict::Started { .. }]));
    }
    assert!(matches!(verdicts(&mut world, create(spec("web")))[..], [Verdict::AlreadyOnline { .. }]));
    assert_eq!((world.kernel.runs.len(), world.store.apps.len()), (1, 1));
    all_is_well(&world);
}

#[test]
fn a_taken_name_is_refused_with_the_differences_unless_told_to_replace() {
    let mut world = world_with(spec("web"));
    let other = AppSpec { args: vec!["--fast".into()], ..spec("web") };
    let order = world.order(create(other.clone()), None);
    let Err(Refusal::NameTaken { differences, .. }) = world.answer(order) else { panic!("not refused") };
    assert_eq!((differences[0].field.as_str(), differences[0].asked.as_str()), ("args", "--fast"));
    assert!(matches!(verdicts(&mut world, replace(other))[..], [Verdict::Restarted { .. }]));
    assert_eq!(world.store.apps.keys().copied().collect::<Vec<_>>(), [WEB], "the id is kept");
    all_is_well(&world);
}

#[test]
fn scaling_leaves_the_others_alone() {
    let mut world = world_with(spec("web"));
    let before = row(&world).run;
    let got = verdicts(&mut world, replace(AppSpec { instances: 3, ..spec("web") }));
    assert!(matches!(got[..], [Verdict::AlreadyOnline { .. }, Verdict::Started { .. }, Verdict::Started { .. }]));
    verdicts(&mut world, replace(spec("web")));
    assert_eq!((row(&world).run, world.kernel.runs.len()), (before, 1));
    all_is_well(&world);
}

#[test]
fn five_restarts_in_a_row_leave_one_copy() {
    let mut world = world_with(spec("web"));
    let orders: Vec<_> = (0..5).map(|_| world.order(restart(), None)).collect();
    world.secs(5);
    for order in orders {
        assert!(matches!(outcome(&world, order)[..], [Verdict::Restarted { .. }]));
    }
    assert_eq!((world.live(WEB_0), row(&world).restarts), (1, 0), "orders do not count as restarts");
    all_is_well(&world);
}

#[test]
fn a_restart_sent_again_restarts_nothing() {
    let mut world = world_with(spec("web"));
    world.order(restart(), Some("k"));
    world.secs(1);
    let run = row(&world).run;
    let again = world.order(restart(), Some("k"));
    assert!(matches!(outcome(&world, again)[..], [Verdict::Restarted { .. }]));
    world.secs(1);
    assert_eq!(row(&world).run, run);
    assert_eq!(world.store.apps[&WEB].last_order, Some(OrderKey("k".into())));
    all_is_well(&world);
}

#[test]
fn one_instance_is_restarted_and_the_other_is_not() {
    let mut world = world_with(AppSpec { instances: 2, ..spec("web") });
    let targets = vec![Target { app: WEB, instance: Some(1) }];
    assert_eq!(verdicts(&mut world, Order::Restart { targets, captured: None }).len(), 1);
    let rows = world.core.as_ref().expect("a daemon").status();
    assert_eq!((rows[0].generation, rows[1].generation), (Generation(1), Generation(2)));
    let gone = world.order(Order::Stop { targets: vec![Target { app: WEB, instance: Some(2) }] }, None);
    assert!(matches!(world.answer(gone), Err(Refusal::Gone(_))));
    all_is_well(&world);
}

#[test]
fn what_cannot_be_executed_is_said_at_once_and_tried_again() {
    let mut world = world();
    next_runs(&mut world, [Program { unspawnable: true, ..Program::steady() }]);
    let order = world.order(create(spec("web")), None);
    world.secs(2);
    assert!(matches!(&outcome(&world, order)[..], [Verdict::Failed(why)] if why.contains("no such file")));
    assert_eq!((row(&world).state, row(&world).restarts), (InstanceState::Online, 1));
    all_is_well(&world);
}

#[test]
fn a_new_app_that_is_not_to_start_is_added_and_starts_when_told() {
    let mut world = world_with(AppSpec { autostart: false, ..spec("web") });
    assert_eq!((row(&world).state, world.kernel.runs.len()), (InstanceState::Stopped, 0));
    assert!(matches!(verdicts(&mut world, start())[..], [Verdict::Started { .. }]));
    all_is_well(&world);
}

#[test]
fn a_restore_adds_starts_what_is_down_and_changes_no_spec() {
    use opm::model::Desired;
    let mut world = world_with(spec("web"));
    verdicts(&mut world, stop());
    let dump = |web| Order::Restore { apps: vec![(new(web), Desired::Up), (new(spec("db")), Desired::Up)] };
    assert!(matches!(verdicts(&mut world, dump(spec("web")))[..], [Verdict::Started { .. }, Verdict::Started { .. }]));
    let got = verdicts(&mut world, dump(AppSpec { nice: Some(5), ..spec("web") }));
    assert!(matches!(got[..], [Verdict::Kept, Verdict::AlreadyOnline { .. }]), "{got:?}");
    assert_eq!((world.kernel.runs.len(), world.store.apps[&WEB].spec.nice), (2, None));
    all_is_well(&world);
}

/// The first command after a boot starts the daemon, which starts what is wanted up; "start web" must not restart it then.
#[test]
fn starting_may_leave_alone_what_runs() {
    let mut world = world_with(spec("web"));
    let before = row(&world).run;
    let gently = || Order::Start { targets: web(), captured: None, leave_running: true };
    assert!(matches!(verdicts(&mut world, gently())[..], [Verdict::AlreadyOnline { .. }]));
    assert_eq!(row(&world).run, before);
    verdicts(&mut world, stop());
    assert!(matches!(verdicts(&mut world, gently())[..], [Verdict::Started { .. }]));
    all_is_well(&world);
}
