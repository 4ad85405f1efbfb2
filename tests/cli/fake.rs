//! The stand-in: a Unix socket under an `OPM_HOME` of its own, one scripted reply for each request.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use tempfile::TempDir;

/// What becomes of one request.
pub(crate) enum Reply {
    /// Status and JSON.
    Json(u16, String),
    /// A stream of events, which then ends.
    Events(String),
    /// A stream of events that breaks off.
    Torn(String),
    /// The connection breaks without an answer.
    Break,
    /// Not a reply: after the one before, nobody listens any more.
    Gone,
}

/// A request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    /// `POST /v1/stop`.
    pub(crate) line: String,
    /// The order's key.
    pub(crate) key: Option<String>,
    /// The body.
    pub(crate) body: String,
}

pub(crate) struct Fake {
    home: PathBuf,
    requests: Receiver<Request>,
    _dir: TempDir,
}

impl Fake {
    /// Answers as scripted, in this order.
    pub(crate) fn new(replies: Vec<Reply>) -> Self {
        Self::at("home", replies)
    }

    /// The same, with its home under this path.
    pub(crate) fn at(path: &str, replies: Vec<Reply>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join(path);
        let run = home.join("run");
        std::fs::create_dir_all(&run).unwrap();
        // bind(2) has the same limit that the client has to get around.
        let short = tempfile::tempdir().unwrap();
        let link = short.path().join("run");
        std::os::unix::fs::symlink(&run, &link).unwrap();
        let listener = UnixListener::bind(link.join("opm.sock")).unwrap();
        let socket = run.join("opm.sock");
        let (send, requests) = channel();
        thread::spawn(move || {
            let mut replies = replies.into_iter().peekable();
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                while let Some(request) = read(&mut stream) {
                    let reply = replies.next().unwrap_or(Reply::Break);
                    // Whoever reads the answer must find nobody listening.
                    let last = matches!(replies.peek(), Some(Reply::Gone));
                    if last {
                        std::fs::remove_file(&socket).unwrap();
                    }
                    if send.send(request).is_err() || !answer(stream.get_mut(), reply) {
                        break;
                    }
                }
                if matches!(replies.peek(), Some(Reply::Gone)) {
                    return;
                }
            }
        });
        Self { home, requests, _dir: dir }
    }

    pub(crate) fn opm(&self, args: &[&str]) -> Output {
        opm(&self.home, args)
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.try_iter().collect()
    }
}

/// Runs the binary with a home of its own and nothing of the caller's terminal.
pub(crate) fn opm(home: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_opm"))
        .args(args)
        .env("OPM_HOME", home)
        .env("SSH_CONNECTION", "session")
        .env("PORT", "3000")
        .env_remove("NO_COLOR")
        .output()
        .unwrap()
}

fn read(stream: &mut BufReader<UnixStream>) -> Option<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let (mut length, mut key) = (0, None);
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).ok()?;
        let header = header.trim();
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(": ").unwrap();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "opm-order-key" => key = Some(value.to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    let line = line.trim().strip_suffix(" HTTP/1.1").unwrap().to_owned();
    Some(Request { line, key, body: String::from_utf8(body).unwrap() })
}

/// Whether the connection goes on.
fn answer(stream: &mut UnixStream, reply: Reply) -> bool {
    match reply {
        Reply::Json(status, json) => {
            write!(stream, "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{json}", json.len()).is_ok()
        }
        Reply::Events(text) => {
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{text}");
            false
        }
        Reply::Torn(text) => {
            let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            let _ = write!(stream, "{head}{:x}\r\n{text}\r\n", text.len());
            false
        }
        Reply::Break | Reply::Gone => false,
    }
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
