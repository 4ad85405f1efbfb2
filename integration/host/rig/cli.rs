//! Runs one command to its end, with a deadline, and keeps all that it said.
//!
//! What a reader would get wrong: the end of a process and the end of its output are two things. A daemon that keeps the
//! stdout of the command that started it makes `opm start x | cat` hang for ever, so waiting for the pipes to close is part
//! of every call here, under the same deadline.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::Value;
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Nothing that opm answers takes this long unless it hangs.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Output {
    pub what: String,
    /// None if a signal ended it.
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Output {
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Its stdout as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|e| panic!("no JSON on stdout ({e}): {self}"))
    }

    /// Insists on this exit code.
    #[track_caller]
    pub fn code(self, wanted: i32) -> Self {
        assert_eq!(self.code, Some(wanted), "exit code {wanted} was due: {self}");
        self
    }

    /// Insists on exit code 0.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.code(0)
    }

    /// Insists that the news on stderr names all of these.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Self {
        let all = format!("{}{}", self.out(), self.err()).to_lowercase();
        for word in words {
            assert!(all.contains(&word.to_lowercase()), "'{word}' was to be named: {self}");
        }
        self
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n  code {:?}\n  stdout: {}\n  stderr: {}", self.what, self.code, self.out(), self.err())
    }
}

/// Runs it to its end.
#[track_caller]
pub fn run(command: &mut Command) -> Output {
    run_within(command, DEADLINE)
}

/// Runs it to its end, which has to come within `limit`.
#[track_caller]
pub fn run_within(command: &mut Command, limit: Duration) -> Output {
    start(command).finish(limit)
}

/// A command on its way.
pub struct Running {
    what: String,
    child: std::process::Child,
    said: mpsc::Receiver<(bool, Vec<u8>)>,
}

/// Starts it.
#[track_caller]
pub fn start(command: &mut Command) -> Running {
    let what = command.get_args().fold(command.get_program().to_string_lossy().into_owned(), |mut all, arg| {
        let arg = arg.to_string_lossy();
        all.push(' ');
        all.push_str(&arg.chars().take(200).collect::<String>());
        all
    });
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("failed to run {what}: {e}"));
    let (tell, said) = mpsc::channel();
    let read = |is_err: bool, mut from: Box<dyn Read + Send>| {
        let tell = tell.clone();
        std::thread::spawn(move || {
            let mut all = Vec::new();
            let _ = from.read_to_end(&mut all);
            let _ = tell.send((is_err, all));
        });
    };
    read(false, Box::new(child.stdout.take().unwrap()));
    read(true, Box::new(child.stderr.take().unwrap()));
    Running { what, child, said }
}

impl Running {
    /// Waits for its end and that of its output.
    #[track_caller]
    pub fn finish(mut self, limit: Duration) -> Output {
        let end = Instant::now() + limit;
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        // Our own unreaped child: its number cannot have been given away.
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        if !readable(&pidfd, limit) {
            let _ = pidfd_send_signal(&pidfd, Signal::KILL);
            let _ = self.child.wait();
            panic!("still running after {limit:?}: {}\n{}", self.what, self.collect(Duration::from_secs(1)).1);
        }
        let status = self.child.wait().unwrap();
        let (complete, mut output) =
            self.collect(end.saturating_duration_since(Instant::now()).max(Duration::from_secs(2)));
        output.code = status.code();
        assert!(complete, "it ended, but something still holds its output open: {output}");
        output
    }

    fn collect(&self, limit: Duration) -> (bool, Output) {
        let end = Instant::now() + limit;
        let mut output = Output { what: self.what.clone(), code: None, stdout: Vec::new(), stderr: Vec::new() };
        for _ in 0..2 {
            match self.said.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok((true, text)) => output.stderr = text,
                Ok((false, text)) => output.stdout = text,
                Err(_) => return (false, output),
            }
        }
        (true, output)
    }
}

/// Whether it becomes readable within the limit. Of a pidfd: whether the process ends.
pub fn readable(fd: &impl std::os::fd::AsFd, limit: Duration) -> bool {
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs().try_into().unwrap(), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&timeout)) {
            Ok(ready) => return ready > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => panic!("failed to poll: {e}"),
        }
    }
}
