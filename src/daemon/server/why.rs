//! Why things are as they are: the loop is asked what it knows, the rest is read and asked off the loop.

use super::answers::Trouble;
use super::reads::{Asked, Which, query};
use super::{Shared, answers, blocking, events};
use crate::api::Why;
use crate::daemon::why;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// How instances came to be as they are.
#[utoipa::path(get, path = "/v1/why", params(Which), responses((status = 200, body = Vec<Why>)))]
pub(super) async fn why(State(shared): State<Arc<Shared>>, which: Asked<Which>) -> Result<Response, Trouble> {
    let Which { select, .. } = query(which)?;
    let look = shared.handle.ask(move |view| why::look(view.core, view.hands.runs.tree().root(), &select)).await??;
    // The row may say what the journal does not hold yet; a moment later it does.
    events::written(&shared).await?;
    // Written out there as well: a thousand stories are megabytes, and the loop has others to answer.
    let answered = blocking(move || {
        let all = why::answer(look, &events::journal(&shared), &shared.meter)?;
        serde_json::to_vec(&all).map_err(|e| answers::internal(&format!("failed to write the answer: {e}")))
    });
    let json = answered.await?.map_err(Trouble::from)?;
    Ok(([(CONTENT_TYPE, "application/json")], json).into_response())
}
