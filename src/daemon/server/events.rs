//! The event stream: what is in the journal, then what happens from now on, as server-sent events whose `id` is their cursor.
//!
//! What a reader would get wrong: events are read from the journal's files, never handed over by whoever caused them. So a slow
//! follower costs nothing, one that comes back with its cursor misses nothing and gets nothing twice, whichever daemon answers, and
//! one that was too slow for two rotations is told that there is a gap.

use super::answers::{Trouble, problem};
use super::reads::{Asked, query};
use super::stream::{self, PIECE};
use super::{Shared, blocking};
use crate::api::{EventLine, EventQuery, ProblemKind};
use crate::daemon::event_loop::View;
use crate::daemon::events::{self, Reading};
use crate::daemon::store::Command;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use hyper::body::Bytes;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// What a browser sends when it comes back.
const LAST_EVENT_ID: &str = "last-event-id";

/// Events as they were and as they come.
#[utoipa::path(get, path = "/v1/events", params(EventQuery), responses(
    (status = 200, description = "server-sent events, each an EventLine; their id is its cursor", content_type = "text/event-stream", body = EventLine)))]
pub(super) async fn events(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    asked: Asked<EventQuery>,
) -> Result<Response, Trouble> {
    let mut query = query(asked)?;
    if let Some(id) = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()) {
        query.since = Some(id.to_owned());
    }
    let Ok(place) = shared.streams.clone().try_acquire_owned() else {
        let message = "too many streams are open at once";
        let hint = "end some of the 'opm logs' and 'opm events' that follow";
        return Err(problem(ProblemKind::Refused, message, Some(hint)).into());
    };
    written(&shared).await?;
    let (journal, follow) = (journal(&shared), query.follow);
    let apps = |view: &View<'_>| view.core.apps().map(|(id, app)| (id, app.clone())).collect::<Vec<_>>();
    let apps = shared.handle.ask(apps).await?;
    let reading = blocking(move || {
        let apps: Vec<_> = apps.iter().map(|(id, app)| (*id, app)).collect();
        events::begin(&apps, &journal, &query)
    })
    .await??;
    let (sender, answer) = stream::open();
    tokio::spawn(async move {
        stream_to(sender, &shared, reading, follow).await;
        drop(place);
    });
    Ok(answer)
}

/// Where the journal is.
pub(super) fn journal(shared: &Shared) -> PathBuf {
    shared.paths.state.join("events")
}

/// Until everything that happened so far is in the journal: whoever asks after an order is told of that order.
pub(super) async fn written(shared: &Shared) -> Result<(), Trouble> {
    let (tell, told) = oneshot::channel();
    let barrier = Command::Barrier(Box::new(move || {
        let _ = tell.send(());
    }));
    shared.handle.ask(move |view| view.hands.store.send(barrier)).await?;
    let _ = told.await;
    Ok(())
}

async fn stream_to(sender: mpsc::Sender<Bytes>, shared: &Shared, mut reading: Reading, follow: bool) {
    let mut bell = shared.journal.clone();
    loop {
        // Before the look at the files: what is written from here on rings again.
        bell.borrow_and_update();
        let read = blocking(move || {
            let end = reading.read();
            (reading, end)
        });
        let Ok((back, end)) = read.await else { return };
        reading = back;
        let end = match end {
            Ok(end) => end,
            Err(e) => return crate::daemon::log(&e),
        };
        if reading.lacks_names()
            && let Ok(known) = shared.handle.ask(|view| events::known(view.core.apps())).await
        {
            reading.names.learn(known);
        }
        let told = blocking(move || {
            let lines = reading.tell(end);
            (reading, lines)
        });
        let Ok((back, lines)) = told.await else { return };
        reading = back;
        let mut piece = Vec::new();
        for line in &lines {
            event(line, &mut piece);
            if piece.len() >= PIECE && sender.send(Bytes::from(std::mem::take(&mut piece))).await.is_err() {
                return;
            }
        }
        // What was passed over counts as seen, too: whoever comes back need not begin before it. And one that was told nothing
        // at all knows where it stands.
        let cursor = reading.cursor().to_string();
        if end && follow && lines.last().is_none_or(|line| line.cursor != cursor) {
            piece.extend_from_slice(format!("id: {cursor}\n\n").as_bytes());
        }
        if !piece.is_empty() && sender.send(Bytes::from(piece)).await.is_err() {
            return;
        }
        if !end {
            continue;
        }
        if !follow {
            return;
        }
        tokio::select! {
            rung = bell.changed() => if rung.is_err() { return },
            () = sender.closed() => return,
        }
    }
}

/// One server-sent event.
fn event(line: &EventLine, out: &mut Vec<u8>) {
    let before = out.len();
    out.extend_from_slice(format!("id: {}\ndata: ", line.cursor).as_bytes());
    if serde_json::to_writer(&mut *out, line).is_err() {
        out.truncate(before);
        return;
    }
    out.extend_from_slice(b"\n\n");
}
