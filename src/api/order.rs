//! Orders, their answers, and failures on the wire.

use crate::model::{AppSpec, EnvMap, LimitChange, Signal};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// Add apps, all or none.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateRequest {
    /// The apps, each complete.
    #[schema(value_type = Vec<Object>)]
    pub apps: Vec<AppSpec>,
    /// The environment of whoever asks, already rid of what belongs to the login session; kept for all of these apps.
    #[schema(value_type = Object)]
    pub captured: Arc<EnvMap>,
    /// A different spec under a taken name replaces it instead of being refused.
    #[serde(default)]
    pub replace: bool,
    /// Apps that exist take this environment.
    #[serde(default)]
    pub update_env: bool,
}

/// Do something with apps that exist.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetRequest {
    /// Selectors, as people type them. Each may be a comma list.
    pub select: Vec<String>,
    /// With `signal`: which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub signal: Option<Signal>,
    /// With `start` and `restart`: the environment to take from now on. Absent: keep what was captured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub captured: Option<Arc<EnvMap>>,
    /// With `start`: leave alone what is up, instead of restarting it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub leave_running: bool,
    /// With `limit`: what changes. A field that is absent stays as it is, one that is null is taken off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub limits: Option<Box<LimitChange>>,
    /// With `wait`: until when. Absent: until online.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Until>,
}

/// What `wait` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Until {
    /// Online, and ready where readiness is asked for.
    Online,
    /// Nothing lives.
    Stopped,
}

/// End the daemon.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ShutdownRequest {
    /// Leave the apps running for the next daemon.
    #[serde(default)]
    pub keep_apps: bool,
}

/// What an order came to, once it has happened.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub struct OrderAnswer {
    /// One per instance; per app where nothing is per instance.
    pub outcomes: Vec<OutcomeBody>,
}

/// What happened, as a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// A run was started.
    Started,
    /// Its run was ended and another started.
    Restarted,
    /// It was running already.
    AlreadyOnline,
    /// Added, and not to be started yet.
    Added,
    /// It ran to its end, and policy asks for no successor.
    Finished,
    /// Its run was ended.
    Stopped,
    /// Nothing ran already.
    AlreadyStopped,
    /// It is forgotten.
    Deleted,
    /// The signal was sent.
    Signalled,
    /// Everything in it is held still.
    Paused,
    /// It was paused already.
    AlreadyPaused,
    /// It was paused, and goes on.
    Resumed,
    /// It is under the limits that its spec asks for; with no `pid`, nothing runs and they wait for the next run.
    Limited,
    /// Its counters are zero.
    Reset,
    /// It exists with another spec, and keeps it.
    Kept,
    /// It did not work; `message` says why.
    Failed,
    /// Accepted, not reached in time; `message` says how it stands.
    Pending,
    /// A later order took its place.
    Superseded,
}

/// What happened to one instance or app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OutcomeBody {
    /// The app's id.
    pub id: u32,
    /// The app's name.
    pub name: String,
    /// The instance's number; null where the whole app is meant.
    pub instance: Option<u32>,
    /// What happened.
    pub result: Word,
    /// The main process, where one lives.
    pub pid: Option<u32>,
    /// More, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What the order changed about its limits: `memory_max 512M -> 1G`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<String>,
    /// False: it happened but is not saved yet; it would not hold after a reboot.
    #[serde(default = "yes")]
    pub saved: bool,
}

fn yes() -> bool {
    true
}

/// `opm save` has written the dump.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SaveAnswer {
    /// How many apps it holds.
    pub apps: u32,
    /// Where it is.
    pub path: String,
}

/// A request that came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// What kind.
    pub kind: ProblemKind,
    /// What went wrong, naming the thing. Lower case, no full stop.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// With `name_taken`: the fields that differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<DifferenceBody>,
}

/// The kinds of problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProblemKind {
    /// The request is wrong in itself.
    BadRequest,
    /// The caller may not ask this daemon.
    Forbidden,
    /// Nothing matches the selector.
    NoSuchApp,
    /// The name is taken by an app with another spec.
    NameTaken,
    /// It cannot be done, and nothing of it was.
    Refused,
    /// The daemon is on its way out.
    ShuttingDown,
    /// The daemon's fault.
    Internal,
}

/// One field in which two specs differ, as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DifferenceBody {
    /// The field.
    pub field: String,
    /// As it is.
    pub now: String,
    /// As it was asked for.
    pub asked: String,
}
