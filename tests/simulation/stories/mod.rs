//! Stories: one rule each, told from the outside. In them nothing goes wrong but what the story says.
//!
//! Owns the words the stories are told in. It must not hold rules of its own.

mod adopting;
mod closing;
mod failing;
mod limiting;
mod pausing;
mod saving;
mod starting;
mod stopping;

use crate::kernel::Program;
use crate::world::World;
use opm::model::order::NewApp;
use opm::model::{AppId, AppSpec, EnvMap, InstanceId, InstanceStatus, Order, OrderId, Target, Verdict};
use std::sync::Arc;

/// A world in which programs run for ever and end when asked, unless told otherwise.
fn world() -> World {
    let mut world = World::new(7);
    world.calm = true;
    world
}

fn spec(name: &str) -> AppSpec {
    AppSpec::new(name.parse().expect("a name"), format!("/bin/{name}").into(), "/".into())
}

fn new(spec: AppSpec) -> NewApp {
    NewApp { spec: Arc::new(spec), captured: Arc::new(EnvMap::default()) }
}

fn create(spec: AppSpec) -> Order {
    Order::Create { apps: vec![new(spec)], replace: false, update_env: false }
}

fn replace(spec: AppSpec) -> Order {
    Order::Create { apps: vec![new(spec)], replace: true, update_env: false }
}

const WEB: AppId = AppId(0);
const WEB_0: InstanceId = InstanceId { app: WEB, index: 0 };

fn web() -> Vec<Target> {
    vec![Target { app: WEB, instance: None }]
}

fn start() -> Order {
    Order::Start { targets: web(), captured: None, leave_running: false }
}

fn stop() -> Order {
    Order::Stop { targets: web() }
}

fn restart() -> Order {
    Order::Restart { targets: web(), captured: None }
}

fn delete() -> Order {
    Order::Delete { targets: web() }
}

/// A world in which `web` runs.
fn world_with(spec: AppSpec) -> World {
    let mut world = world();
    world.order(create(spec), None);
    world.secs(2);
    world
}

/// What the next runs of `web` do, one after the other.
fn next_runs(world: &mut World, programs: impl IntoIterator<Item = Program>) {
    world.programs.entry("/bin/web".into()).or_default().extend(programs);
}

fn row(world: &World) -> InstanceStatus {
    let core = world.core.as_ref().expect("a daemon");
    core.status().into_iter().find(|row| row.instance == WEB_0).expect("web:0")
}

/// Gives the order, waits a while, and says what it came to.
fn verdicts(world: &mut World, order: Order) -> Vec<Verdict> {
    let order = world.order(order, None);
    world.secs(12);
    outcome(world, order)
}

fn outcome(world: &World, order: OrderId) -> Vec<Verdict> {
    let answer = world.answer(order).as_ref().expect("not refused");
    answer.iter().map(|outcome| outcome.verdict.clone()).collect()
}

/// No invariant was broken on the way.
fn all_is_well(world: &World) {
    if let Some((invariant, how)) = &world.watch.broken {
        panic!("{}\n'{invariant}' does not hold: {how}", world.story());
    }
}
