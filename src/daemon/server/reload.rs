//! The installed program takes over: it is asked first, then the daemon makes room, and the next one answers.
//!
//! What a reader would get wrong: the daemon that gets this order never answers it, unless it refuses. Its connection ends with it,
//! the client sends the order again with the same key, and whoever serves by then knows from the keeper how it came out.

use super::answers::{Trouble, problem};
use super::orders::{body, key};
use super::peer::Peer;
use super::{Answered, Shared, blocking};
use crate::api::{ProblemKind, ReloadAnswer, ReloadRequest};
use crate::daemon::check;
use crate::daemon::handle::Mail;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::{Extension, Json};
use std::sync::Arc;

const OURS: &str = env!("CARGO_PKG_VERSION");

/// Lets the installed program take over, without touching any app.
#[utoipa::path(post, path = "/v1/daemon/reload", request_body = ReloadRequest, responses((status = 200, body = ReloadAnswer)))]
pub(super) async fn reload(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Answered<ReloadAnswer> {
    let request: ReloadRequest = body(&bytes)?;
    let key = key(&headers)?;
    let pid = std::process::id();
    let apps = apps(&shared).await?;
    if let Some(done) = shared.reload.as_ref().filter(|done| key.as_ref().is_some_and(|key| key.0 == done.key)) {
        if done.failure.is_empty() {
            return Ok(Json(ReloadAnswer {
                from: done.from.clone(),
                version: OURS.to_owned(),
                pid,
                apps,
                // Above all what it makes of its configuration.
                troubles: shared.handle.ask(|view| view.troubles.values().cloned().collect()).await?,
            }));
        }
        let message = format!("the installed program could not take over: {}; opm {OURS} serves on", done.failure);
        return Err(refused(message));
    }
    let (program, state) = (shared.program.clone(), shared.paths.state.clone());
    let report = blocking(move || check::ask(&program, &state)).await?.map_err(refused)?;
    if request.check {
        let troubles = report.troubles;
        return Ok(Json(ReloadAnswer {
            from: OURS.to_owned(),
            version: report.version,
            pid,
            apps: report.apps,
            troubles,
        }));
    }
    let Some(key) = key else {
        return Err(
            problem(ProblemKind::BadRequest, "a reload needs a key, by which its outcome is asked", None).into()
        );
    };
    shared.handle.send(Mail::HandOver { key, by: peer.asker() });
    // Until the connection ends with this process.
    std::future::pending().await
}

fn refused(message: String) -> Trouble {
    problem(ProblemKind::Refused, message, Some("no app was touched")).into()
}

async fn apps(shared: &Shared) -> Result<usize, Trouble> {
    Ok(shared.handle.ask(|view| view.core.apps().count()).await?)
}
