//! Why things are as they are: the loop is asked what it knows, the rest is read and asked off the loop.

use super::answers::Trouble;
use super::reads::{Asked, Which, query};
use super::{Answered, Shared, blocking, events};
use crate::api::Why;
use crate::daemon::why;
use axum::Json;
use axum::extract::State;
use std::sync::Arc;

/// How instances came to be as they are.
#[utoipa::path(get, path = "/v1/why", params(Which), responses((status = 200, body = Vec<Why>)))]
pub(super) async fn why(State(shared): State<Arc<Shared>>, which: Asked<Which>) -> Answered<Vec<Why>> {
    let Which { select, .. } = query(which)?;
    let look = shared.handle.ask(move |view| why::look(view.core, view.hands.runs.tree().root(), &select)).await??;
    // The row may say what the journal does not hold yet; a moment later it does.
    events::written(&shared).await?;
    let answered = blocking(move || why::answer(look, &events::journal(&shared), &shared.meter)).await?;
    answered.map(Json).map_err(Trouble::from)
}
