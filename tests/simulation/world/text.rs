//! Orders and effects, short enough to be read when a day went wrong.

use opm::model::exit::Sequel;
use opm::model::{Event, Order};
use opm::supervise::Effect;

pub(super) fn brief(request: &Order) -> String {
    let named = |new: &opm::model::order::NewApp| {
        let spec = &new.spec;
        format!("{} x{} {:?} {:?} {:?}", spec.name, spec.instances, spec.args, spec.restart, spec.kill_mode)
    };
    match request {
        Order::Create { apps, replace, update_env } => {
            let apps: Vec<_> = apps.iter().map(named).collect();
            format!("Create {apps:?} replace {replace} update_env {update_env}")
        }
        Order::Restore { apps } => {
            let apps: Vec<_> = apps.iter().map(|(new, desired)| (named(new), desired)).collect();
            format!("Restore {apps:?}")
        }
        other => format!("{other:?}"),
    }
}

pub(super) fn short(effect: &Effect) -> String {
    match effect {
        Effect::Spawn(spawn) => {
            format!("Spawn run {} of {} generation {}", spawn.run.0, spawn.instance, spawn.generation.0)
        }
        Effect::Persist { write, change } => {
            let put: Vec<_> = change.put.iter().map(|(id, app)| (id.0, app.instances.clone())).collect();
            format!("Persist {} put {put:?} removed {:?}", write.0, change.removed)
        }
        Effect::Record(Event::Exited(record)) => {
            let by_itself = !matches!(record.sequel, Sequel::Down | Sequel::Replaced);
            format!(
                "Record exit of run {} {:?} {:?} by itself {by_itself} then {:?}",
                record.run.0, record.status, record.cause, record.sequel
            )
        }
        other => format!("{other:?}"),
    }
}
