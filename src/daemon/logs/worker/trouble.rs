//! Streams whose file cannot take them: waiting, making room, dropping, trying again; and those that outlive their run for it.
//!
//! Owns what becomes of them. It must not move what can be moved. What a reader would get wrong: everything here is driven by one
//! timer, which runs only while there is such a stream or a gap to be told of.

use super::super::gaps;
use super::super::keeping::Freed;
use super::super::pump::{LastBytes, PumpEvent};
use super::super::stream::{State, Stream, Stuck};
use super::{JOURNALD, LINGER_MOST, RETRY, Room, Worker};
use crate::model::{LogDrop, RunId};
use std::path::PathBuf;
use std::sync::Arc;

impl Worker {
    pub(super) fn wait_a_while(&mut self, token: u64) {
        let Some(stream) = self.streams.get_mut(&token) else { return };
        self.epoll.remove(&stream.pipe);
        stream.state = State::Stuck;
        self.run_timer();
    }

    pub(super) fn run_timer(&mut self) {
        if !std::mem::replace(&mut self.timer_runs, true) {
            let _ = self.timer.set(RETRY);
        }
    }

    /// The file cannot take the stream's bytes: they wait in the pipe. Watching it further would be a busy loop. On a full disk room
    /// is made; where none can be, they are dropped and counted, unless the app asks to wait.
    pub(super) fn stuck(&mut self, token: u64, stuck: Stuck) {
        let Some(stream) = self.streams.get_mut(&token) else { return };
        if stuck.behind {
            if let Some(socket) = self.files.journald.socket() {
                self.epoll.remove(socket);
                let _ = self.epoll.add_writable_once(socket, JOURNALD);
            }
            return self.wait_a_while(token);
        }
        if !self.in_trouble {
            self.in_trouble = true;
            (self.report)(PumpEvent::Trouble(stuck.why));
        }
        if let Some(folder) = stuck.full {
            match (self.rooms.get(&folder), stream.plan.drop) {
                (Some(Room::None), LogDrop::WhenFull) => return self.give_up(token),
                (None, _) => self.ask_for_room(folder),
                (Some(Room::Asked | Room::None), _) => {}
            }
        }
        self.wait_a_while(token);
    }

    fn ask_for_room(&mut self, folder: PathBuf) {
        let (tell, bell, of) = (self.freed.0.clone(), Arc::clone(&self.bell), folder.clone());
        self.rooms.insert(folder.clone(), Room::Asked);
        let done = move |freed: Freed| {
            let _ = tell.send((of, freed.bytes));
            bell.ring();
        };
        self.keep.make_room(folder, Box::new(done));
    }

    /// So much; or nothing, because there is nothing left to remove.
    pub(super) fn room_made(&mut self, folder: PathBuf, bytes: u64) {
        if bytes == 0 {
            self.rooms.insert(folder, Room::None);
        } else {
            self.rooms.remove(&folder);
        }
        self.retry();
    }

    /// Drops what the stream has. It stays in the epoll set: the app must go on.
    pub(super) fn give_up(&mut self, token: u64) {
        let Some(stream) = self.streams.get_mut(&token) else { return };
        let bytes = stream.give_up(&mut self.files);
        self.pace.full |= bytes >= stream.half();
        for series in stream.sink().files() {
            self.gaps.add(series, stream.lane, &stream.plan, bytes);
        }
        let was = std::mem::replace(&mut stream.state, State::Dropping);
        match was {
            State::Watched | State::Dropping => {}
            State::Busy | State::Stuck | State::Ended => {
                if self.epoll.add(&stream.pipe, token).is_err() {
                    stream.state = State::Stuck;
                }
            }
        }
        // What is missing is to be told even if the app never writes again.
        self.run_timer();
    }

    pub(super) fn tell_of_gaps(&mut self, token: u64) -> Result<(), Stuck> {
        if self.gaps.is_empty() {
            return Ok(());
        }
        let files = self.streams.get(&token).map(|stream| stream.sink().files().to_vec()).unwrap_or_default();
        for series in files {
            if self.gaps.tell(&series, &mut self.files)? {
                self.grew(&series);
            }
        }
        Ok(())
    }

    /// Tries what was stuck, oldest first.
    pub(super) fn retry(&mut self) {
        for token in self.tokens(|s| s.state == State::Dropping) {
            let Some(stream) = self.streams.get_mut(&token) else { continue };
            if stream.sink().files().iter().all(gaps::has_room) {
                stream.state = State::Watched;
                self.drain(token);
            } else {
                self.run_timer();
            }
        }
        for token in self.tokens(|s| s.state == State::Stuck) {
            let waits = self.has_to_wait(token);
            let Some(stream) = self.streams.get_mut(&token) else { continue };
            if waits {
                self.run_timer();
                continue;
            }
            // `begin` and `drain` put it back among the stuck if it still is.
            stream.state = State::Ended;
            if stream.finished {
                self.drain_to_the_end(token);
            } else {
                self.begin(token);
                self.drain(token);
            }
            match self.streams.get(&token) {
                Some(stream) if stream.finished && stream.state == State::Ended => self.close(token),
                // It was dropped, and all that came is gone.
                Some(stream) if stream.finished && stream.state == State::Dropping => self.close(token),
                Some(_) | None => {}
            }
        }
        for series in self.gaps.all() {
            match self.gaps.tell(&series, &mut self.files) {
                Ok(true) => self.grew(&series),
                Ok(false) => {}
                Err(_) => self.run_timer(),
            }
        }
        let trouble = |s: &Stream| matches!(s.state, State::Stuck | State::Dropping);
        if self.in_trouble && self.gaps.is_empty() && self.tokens(trouble).is_empty() {
            self.in_trouble = false;
            self.rooms.clear();
            (self.report)(PumpEvent::TroubleOver);
        }
    }

    /// The bytes of a run that is over outlive it only while the disk refuses them. Gives the last that it wrote to standard
    /// error, if any are wanted.
    pub(super) fn finish(&mut self, run: RunId, last_words: usize) -> LastBytes {
        let mut last = LastBytes::default();
        for token in self.tokens(|s| s.run == run && !s.finished) {
            let waits = self.has_to_wait(token);
            if let Err(stuck) = self.tell_of_gaps(token) {
                self.stuck(token, stuck);
            }
            let Some(stream) = self.streams.get_mut(&token) else { continue };
            if waits {
                stream.finished = true;
                continue;
            }
            self.drain_to_the_end(token);
            let Some(stream) = self.streams.get_mut(&token) else { continue };
            if stream.lane.err && last_words > 0 {
                last = stream.last_bytes(&mut self.files, last_words);
            }
            if stream.state == State::Stuck && stream.waiting() > 0 {
                stream.finished = true;
            } else {
                self.close(token);
            }
        }
        if self.timer_runs {
            // Perhaps somebody waited for this one.
            self.retry();
        }
        let lingering = self.tokens(|s| s.finished);
        for token in lingering.iter().take(lingering.len().saturating_sub(LINGER_MOST)) {
            if let Some(stream) = self.streams.get(token) {
                let (bytes, app) = (stream.waiting(), stream.plan.name.clone());
                self.notice(format!("dropped {bytes} bytes that the logs of {app} could not take"));
            }
            self.close(*token);
        }
        last
    }

    /// The same of a stream whose run is over.
    pub(super) fn drain_to_the_end(&mut self, token: u64) {
        let Some(stream) = self.streams.get_mut(&token) else { return };
        let (poured, outcome) = stream.close(&mut self.files);
        self.poured(poured);
        if let Err(stuck) = outcome {
            self.stuck(token, stuck);
        }
    }
}
