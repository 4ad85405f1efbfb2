//! Answers that go on: a body of pieces that are sent as they come, each a number of server-sent events.
//!
//! Owns how much of one may wait for its client. What a reader would get wrong: a client that does not read fills its own channel
//! and nothing else; whoever fills it waits, and nobody waits for that one.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use hyper::body::{Bytes, Frame};
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// How much of a stream may wait for its client: 16 pieces of about 64 KiB.
const PIECES: usize = 16;
pub(super) const PIECE: usize = 64 << 10;

/// A stream of server-sent events: where to put them, and the answer that they are in.
pub(super) fn open() -> (mpsc::Sender<Bytes>, Response) {
    let (sender, receiver) = mpsc::channel(PIECES);
    (sender, ([(CONTENT_TYPE, "text/event-stream")], Body::new(Pieces(receiver))).into_response())
}

/// A body made of pieces as they come.
struct Pieces(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
    }
}
