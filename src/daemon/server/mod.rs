//! The API's server: HTTP/1.1 over the Unix socket that the keeper holds. Takes requests apart, asks the loop, answers.
//!
//! Owns connections and their bounds. It must not decide anything about apps. What a reader would get wrong: a connection
//! is dropped with its client, an order is not.

mod answers;
mod devices;
mod doctor;
mod document;
mod events;
mod logs;
mod orders;
mod peer;
mod reads;
mod reload;
mod spare;
mod stream;
mod upkeep;
mod why;

use super::handle::Handle;
use super::logs::pump::PumpHandle;
use super::reads::Meter;
use super::sharing::Sharing;
use crate::api::Problem;
use crate::config::Paths;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{DefaultBodyLimit, Request};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use peer::Peer;
pub(super) use spare::Spare;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

/// What a handler may use.
pub(super) struct Shared {
    pub(super) handle: Handle,
    pub(super) pump: PumpHandle,
    pub(super) meter: Meter,
    pub(super) paths: Paths,
    pub(super) keeper_pid: u32,
    pub(super) since: crate::model::Moment,
    /// Rings when the journal has grown.
    pub(super) journal: tokio::sync::watch::Receiver<u64>,
    /// Places for log streams.
    pub(super) streams: Arc<Semaphore>,
    /// Who else may speak to us.
    pub(super) sharing: Sharing,
    /// The path of the installed program.
    pub(super) program: std::path::PathBuf,
    /// How the daemon before us ended, if there was one.
    pub(super) before: Option<String>,
    /// The last order to let it take over, and how it came out.
    pub(super) reload: Option<crate::keeper::protocol::Reload>,
}

/// All the places for log streams.
pub(super) fn stream_places() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(STREAMS))
}

/// What a handler answers: the thing, or a problem with its HTTP status.
type Answered<T> = Result<axum::Json<T>, answers::Trouble>;

/// The largest body of a request: 10 MB of arguments, and room.
const BODY_MOST: usize = 64 << 20;
/// Connections at once. More wait in the listen backlog.
const CONNECTIONS: usize = 1024;
/// How long a client may take to say what it wants. Each connection carries one request, so this bounds idle ones too.
const HEADERS_WITHIN: Duration = Duration::from_secs(10);
/// And for the rest of it. Without this bound, as many half requests as there are places would lock everybody out for ever.
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// Log streams at once: they last as long as their clients like, so they get no more than this many of the places.
const STREAMS: usize = CONNECTIONS / 4;

/// Serves until the listener fails for good, which it does not.
pub(super) async fn serve(listener: UnixListener, spare: Spare, shared: Arc<Shared>) {
    let sharing = shared.sharing.clone();
    let router = router(shared);
    let spare = Arc::new(spare);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let own = rustix::process::geteuid().as_raw();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            // Out of descriptors: this one gets those that were kept for it.
            Err(_) if spare.give() => continue,
            // A connection that ends makes room, and until then trying again at once would only spin.
            Err(_) => {
                drop(place);
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let router = router.clone();
        let spare = spare.clone();
        let mut sharing = sharing.clone();
        tokio::spawn(async move {
            let Some(peer) = Peer::of(&stream) else { return };
            // The file mode says the same; this holds even if somebody opened the directory up.
            let is_let_in =
                peer.uid == own || peer.uid == 0 || sharing.group().await.is_some_and(|group| peer.is_in(group));
            if is_let_in {
                connection(stream, peer, router).await;
            } else {
                connection(stream, peer, Router::new().fallback(|| async { answers::forbidden() })).await;
            }
            // What it had is the next one's.
            let _ = spare.fill();
            drop(place);
        });
    }
}

async fn connection(stream: UnixStream, peer: Peer, router: Router) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.call(request)
    });
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .keep_alive(false)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/ping", get(reads::ping))
        .route("/v1/daemon", get(reads::daemon))
        .route("/v1/doctor", get(doctor::doctor))
        .route("/v1/instances", get(reads::instances))
        .route("/v1/apps", get(reads::apps).post(orders::create))
        .route("/v1/env", get(reads::env))
        .route("/v1/logs/flush", post(upkeep::flush))
        .route("/v1/logs/reopen", post(upkeep::reopen))
        .route("/v1/logs", get(logs::logs).post(logs::resume))
        .route("/v1/why", get(why::why))
        .route("/v1/events", get(events::events))
        .route("/v1/start", post(orders::start))
        .route("/v1/stop", post(orders::stop))
        .route("/v1/restart", post(orders::restart))
        .route("/v1/delete", post(orders::delete))
        .route("/v1/signal", post(orders::signal))
        .route("/v1/pause", post(orders::pause))
        .route("/v1/resume", post(orders::resume))
        .route("/v1/limit", post(orders::limit))
        .route("/v1/reset", post(orders::reset))
        .route("/v1/wait", post(orders::wait))
        .route("/v1/save", post(orders::save))
        .route("/v1/restore", post(orders::restore))
        .route("/v1/shutdown", post(orders::shutdown))
        .route("/v1/daemon/reload", post(reload::reload))
        .route("/v1/openapi.json", get(document::openapi))
        .fallback(|| async { answers::no_such_route() })
        .method_not_allowed_fallback(|| async { answers::no_such_route() })
        .layer(middleware::from_fn(whole))
        .layer(DefaultBodyLimit::disable())
        .with_state(shared)
}

/// Hands a request on when all of it has come; one that does not come in time, or is too large, goes no further.
async fn whole(request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let refused = |what: String| answers::bad_request(what).into_response();
    match tokio::time::timeout(BODY_WITHIN, to_bytes(body, BODY_MOST)).await {
        Ok(Ok(bytes)) => next.run(Request::from_parts(head, Body::from(bytes))).await,
        Ok(Err(_)) => refused(format!("the request broke off, or has more than {} MiB", BODY_MOST >> 20)),
        Err(_) => refused(format!("the request did not come to its end within {} s", BODY_WITHIN.as_secs())),
    }
}

/// Something blocking, off the loop.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|_| answers::internal("a worker thread failed"))
}
