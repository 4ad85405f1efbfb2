//! Reads: the routes that change nothing. The loop is asked what it knows, the kernel is asked for the rest, off the loop.

use super::answers::{Trouble, internal};
use super::{Answered, Shared, blocking};
use crate::api::{AppEnv, AppInfo, DaemonStatus, INDENTED, Pong, Row};
use crate::daemon::clock_text;
use crate::daemon::reads::{self, Memory};
use crate::kernel::own_log;
use crate::model::state::When;
use axum::Json;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use std::sync::Arc;

type Context = State<Arc<Shared>>;

/// What most reads may be asked.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Selectors, comma separated; everything when absent.
    #[serde(default = "all")]
    pub(super) select: String,
    /// Without a memory controller, sum memory over processes instead of leaving it out.
    #[serde(default)]
    memory: bool,
}

fn all() -> String {
    "all".to_owned()
}

pub(super) type Asked<T> = Result<Query<T>, axum::extract::rejection::QueryRejection>;

/// The query, or what is wrong with it.
pub(super) fn query<T>(asked: Asked<T>) -> Result<T, Trouble> {
    asked.map(|Query(query)| query).map_err(|e| {
        super::answers::problem(
            crate::api::ProblemKind::BadRequest,
            format!("the query is wrong: {}", e.body_text()),
            None,
        )
        .into()
    })
}

/// Somebody is there.
#[utoipa::path(get, path = "/v1/ping", responses((status = 200, body = Pong)))]
pub(super) async fn ping() -> Json<Pong> {
    Json(Pong { version: env!("CARGO_PKG_VERSION").to_owned(), pid: std::process::id() })
}

/// The daemon itself.
#[utoipa::path(get, path = "/v1/daemon", responses((status = 200, body = DaemonStatus)))]
pub(super) async fn daemon(State(shared): Context) -> Answered<DaemonStatus> {
    let (keeper_pid, since, before) = (shared.keeper_pid, shared.since, shared.before.clone());
    let status = move |view: &crate::daemon::event_loop::View<'_>| {
        let (apps, instances) = view.core.apps().fold((0, 0), |(a, i), (_, app)| (a + 1, i + app.instances.len()));
        DaemonStatus {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            before,
            pid: std::process::id(),
            keeper_pid,
            since: clock_text::now().text(When::Moment(since)),
            cgroup_root: view.hands.runs.tree().root().display().to_string(),
            controllers: view.hands.runs.tree().controllers().enabled().to_vec(),
            apps,
            instances: u32::try_from(instances).unwrap_or(u32::MAX),
            log: match own_log::reader() {
                own_log::Reader::Journal => Some("journal".to_owned()),
                own_log::Reader::File(path) => Some(path.display().to_string()),
                own_log::Reader::Terminal | own_log::Reader::Other => None,
            },
            troubles: view.troubles.values().cloned().collect(),
        }
    };
    Ok(Json(shared.handle.ask(status).await?))
}

/// One row per instance.
#[utoipa::path(get, path = "/v1/instances", params(Which), responses((status = 200, body = Vec<Row>)))]
pub(super) async fn instances(
    State(shared): Context,
    headers: HeaderMap,
    which: Asked<Which>,
) -> Result<Response, Trouble> {
    let Which { select, memory } = query(which)?;
    let clocks = clock_text::now();
    let sketches = shared
        .handle
        .ask(move |view| reads::sketch(view.core, view.hands.runs.tree().root(), &select, clocks))
        .await??;
    let memory = if memory { Memory::Summed } else { Memory::Controller };
    let indented = headers.get(ACCEPT).is_some_and(|accept| accept == INDENTED);
    // As JSON there too: with thousands of rows that takes milliseconds, which are the loop's.
    let text = blocking(move || {
        let rows = shared.meter.finish(sketches, memory, clocks.moment).0;
        if indented { serde_json::to_vec_pretty(&rows) } else { serde_json::to_vec(&rows) }
    });
    let text = text.await?.map_err(|e| internal(&format!("failed to write the rows: {e}")))?;
    Ok(([(CONTENT_TYPE, "application/json")], text).into_response())
}

/// Everything about apps.
#[utoipa::path(get, path = "/v1/apps", params(Which), responses((status = 200, body = Vec<AppInfo>)))]
pub(super) async fn apps(State(shared): Context, which: Asked<Which>) -> Answered<Vec<AppInfo>> {
    let Which { select, memory: _ } = query(which)?;
    let clocks = clock_text::now();
    let infos = shared
        .handle
        .ask(move |view| reads::info_sketches(view.core, view.hands.runs.tree().root(), &select, clocks))
        .await??;
    let finished = blocking(move || reads::finish_info(infos, &shared.meter, &shared.paths, clocks.moment)).await?;
    Ok(Json(finished))
}

/// The environments of the next runs.
#[utoipa::path(get, path = "/v1/env", params(Which), responses((status = 200, body = Vec<AppEnv>)))]
pub(super) async fn env(State(shared): Context, which: Asked<Which>) -> Answered<Vec<AppEnv>> {
    let Which { select, memory: _ } = query(which)?;
    let chosen = shared.handle.ask(move |view| reads::chosen(view.core, &select)).await??;
    Ok(Json(blocking(move || reads::environments(chosen)).await?))
}
