//! Random days: orders at random moments, everything going wrong, then calm, then the question whether all is as it should be.
//!
//! Owns the script of a day, a function of its seed. It must not judge.

use crate::rng::Rng;
use crate::world::{Faults, World};
use opm::model::order::NewApp;
use opm::model::policy::{ErroredRetry, KillMode, RestartPolicy};
use opm::model::{
    AppId, AppSpec, ByteSize, Desired, EnvMap, InstanceStatus, LimitChange, Limits, Order, Signal, Span, Target,
};
use opm::supervise::{Effect, Supervisor};
use std::sync::Arc;
use std::time::Duration;

/// What did not hold, and what led there.
pub struct Broken {
    pub invariant: &'static str,
    pub how: String,
    pub story: String,
}

/// Lives through the day of this seed.
pub fn day(seed: u64) -> Result<(), Broken> {
    let mut world = World::new(seed);
    world.faults = match seed % 4 {
        // Every fourth day nothing goes wrong but the apps themselves: then policy is predicted to the millisecond.
        0 => Faults::default(),
        1 => Faults { late: 20, twice: 20, ..Faults::default() },
        _ => Faults { late: 15, twice: 15, death: 12, keeper_dies_too: 30, marks_lost: 8, reboot: 8 },
    };
    let orders = 20 + world.rng.below(25);
    for _ in 0..orders {
        let gap = match world.rng.below(4) {
            0 => Duration::ZERO,
            1 => world.rng.millis(100),
            2 => world.rng.millis(3_000),
            _ => world.rng.millis(45_000),
        };
        world.pass(gap);
        if world.rng.chance(8) {
            world.disk_refuses = !world.disk_refuses;
        }
        if world.watch.broken.is_some() {
            break;
        }
        if world.core.is_none() {
            continue;
        }
        give_order(&mut world);
        if world.rng.chance(2) && world.core.is_some() {
            world.thawed_by_hand();
        }
        if world.rng.chance(3) && world.core.is_some() {
            kill_one_that_is_frozen(&mut world);
        }
        if world.faults.death > 0 && world.rng.chance(3) && world.core.is_some() {
            world.kill_daemon();
        }
    }
    if world.watch.broken.is_none() {
        calm_evening(&mut world);
    }
    let story = world.story();
    world.watch.broken.map_or(Ok(()), |(invariant, how)| Err(Broken { invariant, how, story }))
}

/// Somebody's `kill -9`, or the kernel's for want of memory: it works on what is frozen, too.
fn kill_one_that_is_frozen(world: &mut World) {
    let frozen: Vec<_> = world.kernel.runs.values().filter(|run| run.frozen).map(|run| run.id).collect();
    if !frozen.is_empty() {
        let run = *world.rng.pick(&frozen);
        world.killed_from_outside(run);
    }
}

/// Nothing goes wrong any more: in the end everything is as it is wanted, and a daemon that is told to end does.
fn calm_evening(world: &mut World) {
    world.secs(3);
    world.calm_down();
    // Slow freezers are done by then. Where one could not be watched, somebody asks again.
    world.secs(25);
    pause_again(world);
    // Where limits could not be written, somebody asks for them again.
    let targets = everything(world);
    world.order(Order::Limit { targets, change: Box::default() }, None);
    // Errored instances are tried within a minute, what the disk refused within another; ladders and backoffs are shorter.
    world.secs(200);
    let core = world.core.take();
    if let Some(core) = &core {
        world.watch.at_rest(&world.kernel, &world.store, core);
    }
    world.core = core;
    if world.watch.broken.is_none() && world.core.is_some() {
        new_daemon_changes_nothing(world);
    }
    if world.watch.broken.is_none() {
        let keep_apps = world.rng.chance(30);
        let waits = world
            .rng
            .chance(50)
            .then(|| world.order(Order::Wait { targets: everything(world), until: Desired::Down }, None));
        if waits.is_some() {
            let added = new_app(&mut world.rng, 9);
            world.order(Order::Create { apps: vec![added], replace: true, update_env: false }, None);
        }
        world.order(Order::Shutdown { keep_apps }, None);
        world.secs(30);
        if world.quit != Some(keep_apps) && world.watch.broken.is_none() {
            world.watch.fail("a daemon that is told to end ends", format!("keep apps: {keep_apps}"));
        }
    }
    // The next one brings back what this one stopped.
    if world.watch.broken.is_none() {
        world.start_daemon();
        world.secs(200);
        let core = world.core.take();
        if let Some(core) = &core {
            world.watch.at_rest(&world.kernel, &world.store, core);
        }
        world.core = core;
    }
}

/// Pauses once more what is still being paused.
fn pause_again(world: &mut World) {
    let rows = world.core.as_ref().map(Supervisor::status).unwrap_or_default();
    let late = rows.iter().filter(|row| row.detail == Some(opm::model::state::Detail::Freezing));
    let targets: Vec<_> =
        late.map(|row| Target { app: row.instance.app, instance: Some(row.instance.index) }).collect();
    if !targets.is_empty() {
        world.order(Order::Pause { targets }, None);
    }
}

/// A daemon that starts when all is well does nothing, and shows the same.
fn new_daemon_changes_nothing(world: &mut World) {
    let rows = |core: &Supervisor| core.status().into_iter().map(shown).collect::<Vec<_>>();
    let before = world.core.as_ref().map(rows);
    world.kill_daemon();
    world.restart_at = None;
    let performed = world.effects.len();
    world.start_daemon();
    world.secs(1);
    // Nobody has told it which limits a run is under, so it writes them, and they are the same.
    let kept = |effect: &&Effect| !matches!(effect, Effect::Limit { .. } | Effect::WatchMemory { .. });
    if let Some(effect) = world.effects.iter().skip(performed).find(kept) {
        let how = format!("{effect:?}");
        world.watch.fail("adoption changes nothing", how);
    }
    let after = world.core.as_ref().map(rows);
    if before != after {
        world.watch.fail("adoption changes nothing", format!("{before:?}\n now {after:?}"));
    }
}

/// What must be the same before and after.
fn shown(row: InstanceStatus) -> impl PartialEq + std::fmt::Debug {
    // The counters of a run whose marks are lost are lost with them.
    let unknown = row.state == opm::model::InstanceState::Unknown;
    let counted = if unknown { (None, None) } else { (Some(row.generation), Some(row.restarts)) };
    (row.instance, row.desired, row.state, row.detail, row.run, row.pid, counted, row.next_attempt)
}

fn everything(world: &World) -> Vec<Target> {
    let all = world.core.iter().flat_map(|core| core.apps().map(|(id, _)| id).collect::<Vec<_>>());
    all.map(|app| Target { app, instance: None }).collect()
}

fn new_app(rng: &mut Rng, names: u64) -> NewApp {
    let name = format!("app{}", rng.below(names));
    let mut spec = AppSpec::new(name.parse().expect("a name"), "/bin/app".into(), "/".into());
    spec.instances = *rng.pick(&[1, 1, 1, 2, 3]);
    spec.args = vec![rng.pick(&["one", "one", "two"]).to_string().into()];
    spec.restart =
        *rng.pick(&[RestartPolicy::Always, RestartPolicy::Always, RestartPolicy::OnFailure, RestartPolicy::Never]);
    spec.kill_mode = *rng.pick(&[KillMode::Mixed, KillMode::Mixed, KillMode::Cgroup, KillMode::Process]);
    spec.stop_timeout = Span::millis(500 + rng.below(2_500));
    spec.max_restarts = *rng.pick(&[3, 5, 10, 100]);
    spec.restart_delay = rng.chance(10).then(|| Span::millis(700));
    spec.errored_retry =
        *rng.pick(&[ErroredRetry::default(), ErroredRetry::Every(Span::millis(10_000)), ErroredRetry::Never]);
    spec.stop_exit_codes = if rng.chance(30) { vec![7] } else { Vec::new() };
    spec.autostart = rng.chance(90);
    limits(rng).put_into(&mut spec);
    // The same name mostly means the same spec.
    if rng.chance(70) {
        let mut same = Rng::new(spec.name.as_str().bytes().map(u64::from).sum());
        let scaled = rng.chance(20).then_some(spec.instances);
        let mut again = new_spec_of(&mut same, &spec);
        if rng.chance(20) {
            limits(rng).put_into(&mut again);
        }
        return NewApp {
            spec: Arc::new(AppSpec { instances: scaled.unwrap_or(again.instances), ..again }),
            captured: env(rng),
        };
    }
    NewApp { spec: Arc::new(spec), captured: env(rng) }
}

/// The usual spec of a name.
fn new_spec_of(rng: &mut Rng, like: &AppSpec) -> AppSpec {
    let mut spec = AppSpec::new(like.name.clone(), "/bin/app".into(), "/".into());
    spec.instances = *rng.pick(&[1, 2]);
    spec.stop_timeout = Span::millis(1_000 + rng.below(2_000));
    spec.kill_mode = *rng.pick(&[KillMode::Mixed, KillMode::Cgroup, KillMode::Process]);
    spec.max_restarts = *rng.pick(&[4, 10, 100]);
    limits(rng).put_into(&mut spec);
    spec.backoff = rng.pick(&["100ms..15s", "100ms..500ms"]).parse().expect("a backoff");
    spec
}

fn limits(rng: &mut Rng) -> Limits {
    Limits {
        pids: *rng.pick(&[None, None, Some(10), Some(20)]),
        max_memory_restart: *rng.pick(&[None, Some(ByteSize(100)), Some(ByteSize(200))]),
        ..Limits::default()
    }
}

fn limit(world: &mut World) -> Order {
    let targets = targets(world);
    let asked = limits(&mut world.rng);
    let change = LimitChange {
        pids: world.rng.chance(60).then_some(asked.pids),
        max_memory_restart: world.rng.chance(60).then_some(asked.max_memory_restart),
        ..LimitChange::default()
    };
    Order::Limit { targets, change: Box::new(change) }
}

fn env(rng: &mut Rng) -> Arc<EnvMap> {
    let port = rng.pick(&["3000", "3000", "3001"]);
    Arc::new(EnvMap([("PORT".into(), (*port).into())].into()))
}

fn targets(world: &mut World) -> Vec<Target> {
    let known: Vec<(AppId, usize)> =
        world.core.iter().flat_map(|core| core.apps().map(|(id, app)| (id, app.instances.len()))).collect();
    if known.is_empty() || world.rng.chance(3) {
        return vec![Target { app: AppId(99), instance: None }];
    }
    if world.rng.chance(15) {
        return known.iter().map(|(app, _)| Target { app: *app, instance: None }).collect();
    }
    let (app, count) = *world.rng.pick(&known);
    let instance = world.rng.chance(30).then(|| world.rng.below(count as u64 + 1) as u32);
    vec![Target { app, instance }]
}

fn give_order(world: &mut World) {
    let key = world.rng.chance(40).then(|| format!("key{}", world.rng.next()));
    let captured = world.rng.chance(15).then(|| env(&mut world.rng));
    let lives = |run: &&crate::kernel::Run| run.lives() && !world.store.apps.contains_key(&run.instance.app);
    let forgotten = world.kernel.runs.values().find(lives).map(|run| (run.instance.app, run.name.clone()));
    let request = match world.rng.below(27) {
        // What is deleted and lives is worth a question more often than chance would have it.
        choice if choice % 2 == 0 && forgotten.is_some() => {
            let (app, name) = forgotten.expect("it is there");
            if world.rng.chance(40) {
                Order::Delete { targets: vec![Target { app, instance: None }] }
            } else {
                let mut added = new_app(&mut world.rng, 5);
                added.spec = std::sync::Arc::new(AppSpec { name, ..(*added.spec).clone() });
                Order::Create { apps: vec![added], replace: true, update_env: false }
            }
        }
        0..=4 => {
            let apps = (0..1 + world.rng.below(3)).map(|_| new_app(&mut world.rng, 5)).collect();
            Order::Create { apps, replace: world.rng.chance(60), update_env: world.rng.chance(15) }
        }
        5..=7 => Order::Start { targets: targets(world), captured, leave_running: world.rng.below(4) == 0 },
        8..=10 => Order::Stop { targets: targets(world) },
        11..=13 => Order::Restart { targets: targets(world), captured },
        14 => Order::Delete { targets: targets(world) },
        15 => Order::Signal { targets: targets(world), signal: Signal::from_number(10).expect("a signal") },
        16 => Order::Reset { targets: targets(world) },
        17 => {
            Order::Restore { apps: vec![(new_app(&mut world.rng, 5), *world.rng.pick(&[Desired::Up, Desired::Down]))] }
        }
        18..=20 => Order::Pause { targets: targets(world) },
        21 => Order::Resume { targets: targets(world) },
        22..=24 => limit(world),
        _ => Order::Wait { targets: targets(world), until: *world.rng.pick(&[Desired::Up, Desired::Down]) },
    };
    let order = world.order(request.clone(), key.as_deref());
    if world.rng.chance(5) && !world.answers.contains_key(&order) {
        world.abandon(order);
    }
    // Whoever pauses changes their mind, often at once.
    if let Order::Pause { targets } = &request
        && world.rng.chance(60)
    {
        for n in 0..1 + world.rng.below(4) {
            let gap = world.rng.millis(40);
            world.pass(gap);
            let targets = targets.clone();
            let again = if n % 2 == 0 { Order::Resume { targets } } else { Order::Pause { targets } };
            world.order(again, None);
        }
    }
    // Whoever restarts finds out that this was no good idea, on a disk that refuses, and the machine has its own.
    if let Order::Restart { targets, .. } = &request
        && world.rng.chance(50)
    {
        let targets = targets.clone();
        let gap = world.rng.millis(30);
        world.pass(gap);
        let refusing = world.rng.chance(30);
        let refuses = std::mem::replace(&mut world.disk_refuses, refusing);
        world.order(Order::Stop { targets: targets.clone() }, None);
        world.pass(gap);
        world.disk_refuses = refuses;
        if world.rng.chance(30) {
            world.order(Order::Start { targets, captured: None, leave_running: false }, None);
            world.pass(gap * 2);
        }
        if world.faults.death > 0 && world.rng.chance(40) && world.core.is_some() {
            world.kill_daemon();
        }
    }
    // The client's connection broke: it sends the order again, now or when it has happened.
    if key.is_some() && world.rng.chance(40) {
        let gap = if world.rng.chance(50) { world.rng.millis(20) } else { world.rng.millis(2_000) };
        world.pass(gap);
        world.order(request, key.as_deref());
    }
}
