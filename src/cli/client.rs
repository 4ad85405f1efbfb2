//! Speaks to the daemon: HTTP/1.1 with JSON over its Unix socket.
//!
//! Orders carry a key made here, and are sent again with the same key if the connection breaks before the answer: the daemon
//! may be replaced at any moment, and an order must neither be lost nor happen twice. Reads are sent again as well. How long
//! that goes on is bounded, counted from the break, so an order that rightly takes an hour may take it.
//!
//! What a reader would get wrong: one thread, one runtime, no pool. `opm ping` lives for about a millisecond.

mod silence;
mod wire;

pub(super) use wire::{NoDaemon, encoded, select_query};

use super::exit::{Exit, Failure};
use super::sse::Frames;
use crate::api::{OrderAnswer, Pong, ShutdownRequest};
use crate::config::Paths;
use http_body_util::{BodyExt, Limited};
use hyper::body::Bytes;
use hyper::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use wire::{Call, Link, key, not_understood, open, refusal, send, shake};

/// How long a broken connection is tried to be made again: longer than a daemon takes to be replaced and to adopt its apps.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many pairs one order starts, at most.
const STARTS: u8 = 3;

/// More than this is no answer of ours.
const LARGEST_ANSWER: usize = 512 << 20;

/// A daemon that answers.
pub(super) struct Client {
    runtime: Runtime,
    paths: Paths,
    link: Option<Link>,
    /// The socket's file as it was when we connected: the next pair makes another.
    socket: Option<SocketFile>,
    /// What is ordered is the daemon's end: nobody there any more is no reason to wait for somebody.
    ending: bool,
    /// Starts a daemon where an order finds none any more: somebody else's 'opm kill' came in between.
    starter: Option<Starter>,
    /// How many pairs it may start yet. A pair that dies of this very order must not be started over and over.
    starts: u8,
    is_new: bool,
    /// Of the last event that came whole: where to go on from.
    last_event: Option<String>,
}

/// How a daemon is started.
pub(super) type Starter = fn(&Paths) -> Result<Client, Failure>;

/// The connection broke before the answer was there.
struct Broken;

/// What a stream is asked by.
pub(super) enum Ask {
    /// A path with its query.
    Get(String),
    /// A path, and a body of JSON. It must change nothing: it may be sent more than once.
    Post(String, Bytes),
}

/// What a stream says.
pub(super) enum Told<'a> {
    /// An event.
    Event {
        /// Its name; mostly none.
        name: &'a str,
        /// What it says.
        data: &'a str,
    },
    /// That was all that came at once. A good moment to print what was kept back.
    Pause,
}

impl Client {
    /// Connects, once.
    pub(super) fn connect(paths: &Paths) -> Result<Self, NoDaemon> {
        let stream = open(paths)?;
        let socket = socket_file(paths);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| {
            NoDaemon::Unreachable(Failure::new(Exit::Failed, format!("failed to start a runtime: {e}")))
        })?;
        let mut client = Self {
            runtime,
            paths: paths.clone(),
            link: None,
            socket,
            ending: false,
            starter: None,
            starts: STARTS,
            is_new: false,
            last_event: None,
        };
        client.link = client.runtime.block_on(shake(stream)).ok();
        Ok(client)
    }

    /// The daemon was started for this client.
    pub(super) fn of_a_new_daemon(mut self) -> Self {
        self.is_new = true;
        self
    }

    /// Whether the daemon was started for this client.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// From now on starts a daemon where there is none any more.
    pub(super) fn starting_with(mut self, starter: Starter) -> Self {
        self.starter = Some(starter);
        self
    }

    /// Asks.
    pub(super) fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, Failure> {
        let call = Call { method: Method::GET, path: path.to_owned(), key: None, body: Bytes::new(), indented: false };
        self.answer(&call, None)
    }

    /// Asks for JSON to be printed as it is. A daemon of an older version may send it without indentation.
    pub(super) fn get_text(&mut self, path: &str) -> Result<Bytes, Failure> {
        let call = Call { method: Method::GET, path: path.to_owned(), key: None, body: Bytes::new(), indented: true };
        self.body(&call, None)
    }

    /// Whether anybody is there.
    pub(super) fn ping(&mut self) -> Result<Pong, Failure> {
        self.get("/v1/ping")
    }

    /// Orders something and waits until it has happened, or until `patience` is over.
    pub(super) fn order<B: Serialize, T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: &B,
        patience: Option<Duration>,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(body)
            .map_err(|e| Failure::new(Exit::Failed, format!("failed to write the request: {e}")))?;
        let call =
            Call { method: Method::POST, path: path.to_owned(), key: Some(key()?), body: body.into(), indented: false };
        self.answer(&call, patience)
    }

    /// An order about apps, which answers with outcomes.
    pub(super) fn order_outcomes<B: Serialize>(&mut self, path: &str, body: &B) -> Result<OrderAnswer, Failure> {
        self.order(path, body, None)
    }

    /// Orders the daemon's end. None: it was gone before its answer came through.
    pub(super) fn end(&mut self, request: &ShutdownRequest) -> Result<Option<OrderAnswer>, Failure> {
        self.ending = true;
        match self.order("/v1/shutdown", request, None) {
            Ok(answer) => Ok(Some(answer)),
            Err(Failure::Say(saying)) if saying.exit == Exit::NoDaemon && self.wait_gone(Duration::ZERO) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Waits until nobody listens any more and nobody holds the lock, or others do: daemon and keeper are gone. For so long at
    /// most. Whether that came to pass.
    pub(super) fn wait_gone(&self, patience: Duration) -> bool {
        let give_up = Instant::now() + patience;
        let mut pause = Duration::from_millis(1);
        // Whoever binds a new socket has the lock, so the pair before has let go of it.
        let replaced = || socket_file(&self.paths).is_some_and(|now| self.socket.is_some_and(|then| now != then));
        while !(replaced() || matches!(open(&self.paths), Err(NoDaemon::Absent)) && lock_is_free(&self.paths)) {
            if Instant::now() >= give_up {
                return false;
            }
            // Nothing tells a stranger of a process's end; socket and lock are what says it, and have to be asked.
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(100));
        }
        true
    }

    /// The id of the last event that came whole, of any stream.
    pub(super) fn last_event(&self) -> Option<&str> {
        self.last_event.as_deref()
    }

    /// Reads server-sent events until they end or `on_event` has enough. `Ok(false)`: the connection broke on the way.
    pub(super) fn events(
        &mut self,
        ask: &Ask,
        mut on_event: impl FnMut(Told<'_>) -> Result<bool, Failure>,
    ) -> Result<bool, Failure> {
        let call = match ask {
            Ask::Get(path) => {
                Call { method: Method::GET, path: path.clone(), key: None, body: Bytes::new(), indented: false }
            }
            Ask::Post(path, body) => {
                Call { method: Method::POST, path: path.clone(), key: None, body: Bytes::clone(body), indented: false }
            }
        };
        let response = self
            .persist(Instant::now(), None, |runtime, link| {
                Some(runtime.block_on(send(link, &call)).map_err(|_| Broken))
            })
            .map_err(|failure| if failure.is_no_daemon() { nobody_came() } else { failure })?;
        // The stream takes the connection with it; what is asked next gets another.
        self.link = None;
        let last_event = &mut self.last_event;
        self.runtime.block_on(async {
            let status = response.status();
            let mut body = response.into_body();
            if status != StatusCode::OK {
                let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                return Err(refusal(status, &body));
            }
            let mut frames = Frames::default();
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else { return Ok(false) };
                let Ok(data) = frame.into_data() else { continue };
                frames.feed(&data).map_err(|why| Failure::new(Exit::Failed, why))?;
                let mut enough = false;
                while let Some(event) = frames.next_event() {
                    enough = !on_event(Told::Event { name: &event.name, data: &event.data })?;
                    if enough {
                        break;
                    }
                }
                if let Some(id) = frames.last_id() {
                    *last_event = Some(id.to_owned());
                }
                if enough || !on_event(Told::Pause)? {
                    return Ok(true);
                }
            }
            Ok(true)
        })
    }

    fn answer<T: DeserializeOwned>(&mut self, call: &Call, patience: Option<Duration>) -> Result<T, Failure> {
        let body = self.body(call, patience)?;
        serde_json::from_slice(&body).map_err(|e| not_understood(&e.to_string()))
    }

    fn body(&mut self, call: &Call, patience: Option<Duration>) -> Result<Bytes, Failure> {
        let ordered = Instant::now();
        let paths = self.paths.clone();
        let (status, body) = self.persist(ordered, patience, |runtime, link| {
            let left = patience.map(|patience| patience.saturating_sub(ordered.elapsed()));
            runtime.block_on(within(left, async {
                let response = silence::broken(&paths, send(link, call)).await.map_err(|_| Broken)?;
                let status = response.status();
                let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await.map_err(|_| Broken)?;
                Ok((status, body.to_bytes()))
            }))
        })?;
        if status != StatusCode::OK {
            return Err(refusal(status, &body));
        }
        Ok(body)
    }

    /// Tries until it works, connecting anew whenever the connection broke; not longer than [`PATIENCE`] after a break.
    fn persist<T>(
        &mut self,
        ordered: Instant,
        patience: Option<Duration>,
        mut attempt: impl FnMut(&Runtime, &mut Link) -> Option<Result<T, Broken>>,
    ) -> Result<T, Failure> {
        let mut give_up: Option<Instant> = None;
        let mut pause = Duration::from_millis(5);
        loop {
            let begun = Instant::now();
            if let Some(link) = &mut self.link {
                match attempt(&self.runtime, link) {
                    Some(Ok(done)) => return Ok(done),
                    Some(Err(Broken)) => self.link = None,
                    None => return Err(not_in_time(ordered)),
                }
            }
            // A connection that held long enough was a good one: its break is a new story.
            if begun.elapsed() >= PATIENCE {
                give_up = None;
                pause = Duration::from_millis(5);
            }
            let give_up = *give_up.get_or_insert_with(|| Instant::now() + PATIENCE);
            match open(&self.paths) {
                Ok(stream) => {
                    self.link = self.runtime.block_on(shake(stream)).ok();
                    if self.link.is_some() && Instant::now() < give_up {
                        // Not at once: a daemon that dies of this very order should not be driven round in circles.
                        std::thread::sleep(pause);
                        pause = (pause * 2).min(Duration::from_millis(500));
                        continue;
                    }
                }
                Err(NoDaemon::Absent) if self.ending => return Err(went_away()),
                Err(NoDaemon::Absent) => {
                    // It may fail while the pair before is still on its way out; then there is time yet.
                    let starter = self.starter.filter(|_| self.starts > 0);
                    if let Some(client) = starter.and_then(|start| start(&self.paths).ok()) {
                        // Somebody else's does not count: were all who wait to count it, nobody would start the one after it.
                        self.starts -= u8::from(client.is_new);
                        self.link = client.link;
                        continue;
                    }
                }
                Err(NoDaemon::Unreachable(failure)) => return Err(failure),
            }
            if Instant::now() >= give_up {
                return Err(went_away());
            }
            if patience.is_some_and(|patience| ordered.elapsed() >= patience) {
                return Err(not_in_time(ordered));
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(500));
        }
    }
}

/// Inode and the moment it was made: a filesystem may give the number again at once.
type SocketFile = (u64, i64, i64);

fn socket_file(paths: &Paths) -> Option<SocketFile> {
    let file = rustix::fs::stat(paths.socket()).ok()?;
    Some((file.st_ino, file.st_mtime, i64::try_from(file.st_mtime_nsec).ok()?))
}

/// Whether daemon and keeper are gone. They share the lock, so it is free when the last of them is.
fn lock_is_free(paths: &Paths) -> bool {
    use rustix::fs::{FlockOperation, flock};
    // Looking means taking it for a moment, and a keeper that starts in that moment would think that another one lives. So
    // not while anybody starts one.
    let starting = std::fs::File::open(paths.start_lock());
    let _ = starting.as_ref().map(|lock| flock(lock, FlockOperation::LockExclusive));
    !lock_is_held(paths)
}

/// Whether keeper or daemon has the lock. To be asked only by whoever holds the lock for starting one.
pub(super) fn lock_is_held(paths: &Paths) -> bool {
    use rustix::fs::{FlockOperation, flock};
    std::fs::File::open(paths.lock()).is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockShared).is_err())
}

/// Runs the future, for so long at most. None: not done in time.
async fn within<T>(limit: Option<Duration>, future: impl Future<Output = T>) -> Option<T> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, future).await.ok(),
        None => Some(future.await),
    }
}

fn went_away() -> Failure {
    Failure::new(Exit::NoDaemon, "the daemon went away before it answered")
        .hint("whether the order was carried out is not known; look with 'opm ls'")
}

/// Of a stream, which orders nothing.
fn nobody_came() -> Failure {
    Failure::new(Exit::NoDaemon, "the daemon went away, and no other has come")
        .hint("'opm daemon start' starts one, as does any order")
}

fn not_in_time(ordered: Instant) -> Failure {
    Failure::new(Exit::NotReached, format!("not reached within {}", super::render::time::took(ordered.elapsed())))
}
