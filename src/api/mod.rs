//! The words that clients and the daemon both speak: requests, answers, streams. HTTP/1.1 with JSON over a Unix socket.
//!
//! Owns the shapes on the wire and nothing else: it must not open a socket or decide anything. Fields are only ever added;
//! a client ignores fields it does not know, the daemon refuses them in requests.
//!
//! | route | body | answer |
//! |---|---|---|
//! | `GET /v1/ping` | | [`Pong`] |
//! | `GET /v1/daemon` | | [`DaemonStatus`] |
//! | `GET /v1/doctor` | | [`Examination`] |
//! | `GET /v1/instances?select=` | | `[`[`Row`]`]` |
//! | `GET /v1/apps?select=` | | `[`[`AppInfo`]`]` |
//! | `GET /v1/env?select=` | | `[`[`AppEnv`]`]` |
//! | `GET /v1/logs?select=` | | server-sent events: a [`LogStart`], then each a [`LogLine`] |
//! | `POST /v1/logs` | [`LogResume`] | the same, from where another ended |
//! | `POST /v1/logs/flush` | [`FlushRequest`] | [`FlushAnswer`] |
//! | `POST /v1/logs/reopen` | | [`ReopenAnswer`] |
//! | `GET /v1/why?select=` | | `[`[`Why`]`]` |
//! | `GET /v1/events?select=&since=` | | server-sent events, each an [`EventLine`]; their `id` is its cursor |
//! | `POST /v1/apps` | [`CreateRequest`] | [`OrderAnswer`] |
//! | `POST /v1/{start,stop,restart,delete,signal,pause,resume,limit,reset,wait}` | [`TargetRequest`] | [`OrderAnswer`] |
//! | `POST /v1/save` | | [`SaveAnswer`] |
//! | `POST /v1/restore` | | [`OrderAnswer`] |
//! | `POST /v1/shutdown` | [`ShutdownRequest`] | [`OrderAnswer`] |
//! | `POST /v1/daemon/reload` | [`ReloadRequest`] | [`ReloadAnswer`] |
//! | `GET /v1/openapi.json` | | OpenAPI 3.1 |
//!
//! Orders may carry the header [`ORDER_KEY`]; the same order sent again with the same key changes nothing twice. Rows come indented
//! to whoever accepts [`INDENTED`].
//! Failures are a [`Problem`]: 400 wrong request, 403 not the owner, 404 no such app, 409 refused, 503 on its way out.

mod doctor;
mod event;
mod log;
mod log_upkeep;
mod order;
mod reload;
mod row;
mod why;

pub use doctor::{Check, DOCTOR_VERSION, Doctor, Examination, Verdict};
pub use event::{
    AppRef, By, EVENT_VERSION, EventLine, EventQuery, Exit, Happening, MemoryMark, OrderBody, Used, Whose,
};
pub use log::{LogLine, LogQuery, LogResume, LogStart, LogStream};
pub use log_upkeep::{FlushAnswer, FlushRequest, ReopenAnswer};
pub use order::{
    CreateRequest, DifferenceBody, OrderAnswer, OutcomeBody, Problem, ProblemKind, SaveAnswer, ShutdownRequest,
    TargetRequest, Until, Word,
};
pub use reload::{CheckReport, ReloadAnswer, ReloadRequest};
pub use row::{AppEnv, AppInfo, DaemonStatus, EnvSource, EnvVar, InForce, LastExit, Pong, Row};
pub use why::{Because, ExitAt, Failures, Now, OrderAt, Policy, Process, StartedBecause, Why};

/// The request header that names an order, so that it can be sent again after a broken connection.
pub const ORDER_KEY: &str = "opm-order-key";
/// The `Accept` of whoever wants rows indented, as people read them, to hand them on as they are.
pub const INDENTED: &str = "application/json;indent=2";
