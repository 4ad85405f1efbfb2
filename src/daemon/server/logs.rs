//! The log stream: last lines, then what is written from now on, as server-sent events.
//!
//! What a reader would get wrong: everything an app had written when the request came is in the answer, because the pump is
//! asked to move it into the files first. A client that does not read fills its own bounded channel and nothing else: nobody waits
//! for it on one of the few worker threads, which everybody's reads and apps with env files need. An app that comes later and is
//! meant is noticed by the journal growing, which it does when an app starts.

use super::answers::{Trouble, bad_request, problem};
use super::reads::{Asked, query};
use super::stream::{self, PIECE};
use super::{Shared, blocking, orders};
use crate::api::{LogLine, LogQuery, LogResume, LogStart, ProblemKind};
use crate::daemon::logs::follow::{Filter, Follow};
use crate::daemon::logs::pump::Command;
use crate::daemon::logs::reading::{Begin, Choice, Position, Reading, Wanted};
use crate::daemon::reads;
use crate::kernel::clock;
use axum::extract::State;
use axum::response::Response;
use hyper::body::Bytes;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

/// Log lines as they are and as they come.
#[utoipa::path(get, path = "/v1/logs", params(LogQuery), responses(
    (status = 200, description = "server-sent events: 'start', a LogStart; then each a LogLine", content_type = "text/event-stream", body = LogLine)))]
pub(super) async fn logs(State(shared): State<Arc<Shared>>, asked: Asked<LogQuery>) -> Result<Response, Trouble> {
    answer(shared, query(asked)?, None).await
}

/// Log lines from where another stream of them ended.
#[utoipa::path(post, path = "/v1/logs", request_body = LogResume, responses(
    (status = 200, description = "server-sent events: 'start', a LogStart; then each a LogLine", content_type = "text/event-stream", body = LogLine)))]
pub(super) async fn resume(State(shared): State<Arc<Shared>>, body: Bytes) -> Result<Response, Trouble> {
    let LogResume { query, from } = orders::body(&body)?;
    let parsed = from.into_iter().map(|(log, at)| at.parse().map(|at| (log, at)));
    answer(shared, query, Some(parsed.collect::<Result<_, _>>().map_err(bad_request)?)).await
}

/// One stream.
struct Stream {
    query: LogQuery,
    wanted: Wanted,
    from: Option<BTreeMap<String, Position>>,
    choice: Choice,
    follow: Option<Follow>,
    /// Rings when the journal has grown.
    ring: watch::Receiver<u64>,
    /// When it began: of logs that join, what is older is not told.
    began: u64,
    _place: OwnedSemaphorePermit,
}

async fn answer(
    shared: Arc<Shared>,
    query: LogQuery,
    from: Option<BTreeMap<String, Position>>,
) -> Result<Response, Trouble> {
    let wanted = Wanted::new(&query).map_err(bad_request)?;
    let Ok(place) = shared.streams.clone().try_acquire_owned() else {
        let message = "too many log streams are open at once";
        return Err(problem(ProblemKind::Refused, message, Some("end some of the 'opm logs' that follow")).into());
    };
    let began = clock::wall_micros();
    // Before the look at the apps: one that comes from here on rings.
    let mut ring = shared.journal.clone();
    ring.borrow_and_update();
    let choice = choice(&shared, &query).await??;
    let (told, flushed) = oneshot::channel();
    shared.pump.send(Command::Flush {
        done: Box::new(move || {
            let _ = told.send(());
        }),
    });
    let _ = flushed.await;
    let keys = choice.logs.iter().map(|chosen| Arc::clone(chosen.series.key()));
    let follow = query.follow.then(|| shared.pump.follow(Filter::Logs(keys.collect())));
    let (sender, answer) = stream::open();
    let stream = Stream { query, wanted, from, choice, follow, ring, began, _place: place };
    tokio::spawn(stream_to(sender, shared, stream));
    Ok(answer)
}

/// The logs that are meant by now.
async fn choice(shared: &Arc<Shared>, query: &LogQuery) -> Result<Result<Choice, crate::api::Problem>, Trouble> {
    let (select, stream) = (query.select.clone(), Wanted::stream(query));
    let asked = shared.handle.ask(move |view| reads::logs_of(view.core, &select)).await?;
    let shared = Arc::clone(shared);
    Ok(blocking(move || asked.and_then(|logs| logs.find(&shared.paths, stream))).await?)
}

/// Begins each log where it is asked to, and goes on as long as the client listens and wants to.
async fn stream_to(sender: mpsc::Sender<Bytes>, shared: Arc<Shared>, stream: Stream) {
    let Stream { query, wanted, from, choice: chosen, follow, mut ring, began, _place } = stream;
    let end = wanted.until();
    let (asked, listens) = (query.clone(), sender.clone());
    let begin = move || {
        // There may have been a queue to this point, and finding the last lines of a large file is work.
        let begin = from.as_ref().map_or(Begin::Asked(&asked), Begin::Resumed);
        // Part of a line cannot be searched for what the whole of it holds.
        let whole = asked.follow && asked.grep.is_some();
        Reading::begin(chosen, wanted, begin, whole, Box::new(move || !listens.is_closed()))
    };
    let Ok((mut reading, start)) = blocking(begin).await else { return };
    if sender.send(Bytes::from(event(Some("start"), &start))).await.is_err() {
        return;
    }
    let mut past = false;
    loop {
        let Ok((piece, back)) = blocking(move || (next_piece(&mut reading), reading)).await else { return };
        reading = back;
        if !piece.is_empty() {
            if sender.send(Bytes::from(piece)).await.is_err() {
                return;
            }
            continue;
        }
        let Some(follow) = follow.as_ref().filter(|_| !past) else { return };
        let grown = tokio::select! {
            grown = follow.grown() => grown,
            rung = ring.changed() => {
                if rung.is_err() {
                    return;
                }
                // That nothing is meant any more is no reason to end: it may come back.
                let Ok(Ok(chosen)) = choice(&shared, &query).await else { continue };
                let Ok((start, back)) = blocking(move || (reading.join(chosen, began), reading)).await else { return };
                reading = back;
                if let Some(start) = start && !joined(&sender, follow, &start).await {
                    return;
                }
                continue;
            }
            () = over(end) => {
                past = true;
                follow.grown_so_far()
            }
            () = sender.closed() => return,
        };
        let look = move || {
            reading.look(grown);
            reading
        };
        let Ok(back) = blocking(look).await else { return };
        reading = back;
    }
}

/// Tells of logs that joined; false: nobody listens.
async fn joined(sender: &mpsc::Sender<Bytes>, follow: &Follow, start: &LogStart) -> bool {
    follow.also(start.from.keys().map(|key| Arc::from(key.as_str())));
    sender.send(Bytes::from(event(Some("start"), start))).await.is_ok()
}

/// Waits until nothing that is wanted can come any more.
async fn over(until: Option<u64>) {
    match until {
        Some(until) => tokio::time::sleep(Duration::from_micros(until.saturating_sub(clock::wall_micros()))).await,
        None => std::future::pending().await,
    }
}

/// About a piece of what there is by now. Empty: that was all.
fn next_piece(reading: &mut Reading) -> Vec<u8> {
    let mut piece = Vec::with_capacity(PIECE);
    while piece.len() < PIECE {
        let Some(line) = reading.next() else { break };
        piece.extend(event(None, &line));
    }
    piece
}

/// One server-sent event.
fn event(name: Option<&str>, what: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(name) = name {
        out.extend_from_slice(format!("event: {name}\n").as_bytes());
    }
    out.extend_from_slice(b"data: ");
    if serde_json::to_writer(&mut out, what).is_err() {
        return Vec::new();
    }
    out.extend_from_slice(b"\n\n");
    out
}
