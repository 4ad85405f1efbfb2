//! `GET /v1/doctor`: the daemon examines itself. The loop is asked what it knows; what waits for a disk is done off the loop.

use super::{Answered, Shared, blocking};
use crate::api::Examination;
use crate::daemon::doctor::{Inside, examine_inside, refusals};
use crate::daemon::event_loop::View;
use axum::Json;
use axum::extract::State;
use std::sync::Arc;

/// What works here, what does not, and what to do about it.
#[utoipa::path(get, path = "/v1/doctor", responses((status = 200, body = Examination)))]
pub(super) async fn doctor(State(shared): State<Arc<Shared>>) -> Answered<Examination> {
    let program = shared.program.clone();
    let inside = move |view: &View<'_>| {
        let tree = view.hands.runs.tree();
        let instances: usize = view.core.apps().map(|(_, app)| app.instances.len()).sum();
        Inside {
            root: tree.root().to_owned(),
            clones: !tree.by_hand(),
            enabled: tree.controllers().enabled().to_vec(),
            refused: refusals(|name| tree.controllers().check(name).map_err(|lacking| lacking.why)),
            instances: u64::try_from(instances).unwrap_or(u64::MAX),
            troubles: view.troubles.values().cloned().collect(),
            program,
        }
    };
    let inside = shared.handle.ask(inside).await?;
    Ok(Json(blocking(move || examine_inside(&shared.paths, Some(inside))).await?))
}
