//! Speaks to the daemon: HTTP/1.1 with JSON over its Unix socket.
//!
//! Orders carry a key made here, and are sent again with the same key if the connection breaks before the answer: the daemon
//! may be replaced at any moment, and an order must neither be lost nor happen twice. Reads are sent again as well. How long
//! that goes on is bounded, counted from the break, so an order that rightly takes an hour may take it.
//!
//! What a reader would get wrong: one thread, one runtime, no pool. `opm ping` lives for about a millisecond.

use super::exit::{Exit, Failure};
use super::sse::Frames;
use crate::api::{ORDER_KEY, OrderAnswer, Pong, Problem, ShutdownRequest};
use crate::config::Paths;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustix::fs::{Mode, OFlags};
use rustix::rand::GetRandomFlags;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// How long a broken connection is tried to be made again: longer than a daemon takes to be replaced and to adopt its apps.
const PATIENCE: Duration = Duration::from_secs(30);

/// More than this is no answer of ours.
const LARGEST_ANSWER: usize = 512 << 20;

/// A path that fits into `sockaddr_un`, its NUL included (unix(7)).
const LONGEST_SOCKET_PATH: usize = 107;

/// Why nobody answers.
pub(super) enum NoDaemon {
    /// There is none.
    Absent,
    /// There is something in the way.
    Unreachable(Failure),
}

/// A daemon that answers.
pub(super) struct Client {
    runtime: Runtime,
    paths: Paths,
    link: Option<Link>,
    /// What is ordered is the daemon's end: nobody there any more is no reason to wait for somebody.
    ending: bool,
}

type Link = SendRequest<Full<Bytes>>;

/// The connection broke before the answer was there.
struct Broken;

/// A request that can be sent more than once.
struct Call {
    method: Method,
    path: String,
    key: Option<String>,
    body: Bytes,
}

impl Client {
    /// Connects, once.
    pub(super) fn connect(paths: &Paths) -> Result<Self, NoDaemon> {
        let stream = open(paths)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| {
            NoDaemon::Unreachable(Failure::new(Exit::Failed, format!("failed to start a runtime: {e}")))
        })?;
        let mut client = Self { runtime, paths: paths.clone(), link: None, ending: false };
        client.link = client.runtime.block_on(shake(stream)).ok();
        Ok(client)
    }

    /// Asks.
    pub(super) fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, Failure> {
        let call = Call { method: Method::GET, path: path.to_owned(), key: None, body: Bytes::new() };
        self.answer(&call, None)
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
        let call = Call { method: Method::POST, path: path.to_owned(), key: Some(key()?), body: body.into() };
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

    /// Waits until nobody listens any more, for so long at most. Whether that came to pass.
    pub(super) fn wait_gone(&self, patience: Duration) -> bool {
        let give_up = Instant::now() + patience;
        let mut pause = Duration::from_millis(1);
        while !matches!(open(&self.paths), Err(NoDaemon::Absent)) {
            if Instant::now() >= give_up {
                return false;
            }
            // Nothing tells a stranger of a process's end; the socket is what says it, and it has to be asked.
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(100));
        }
        true
    }

    /// Reads server-sent events until they end or `on_event` has enough. `Ok(false)`: the connection broke on the way.
    pub(super) fn events(
        &mut self,
        path: &str,
        mut on_event: impl FnMut(&str) -> Result<bool, Failure>,
    ) -> Result<bool, Failure> {
        let call = Call { method: Method::GET, path: path.to_owned(), key: None, body: Bytes::new() };
        let response = self.persist(Instant::now(), None, |runtime, link| {
            Some(runtime.block_on(send(link, &call)).map_err(|_| Broken))
        })?;
        // The stream takes the connection with it; what is asked next gets another.
        self.link = None;
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
                while let Some(event) = frames.next_event() {
                    if !on_event(&event)? {
                        return Ok(true);
                    }
                }
            }
            Ok(true)
        })
    }

    fn answer<T: DeserializeOwned>(&mut self, call: &Call, patience: Option<Duration>) -> Result<T, Failure> {
        let ordered = Instant::now();
        let (status, body) = self.persist(ordered, patience, |runtime, link| {
            let left = patience.map(|patience| patience.saturating_sub(ordered.elapsed()));
            runtime.block_on(within(left, async {
                let response = send(link, call).await.map_err(|_| Broken)?;
                let status = response.status();
                let body = Limited::new(response.into_body(), LARGEST_ANSWER).collect().await.map_err(|_| Broken)?;
                Ok((status, body.to_bytes()))
            }))
        })?;
        if status != StatusCode::OK {
            return Err(refusal(status, &body));
        }
        serde_json::from_slice(&body).map_err(|e| not_understood(&e.to_string()))
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
                Err(NoDaemon::Absent) => {}
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

/// Runs the future, for so long at most. None: not done in time.
async fn within<T>(limit: Option<Duration>, future: impl Future<Output = T>) -> Option<T> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, future).await.ok(),
        None => Some(future.await),
    }
}

async fn shake(stream: UnixStream) -> io::Result<Link> {
    stream.set_nonblocking(true)?;
    let stream = tokio::net::UnixStream::from_std(stream)?;
    let (link, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // Ends with the connection; a broken one is seen by whoever sends over it.
    tokio::spawn(connection);
    Ok(link)
}

async fn send(link: &mut Link, call: &Call) -> hyper::Result<Response<Incoming>> {
    link.ready().await?;
    let mut request = Request::new(Full::new(call.body.clone()));
    *request.method_mut() = call.method.clone();
    if let Ok(uri) = call.path.parse() {
        *request.uri_mut() = uri;
    }
    let headers = request.headers_mut();
    headers.insert(header::HOST, header::HeaderValue::from_static("opm"));
    if let Some(key) = call.key.as_ref().and_then(|key| header::HeaderValue::from_str(key).ok()) {
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        headers.insert(ORDER_KEY, key);
    }
    link.send_request(request).await
}

/// Connects to the socket. A path too long for `sockaddr_un` is reached through its directory's descriptor.
fn open(paths: &Paths) -> Result<UnixStream, NoDaemon> {
    let socket = paths.socket();
    let connected = if socket.as_os_str().as_bytes().len() <= LONGEST_SOCKET_PATH {
        UnixStream::connect(&socket)
    } else {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::open(&paths.runtime, flags, Mode::empty()).map_err(io::Error::from).and_then(|dir| {
            let name = socket.file_name().unwrap_or_default();
            UnixStream::connect(Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name))
        })
    };
    connected.map_err(|e| match e.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => NoDaemon::Absent,
        io::ErrorKind::PermissionDenied => NoDaemon::Unreachable(not_ours(paths)),
        _ => NoDaemon::Unreachable(Failure::new(
            Exit::NoDaemon,
            format!("failed to connect to {}: {e}", socket.display()),
        )),
    })
}

fn not_ours(paths: &Paths) -> Failure {
    let owner = [paths.socket(), paths.runtime.clone()].iter().find_map(|p| p.metadata().ok()).map(|m| m.uid());
    let whose = match owner {
        Some(0) => "root's".to_owned(),
        Some(uid) => format!("that of user {uid}"),
        None => "another user's".to_owned(),
    };
    let failure = Failure::new(
        Exit::NoDaemon,
        format!("failed to connect to {}: permission denied (the daemon is {whose})", paths.socket().display()),
    );
    if owner == Some(0) { failure.hint("ask as root (sudo)") } else { failure.hint("ask as that user") }
}

fn went_away() -> Failure {
    Failure::new(Exit::NoDaemon, "the daemon went away before it answered")
        .hint("whether the order was carried out is not known; look with 'opm ls'")
}

fn not_in_time(ordered: Instant) -> Failure {
    Failure::new(Exit::NotReached, format!("not reached within {}", super::render::time::took(ordered.elapsed())))
}

fn not_understood(why: &str) -> Failure {
    Failure::new(Exit::Failed, format!("failed to understand the daemon's answer: {why}"))
        .hint("the daemon may be of another version; compare 'opm version' with 'opm daemon status'")
}

fn refusal(status: StatusCode, body: &[u8]) -> Failure {
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => problem.into(),
        Err(_) => {
            let body: String = String::from_utf8_lossy(body).trim().chars().take(200).collect();
            not_understood(format!("{status} {body}").trim_end())
        }
    }
}

/// A name for an order that nobody else gives to theirs.
fn key() -> Result<String, Failure> {
    let mut bytes = [0u8; 16];
    rustix::rand::getrandom(&mut bytes, GetRandomFlags::empty())
        .map_err(|e| Failure::new(Exit::Failed, format!("failed to draw a random number: {e}")))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// `select=` and what follows it, for the query of a read.
pub(super) fn select_query(select: &[String]) -> String {
    let text = if select.is_empty() { "all".to_owned() } else { select.join(",") };
    let mut out = String::from("select=");
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
