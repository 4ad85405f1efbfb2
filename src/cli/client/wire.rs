//! One connection and one request over it: reaching the socket, the HTTP around a request, refusals into words.
//!
//! Nothing here tries anything twice; that is the client's part.

use crate::api::{INDENTED, ORDER_KEY, Problem};
use crate::cli::exit::{Exit, Failure};
use crate::config::{Paths, cause};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustix::fs::{Mode, OFlags};
use rustix::rand::GetRandomFlags;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// A path that fits into `sockaddr_un`, its NUL included (unix(7)).
const LONGEST_SOCKET_PATH: usize = 107;

/// Why nobody answers.
pub(in crate::cli) enum NoDaemon {
    /// There is none.
    Absent,
    /// There is something in the way.
    Unreachable(Failure),
}

/// A connection over which requests can be sent.
pub(super) type Link = SendRequest<Full<Bytes>>;

/// A request that can be sent more than once.
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) key: Option<String>,
    pub(super) body: Bytes,
    /// The answer is to be printed as it is.
    pub(super) indented: bool,
}

pub(super) async fn shake(stream: UnixStream) -> io::Result<Link> {
    stream.set_nonblocking(true)?;
    let stream = tokio::net::UnixStream::from_std(stream)?;
    let (link, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // Ends with the connection; a broken one is seen by whoever sends over it.
    tokio::spawn(connection);
    Ok(link)
}

pub(super) async fn send(link: &mut Link, call: &Call) -> hyper::Result<Response<Incoming>> {
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
    if call.indented {
        headers.insert(header::ACCEPT, header::HeaderValue::from_static(INDENTED));
    }
    link.send_request(request).await
}

/// Connects to the socket. A path too long for `sockaddr_un` is reached through its directory's descriptor.
pub(super) fn open(paths: &Paths) -> Result<UnixStream, NoDaemon> {
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
            format!("failed to connect to {}: {}", socket.display(), cause(&e)),
        )),
    })
}

fn not_ours(paths: &Paths) -> Failure {
    // The nearest that may be looked at: a directory of mode 0700 hides what is in it, but not whose it is itself.
    let owner = paths.socket().ancestors().find_map(|place| place.metadata().ok()).map(|meta| meta.uid());
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

pub(super) fn not_understood(why: &str) -> Failure {
    Failure::new(Exit::Failed, format!("failed to understand the daemon's answer: {why}"))
        .hint("the daemon may be of another version; compare 'opm version' with 'opm daemon status'")
}

pub(super) fn refusal(status: StatusCode, body: &[u8]) -> Failure {
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => problem.into(),
        Err(_) => {
            let body: String = String::from_utf8_lossy(body).trim().chars().take(200).collect();
            not_understood(format!("{status} {body}").trim_end())
        }
    }
}

/// A name for an order that nobody else gives to theirs.
pub(super) fn key() -> Result<String, Failure> {
    let mut bytes = [0u8; 16];
    rustix::rand::getrandom(&mut bytes, GetRandomFlags::empty())
        .map_err(|e| Failure::new(Exit::Failed, format!("failed to draw a random number: {e}")))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// `select=` and what follows it, for the query of a read.
pub(in crate::cli) fn select_query(select: &[String]) -> String {
    let text = if select.is_empty() { "all".to_owned() } else { select.join(",") };
    format!("select={}", encoded(&text))
}

/// Text as it may stand in a query.
pub(in crate::cli) fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
