//! The rows people see.
//!
//! Owns the translation of states into words. It must not change anything. What a reader would get wrong: `stopped` with
//! desired `up` is no contradiction; it is settled (`finished`), or about to be started.

use super::instance::{Instance, Rest, State};
use super::pause::Frost;
use super::supervisor::App;
use crate::model::state::{Detail, When};
use crate::model::{AppId, Desired, InstanceId, InstanceState, InstanceStatus, Ready};

/// A row for each instance that is wanted or lives.
pub(super) fn rows(id: AppId, app: &App) -> impl Iterator<Item = InstanceStatus> {
    let wanted = app.desired().map_or(0, |d| d.instances.len());
    app.instances
        .iter()
        .enumerate()
        .filter(move |(index, instance)| *index < wanted || !instance.is_gone())
        .map(move |(index, instance)| row(InstanceId::new(id, index as u32), app, instance))
}

fn row(id: InstanceId, app: &App, instance: &Instance) -> InstanceStatus {
    let wanted = app.desired().and_then(|d| d.instances.get(id.index as usize));
    let (state, detail) = words(instance);
    InstanceStatus {
        instance: id,
        desired: wanted.map_or(Desired::Down, |w| w.desired),
        state,
        detail,
        ready: Ready::None,
        run: instance.run().map(|run| run.id),
        pid: main_pid(instance),
        since: match &instance.state {
            State::Resting(_) => instance.last.as_ref().map(|(_, when)| *when),
            State::Starting(run) | State::Online { run, .. } => Some(When::Moment(run.started)),
            State::Stopping(ending) => Some(When::Moment(ending.since)),
            State::Unknown(_) => None,
        },
        generation: instance.run().map(|r| r.generation).or(wanted.map(|w| w.generation)).unwrap_or_default(),
        restarts: instance.counters.restarts,
        last_exit: instance.last.clone(),
        next_attempt: match instance.state {
            State::Resting(rest) => rest.deadline(),
            State::Starting(_) | State::Online { .. } | State::Stopping(_) | State::Unknown(_) => None,
        },
    }
}

/// The state of an instance, and why it is so.
pub(super) fn words(instance: &Instance) -> (InstanceState, Option<Detail>) {
    let cannot_start = || {
        let failure = instance.last.as_ref().and_then(|(record, _)| record.failure.clone());
        failure.map(Detail::CannotStart)
    };
    match &instance.state {
        // Another run is still on its way down; that is what keeps this one from starting.
        State::Resting(_) if !instance.extras.is_empty() => {
            (InstanceState::Stopping, instance.extras.first().and_then(|e| e.detail()))
        }
        State::Resting(Rest::Idle) => (InstanceState::Stopped, None),
        State::Resting(Rest::Finished(_)) => (InstanceState::Stopped, Some(Detail::Finished)),
        State::Resting(Rest::Backoff(..)) => (InstanceState::Backoff, cannot_start()),
        State::Resting(Rest::Errored(..)) => (InstanceState::Errored, cannot_start()),
        State::Starting(_) => (InstanceState::Starting, None),
        State::Online { frost, .. } => match frost {
            Frost::Thawed => (InstanceState::Online, None),
            Frost::Freezing { .. } => (InstanceState::Online, Some(Detail::Freezing)),
            Frost::Frozen { .. } => (InstanceState::Paused, None),
            Frost::Thawing { .. } => (InstanceState::Online, Some(Detail::Thawing)),
        },
        State::Stopping(ending) => (InstanceState::Stopping, ending.detail()),
        State::Unknown(_) => (InstanceState::Unknown, Some(Detail::Unmarked)),
    }
}

/// The main process, while it lives.
pub(super) fn main_pid(instance: &Instance) -> Option<u32> {
    match &instance.state {
        State::Online { pid, .. } => Some(*pid),
        State::Stopping(ending) => match ending.main {
            super::ladder::Main::Alive(pid) => Some(pid),
            super::ladder::Main::Unborn
            | super::ladder::Main::Gone
            | super::ladder::Main::Unmarked
            | super::ladder::Main::Exited(_) => None,
        },
        State::Resting(_) | State::Starting(_) | State::Unknown(_) => None,
    }
}
