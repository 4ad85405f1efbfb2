//! Orders about log files themselves: empty them, open them anew. The pump does it, as it alone writes there.
//!
//! What a reader would get wrong: a file that several instances write to is emptied for all of them, whoever was named.

use super::answers::{Trouble, problem};
use super::orders::body;
use super::{Answered, Shared, answers};
use crate::api::{FlushAnswer, FlushRequest, ProblemKind, ReopenAnswer};
use crate::config::Paths;
use crate::daemon::logs::place;
use crate::daemon::logs::pump::Command;
use crate::daemon::logs::series::Series;
use crate::daemon::reads;
use crate::model::{DesiredApp, Target};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Empties log files.
#[utoipa::path(post, path = "/v1/logs/flush", request_body = FlushRequest, responses((status = 200, body = FlushAnswer)))]
pub(super) async fn flush(State(shared): State<Arc<Shared>>, bytes: Bytes) -> Answered<FlushAnswer> {
    let FlushRequest { select } = body(&bytes)?;
    let select = if select.is_empty() { "all".to_owned() } else { select.join(",") };
    let chosen = shared.handle.ask(move |view| reads::chosen(view.core, &select)).await??;
    let (told, emptied) = oneshot::channel();
    shared.pump.send(Command::Empty {
        series: series(&shared.paths, &chosen),
        done: Box::new(move |emptied| {
            let _ = told.send(emptied);
        }),
    });
    let emptied = emptied.await.map_err(|_| ended())?.map_err(|e| problem(ProblemKind::Refused, e, None))?;
    Ok(Json(FlushAnswer { files: emptied.files, bytes: emptied.bytes }))
}

/// Opens log files anew, after another program moved them away.
#[utoipa::path(post, path = "/v1/logs/reopen", responses((status = 200, body = ReopenAnswer)))]
pub(super) async fn reopen(State(shared): State<Arc<Shared>>) -> Answered<ReopenAnswer> {
    let (told, done) = oneshot::channel();
    shared.pump.send(Command::Reopen {
        done: Box::new(move || {
            let _ = told.send(());
        }),
    });
    done.await.map_err(|_| ended())?;
    Ok(Json(ReopenAnswer {}))
}

/// The logs of these, each once.
fn series(paths: &Paths, chosen: &[(Target, DesiredApp)]) -> Vec<Series> {
    let mut all = Vec::new();
    for (target, app) in chosen {
        let count = u32::try_from(app.instances.len()).unwrap_or(u32::MAX);
        for instance in (0..count).filter(|i| target.instance.is_none_or(|t| t == *i)) {
            for err in [false, true] {
                all.extend_from_slice(place::sink(paths, &app.spec, instance, err).files());
            }
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}

fn ended() -> Trouble {
    answers::internal("the log pump has ended").into()
}
