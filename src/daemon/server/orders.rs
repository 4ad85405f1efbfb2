//! Orders: the routes that change something. Each becomes one letter to the loop, and is answered when it has happened.

use super::answers::{self, Trouble, problem};
use super::peer::Peer;
use super::{Answered, Shared, blocking, devices};
use crate::api::{
    CreateRequest, ORDER_KEY, OrderAnswer, ProblemKind, SaveAnswer, ShutdownRequest, TargetRequest, Until,
};
use crate::config::asked;
use crate::daemon::handle::{Ask, Verb};
use crate::daemon::store::dump;
use crate::kernel::user;
use crate::model::{Desired, LimitChange, NewApp, OrderKey};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::{Extension, Json};
use serde::de::DeserializeOwned;
use std::sync::Arc;

type Context = State<Arc<Shared>>;
type From = Extension<Peer>;

/// A body of JSON, or of nothing where nothing need be said.
pub(super) fn body<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, Trouble> {
    let text: &[u8] = if bytes.is_empty() { b"{}" } else { bytes };
    serde_json::from_slice(text)
        .map_err(|e| problem(ProblemKind::BadRequest, format!("the request's body is wrong: {e}"), None).into())
}

/// What the client calls its order.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<OrderKey>, Trouble> {
    let Some(value) = headers.get(ORDER_KEY) else { return Ok(None) };
    match value.to_str() {
        Ok(text) if (1..=64).contains(&text.len()) => Ok(Some(OrderKey(text.to_owned()))),
        Ok(_) | Err(_) => {
            Err(problem(ProblemKind::BadRequest, format!("{ORDER_KEY} is not 1 to 64 printable characters"), None)
                .into())
        }
    }
}

async fn ask(shared: &Shared, peer: Peer, headers: &HeaderMap, ask: Ask) -> Answered<OrderAnswer> {
    answers::order(shared.handle.order(key(headers)?, peer.asker(), ask).await?)
}

/// Adds apps, all or none, and starts them.
#[utoipa::path(post, path = "/v1/apps", request_body = CreateRequest, responses((status = 200, body = OrderAnswer)))]
pub(super) async fn create(
    State(shared): Context,
    Extension(peer): From,
    headers: HeaderMap,
    bytes: Bytes,
) -> Answered<OrderAnswer> {
    let CreateRequest { apps, captured, replace, update_env } = body(&bytes)?;
    let apps: Vec<NewApp> =
        apps.into_iter().map(|spec| NewApp { spec: Arc::new(spec), captured: captured.clone() }).collect();
    if apps.iter().any(|a| a.spec.instances == 0) {
        return Err(problem(ProblemKind::BadRequest, "an app needs at least one instance", None).into());
    }
    for app in &apps {
        asked::logs::check(&app.spec).map_err(|mistake| {
            let message = format!("app '{}': {mistake}", app.spec.name);
            problem(ProblemKind::BadRequest, message, mistake.hint.as_deref())
        })?;
    }
    // User databases may be on the network, so they are asked here and not on the loop. The ids are looked up again at each
    // spawn; this is for the person who mistyped a name.
    let accounts: Vec<_> = apps.iter().map(|a| (a.spec.user.clone(), a.spec.group.clone())).collect();
    if accounts.iter().any(|(u, g)| u.is_some() || g.is_some()) {
        let checked = move || -> Result<(), String> {
            accounts
                .iter()
                .filter(|(u, g)| u.is_some() || g.is_some())
                .try_for_each(|(user, group)| user::account(user.as_deref(), group.as_deref()).map(drop))
        };
        blocking(checked).await?.map_err(|e| problem(ProblemKind::Refused, e, None))?;
    }
    devices::check(&shared, apps.iter().flat_map(|app| &app.spec.io_max)).await?;
    ask(&shared, peer, &headers, Ask::Create { apps, replace, update_env }).await
}

/// The routes that take targets, alike but for the verb.
macro_rules! target_routes {
    ($($doc:literal $path:literal $name:ident: $verb:expr),+ $(,)?) => {$(
        #[doc = $doc]
        #[utoipa::path(post, path = $path, request_body = TargetRequest, responses((status = 200, body = OrderAnswer)))]
        pub(super) async fn $name(State(shared): Context, Extension(peer): From, headers: HeaderMap, bytes: Bytes) -> Answered<OrderAnswer> {
            let request: TargetRequest = body(&bytes)?;
            let make: fn(&TargetRequest) -> Result<Verb, Trouble> = $verb;
            let verb = make(&request)?;
            if let Verb::Limit(change) = &verb {
                devices::check(&shared, change.io_max.iter().flatten()).await?;
            }
            ask(&shared, peer, &headers, Ask::Targets { verb, select: request.select }).await
        }
    )+};
}

target_routes! {
    "Starts what is down, restarts what is up." "/v1/start" start: |r| Ok(Verb::Start { captured: r.captured.clone(), leave_running: r.leave_running }),
    "Ends runs, and wants them down." "/v1/stop" stop: |_| Ok(Verb::Stop),
    "Ends runs and starts others." "/v1/restart" restart: |r| Ok(Verb::Restart(r.captured.clone())),
    "Ends apps and forgets them." "/v1/delete" delete: |_| Ok(Verb::Delete),
    "Sends a signal to main processes." "/v1/signal" signal: |r| r.signal.map(Verb::Signal).ok_or_else(|| problem(ProblemKind::BadRequest, "which signal is not said", None).into()),
    "Holds everything still by the freezer; nothing wanted changes." "/v1/pause" pause: |_| Ok(Verb::Pause),
    "Lets go of what is paused." "/v1/resume" resume: |_| Ok(Verb::Resume),
    "Changes what apps may use, at once: what runs is not restarted." "/v1/limit" limit: |r| match &r.limits {
        Some(change) if **change != LimitChange::default() => Ok(Verb::Limit(change.clone())),
        Some(_) | None => Err(problem(ProblemKind::BadRequest, "which limit is to change is not said", None).into()),
    },
    "Sets counters to zero." "/v1/reset" reset: |_| Ok(Verb::Reset),
    "Answers when it is so." "/v1/wait" wait: |r| Ok(Verb::Wait(match r.until {
        None | Some(Until::Online) => Desired::Up,
        Some(Until::Stopped) => Desired::Down,
    })),
}

/// Writes the dump.
#[utoipa::path(post, path = "/v1/save", responses((status = 200, body = SaveAnswer)))]
pub(super) async fn save(State(shared): Context) -> Answered<SaveAnswer> {
    let (told, done) = tokio::sync::oneshot::channel();
    let saved = shared
        .handle
        .ask(move |view| {
            let apps: Vec<_> = view.core.apps().map(|(_, app)| app.clone()).collect();
            let count = apps.len();
            view.hands.save(apps, Box::new(move |result| drop(told.send(result))));
            (count, view.hands.paths.state.join("dump.json").display().to_string())
        })
        .await?;
    match done.await {
        Ok(Ok(())) => Ok(Json(SaveAnswer { apps: u32::try_from(saved.0).unwrap_or(u32::MAX), path: saved.1 })),
        Ok(Err(e)) => Err(problem(ProblemKind::Refused, e, None).into()),
        Err(_) => Err(answers::internal("the store has ended").into()),
    }
}

/// Adds and starts what the dump holds.
#[utoipa::path(post, path = "/v1/restore", responses((status = 200, body = OrderAnswer)))]
pub(super) async fn restore(
    State(shared): Context,
    Extension(peer): From,
    headers: HeaderMap,
) -> Answered<OrderAnswer> {
    let state = shared.paths.state.clone();
    let (apps, trouble) = blocking(move || dump::load(&state)).await?.map_err(|e| {
        problem(ProblemKind::Refused, e, Some("'opm save' writes one; apps are back after a reboot without it"))
    })?;
    if let Some(trouble) = trouble {
        crate::daemon::log(&trouble);
    }
    ask(&shared, peer, &headers, Ask::Restore { apps }).await
}

/// Ends the daemon.
#[utoipa::path(post, path = "/v1/shutdown", request_body = ShutdownRequest, responses((status = 200, body = OrderAnswer)))]
pub(super) async fn shutdown(
    State(shared): Context,
    Extension(peer): From,
    headers: HeaderMap,
    bytes: Bytes,
) -> Answered<OrderAnswer> {
    let ShutdownRequest { keep_apps } = body(&bytes)?;
    ask(&shared, peer, &headers, Ask::Shutdown { keep_apps }).await
}
