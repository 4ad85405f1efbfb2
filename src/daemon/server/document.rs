//! The OpenAPI description, generated from the handlers and types themselves.

use super::{doctor, events, logs, orders, reads, reload, upkeep, why};
use axum::Json;
use utoipa::OpenApi;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "opm",
        description = "The opm daemon: HTTP over a Unix socket. Orders may carry the header opm-order-key; sent again with the same key, they change nothing twice."
    ),
    paths(
        reads::ping,
        reads::daemon,
        doctor::doctor,
        reads::instances,
        reads::apps,
        reads::env,
        logs::logs,
        upkeep::flush,
        upkeep::reopen,
        logs::resume,
        why::why,
        events::events,
        orders::create,
        orders::start,
        orders::stop,
        orders::restart,
        orders::delete,
        orders::signal,
        orders::pause,
        orders::resume,
        orders::limit,
        orders::reset,
        orders::wait,
        orders::save,
        orders::restore,
        orders::shutdown,
        reload::reload,
    ),
    components(schemas(crate::api::Problem))
)]
struct Document;

pub(super) async fn openapi() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}
