//! The log stream: last lines, then what is written from now on, as server-sent events.
//!
//! What a reader would get wrong: everything an app had written when the request came is in the answer, because the pump is
//! asked to move it into the files first. A client that does not read fills its own bounded channel and nothing else: nobody waits
//! for it on one of the few worker threads, which everybody's reads and apps with env files need.

use super::answers::{Trouble, problem};
use super::reads::{Asked, query};
use super::stream::{self, PIECE};
use super::{Shared, blocking};
use crate::api::{LogLine, LogQuery, LogStream, ProblemKind};
use crate::daemon::logs::follow::{Filter, Follow};
use crate::daemon::logs::pump::Command;
use crate::daemon::logs::read::{Source, Tail};
use crate::daemon::reads;
use crate::model::{DesiredApp, Target};
use axum::extract::State;
use axum::response::Response;
use hyper::body::Bytes;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Log lines as they are and as they come.
#[utoipa::path(get, path = "/v1/logs", params(LogQuery), responses(
    (status = 200, description = "server-sent events, each a LogLine", content_type = "text/event-stream", body = LogLine)))]
pub(super) async fn logs(State(shared): State<Arc<Shared>>, asked: Asked<LogQuery>) -> Result<Response, Trouble> {
    let LogQuery { select, lines, follow, stream, .. } = query(asked)?;
    let lines = lines.unwrap_or(15);
    let Ok(place) = shared.streams.clone().try_acquire_owned() else {
        let message = "too many log streams are open at once";
        return Err(problem(ProblemKind::Refused, message, Some("end some of the 'opm logs' that follow")).into());
    };
    let chosen = shared.handle.ask(move |view| reads::chosen(view.core, &select)).await??;
    let sources = sources(&chosen, stream);
    let (told, flushed) = oneshot::channel();
    shared.pump.send(Command::Flush {
        done: Box::new(move || {
            let _ = told.send(());
        }),
    });
    let _ = flushed.await;
    let follow = follow.then(|| {
        let names = sources.iter().map(|s| Arc::from(file_name(&shared, s)));
        shared.pump.follow(Filter::Files(names.collect()))
    });
    let (sender, answer) = stream::open();
    tokio::spawn(async move {
        stream_to(sender, shared, sources, lines, follow).await;
        drop(place);
    });
    Ok(answer)
}

/// The files that are meant: of each instance, output then error.
pub(in crate::daemon) fn sources(chosen: &[(Target, DesiredApp)], stream: Option<LogStream>) -> Vec<Source> {
    let mut sources = Vec::new();
    for (target, app) in chosen {
        let count = u32::try_from(app.instances.len()).unwrap_or(u32::MAX);
        for instance in (0..count).filter(|i| target.instance.is_none_or(|t| t == *i)) {
            for which in [LogStream::Out, LogStream::Err] {
                if stream.is_none_or(|s| s == which) {
                    sources.push(Source { name: app.spec.name.to_string(), instance, stream: which });
                }
            }
        }
    }
    sources
}

fn file_name(shared: &Shared, source: &Source) -> String {
    let path = shared.paths.log_file(&source.name, source.instance, source.stream == LogStream::Err);
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Begins each file at its last lines, and goes on as long as the client listens and wants to.
async fn stream_to(
    sender: mpsc::Sender<Bytes>,
    shared: Arc<Shared>,
    sources: Vec<Source>,
    lines: u64,
    follow: Option<Follow>,
) {
    let listens = sender.clone();
    let begin = move || {
        // There may have been a queue to this point, and finding the last lines of a large file is work.
        if listens.is_closed() {
            return Vec::new();
        }
        let folder: &Path = &shared.paths.logs;
        sources
            .into_iter()
            .filter_map(|source| {
                let name = file_name(&shared, &source);
                Tail::begin(folder, &name, source, lines).map_err(|e| crate::daemon::log(&e)).ok()
            })
            .collect::<Vec<_>>()
    };
    let Ok(mut tails) = blocking(begin).await else { return };
    let mut at = 0;
    loop {
        let Ok((piece, tails_back, at_back)) = blocking(move || (next_piece(&mut tails, &mut at), tails, at)).await
        else {
            return;
        };
        (tails, at) = (tails_back, at_back);
        if !piece.is_empty() {
            if sender.send(Bytes::from(piece)).await.is_err() {
                return;
            }
            continue;
        }
        let Some(follow) = &follow else { return };
        tokio::select! {
            _ = follow.grown() => {}
            () = sender.closed() => return,
        }
    }
}

/// About a piece of what there is by now, from tail `at` on. Empty: that was all.
fn next_piece(tails: &mut [Tail], at: &mut usize) -> Vec<u8> {
    let mut piece = Vec::with_capacity(PIECE);
    // A piece goes on where the one before it ended, so that a busy file does not keep the others waiting for ever.
    while let Some(tail) = tails.get_mut(*at) {
        match tail.next() {
            Ok(Some(line)) => event(&line, &mut piece),
            Ok(None) => *at += 1,
            Err(e) => {
                crate::daemon::log(&e);
                *at += 1;
            }
        }
        if piece.len() >= PIECE {
            return piece;
        }
    }
    *at = 0;
    piece
}

/// One server-sent event.
fn event(line: &LogLine, out: &mut Vec<u8>) {
    let before = out.len();
    out.extend_from_slice(b"data: ");
    if serde_json::to_writer(&mut *out, line).is_err() {
        out.truncate(before);
        return;
    }
    out.extend_from_slice(b"\n\n");
}
