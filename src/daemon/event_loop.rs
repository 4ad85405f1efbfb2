//! The one event loop: the only owner of state. Readiness and letters come in, become inputs of the core; its effects go out.
//!
//! Three steps, always: wait for something; turn it into inputs; perform the effects. No step waits for a disk, a user
//! database or a client. What a reader would get wrong: everything that happened is told to the core *before* any of its
//! effects are performed, so that it decides on all there is to know.

use super::deletions::Deletions;
use super::effects::Hands;
use super::handle::Mail;
use super::orders::Orders;
use super::store::StoreEvent;
use super::token::Token;
use crate::keeper::protocol::ToDaemon;
use crate::kernel::clock::{self, Alarm};
use crate::kernel::epoll::{Epoll, Ready};
use crate::kernel::{memory, slots};
use crate::model::{Asked, Event, ExitStatus, Order, OrderKey, RunId};
use crate::supervise::{Effect, Input, Supervisor};
use nix::sys::signalfd::SignalFd;
use rustix::fd::OwnedFd;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

/// How many processes are made before everybody else has a turn. Each takes a fraction of a millisecond, so a thousand at once
/// would leave people without an answer for half a second. Not more than there are slots: each turn sees some of them given back.
const SPAWNS_AT_ONCE: u32 = slots::CHILDREN as u32;

/// So much was done that what it took is worth giving back: effects, and a question for as many as a large list is.
pub(super) const BURST: u32 = 512;
const BURST_OF_QUESTION: u32 = 64;
/// Given back it is when nothing has happened for so long: it takes about a millisecond.
const QUIET: Duration = Duration::from_millis(200);
/// The same after less than a burst, which took little but of the program.
const QUIET_AFTER_LITTLE: Duration = Duration::from_secs(2);

/// How long the loop goes on without the server's tasks having their turn.
const LONGEST_ALONE: Duration = Duration::from_millis(5);

/// How far the effects got.
enum Performed {
    /// There are no more.
    All,
    /// There may be more.
    Some,
    /// The daemon ends.
    Quit { keep_apps: bool },
}

/// How the loop ended.
pub(super) enum Ending {
    /// By an order to end.
    Quit { keep_apps: bool },
    /// To make room for the installed program. This is what is not answered: its clients ask the next daemon, and had better not
    /// hear from us that nobody will answer them. To be dropped last.
    HandOver { key: OrderKey, _unanswered: Box<dyn std::any::Any> },
}

/// What reads may look at.
pub(super) struct View<'a> {
    pub(super) core: &'a Supervisor,
    pub(super) hands: &'a Hands,
    pub(super) troubles: &'a BTreeMap<&'static str, String>,
}

/// The loop and all that it owns.
pub(super) struct EventLoop {
    pub(super) core: Supervisor,
    pub(super) hands: Hands,
    pub(super) mailbox: mpsc::UnboundedReceiver<Mail>,
    pub(super) signals: SignalFd,
    pub(super) alarm: Alarm,
    pub(super) orders: Orders,
    /// Those that earlier daemons were given and may be given again.
    pub(super) deletions: Deletions,
    /// Questions and orders that came while somebody was dying; answered when it is known how.
    pub(super) put_off: VecDeque<Mail>,
    pub(super) troubles: BTreeMap<&'static str, String>,
    /// Room is to be made for the installed program, by an order of that key.
    pub(super) leaving: Option<OrderKey>,
    /// Effects since memory was last given back.
    pub(super) burst: u32,
}

/// The runtime's watch on an epoll set: on a duplicate of its descriptor, so that the hands keep the set itself.
///
/// # Errors
/// Out of descriptors.
pub(super) fn watch(set: &Epoll) -> std::io::Result<AsyncFd<OwnedFd>> {
    let duplicate = rustix::io::fcntl_dupfd_cloexec(set, 3)?;
    #[expect(deprecated, reason = "its successor is unsafe; an OwnedFd keeps the promise that it asks for")]
    AsyncFd::with_interest(duplicate, tokio::io::Interest::READABLE)
}

impl EventLoop {
    /// Until an order ends it: how, and the hands, for the last things. `ready` is the runtime's watch on the hands' epoll set,
    /// see [`watch`].
    pub(super) async fn run(mut self, ready: AsyncFd<OwnedFd>) -> (Ending, Hands) {
        let ending = match (self.turns(&ready).await, self.leaving) {
            (None, Some(key)) => {
                let unanswered = Box::new((self.mailbox, self.orders, self.put_off));
                Ending::HandOver { key, _unanswered: unanswered }
            }
            // It has been answered that the daemon ends; room that was to be made meanwhile is there all the more.
            (Some(keep_apps), _) => Ending::Quit { keep_apps },
            (None, None) => Ending::Quit { keep_apps: true },
        };
        (ending, self.hands)
    }

    /// Some: by an order to end, and whether apps are kept.
    async fn turns(&mut self, ready: &AsyncFd<OwnedFd>) -> Option<bool> {
        let mut alone_since = Instant::now();
        loop {
            // The server's tasks have their turn only while we wait, and a thousand apps that are told to restart keep the set
            // ready for seconds.
            if alone_since.elapsed() > LONGEST_ALONE {
                tokio::task::yield_now().await;
                alone_since = Instant::now();
            }
            self.take_up();
            let more = match self.perform() {
                // A daemon that makes room is one that dies at a good moment: everything decided is done, and nothing is lost that
                // a death would not lose.
                Performed::All if self.leaving.is_some() => {
                    self.hands.record(Event::DaemonEnded { keep_apps: true });
                    return None;
                }
                Performed::All => false,
                Performed::Some => true,
                Performed::Quit { keep_apps } => return Some(keep_apps),
            };
            self.alarm.set(self.core.next_deadline());
            let quiet = if self.burst < BURST { QUIET_AFTER_LITTLE } else { QUIET };
            tokio::select! {
                biased;
                guard = ready.readable() => {
                    let Ok(mut guard) = guard else { return Some(true) };
                    // The runtime is told of changes only (EPOLLET), so nothing may be left behind unsaid: either the set is
                    // found empty, or it is kept as ready and comes again after the letters below.
                    if self.look() {
                        guard.clear_ready();
                    }
                }
                letter = self.mailbox.recv() => {
                    let Some(letter) = letter else { return Some(true) };
                    self.letter(letter);
                }
                () = tokio::time::sleep(quiet), if self.burst > 0 && !more => {
                    if self.burst < BURST { memory::let_go_of_the_program() } else { memory::give_back() }
                    self.burst = 0;
                }
                // There is more to do at once; the server's tasks have their turn in between.
                () = tokio::task::yield_now(), if more => {}
            }
            // Whatever woke us, letters that lie here belong to the same step: the writes that they ask for share an fsync, and
            // apps that keep the set ready for ever (a storm of crashes) cannot keep people from being heard.
            for _ in 0..1024 {
                let Ok(next) = self.mailbox.try_recv() else { break };
                self.letter(next);
            }
        }
    }

    pub(super) fn tell(&mut self, input: Input) {
        self.core.handle(clock::now(), input);
    }

    fn tell_all(&mut self, inputs: Vec<Input>) {
        for input in inputs {
            self.tell(input);
        }
    }

    /// Performs what effects there are, up to a number of spawns.
    fn perform(&mut self) -> Performed {
        let mut spawns = 0;
        while spawns < SPAWNS_AT_ONCE {
            let Some(effect) = self.core.poll_effect() else { return Performed::All };
            super::failpoint::before(&effect);
            self.burst = self.burst.saturating_add(1);
            match effect {
                Effect::Reply { order, answer } => self.orders.answer(order, answer),
                Effect::Quit { keep_apps } => {
                    self.hands.record(Event::DaemonEnded { keep_apps });
                    return Performed::Quit { keep_apps };
                }
                Effect::Record(event @ Event::Ordered { .. }) => {
                    for event in self.orders.minutes(event) {
                        self.hands.record(event);
                    }
                }
                effect => {
                    spawns += u32::from(matches!(effect, Effect::Spawn(_)));
                    if let Some(input) = self.hands.perform(effect) {
                        self.tell(input);
                    }
                }
            }
        }
        Performed::Some
    }

    fn readiness(&mut self, event: Ready) {
        let Some(token) = Token::decode(event.token) else { return };
        let told = match token {
            Token::Keeper => return self.hear_keeper(),
            Token::Alarm => {
                self.alarm.clear();
                return self.core.handle_timeout(clock::now());
            }
            Token::Signals => return self.notice_signals(),
            Token::Status(run) => self.hands.runs.status_ready(&self.hands.epoll, run),
            Token::Pidfd(run) => {
                // Said before it reaps: if the keeper knows how this one ended, it has said so by now.
                self.hear_keeper();
                self.hands.runs.pidfd_ready(&self.hands.epoll, run, event.hangup)
            }
            Token::Events(run) => self.hands.runs.events_ready(&self.hands.epoll, run),
            Token::Freezer(run) => self.hands.runs.freezer_ready(&self.hands.epoll, run).into_iter().collect(),
            Token::Memory(run) => self.hands.runs.memory_ready(&self.hands.epoll, run).into_iter().collect(),
        };
        self.tell_all(told);
    }

    pub(super) fn hear_keeper(&mut self) {
        while let Some((message, _)) = self.hands.keeper.hear() {
            match message {
                ToDaemon::Exit(run, ended) => {
                    let run = RunId(run);
                    // One that we know is acknowledged when its end is in the journal, and not before.
                    if !self.hands.runs.knows(run) && !self.hands.unrecorded.contains(&run) {
                        self.hands.keeper.acknowledge(run);
                    }
                    let told = self.hands.runs.recorded(&self.hands.epoll, run, ended);
                    self.tell_all(told);
                }
                ToDaemon::Ping => self.hands.keeper.alive(),
                ToDaemon::Held(_) | ToDaemon::End | ToDaemon::Before(_) | ToDaemon::Reloaded(_) => {}
            }
        }
    }

    /// Adopted runs of this keeper whose main process is gone and of which it has no record: nobody saw.
    pub(super) fn give_up_on_records(&mut self) {
        self.hear_keeper();
        for run in self.hands.runs.without_record() {
            let told = self.hands.runs.exited(&self.hands.epoll, run, ExitStatus::NotObserved, None);
            self.tell_all(told);
        }
    }

    /// SIGTERM, passed on by the keeper: stop every app gracefully, then end.
    fn notice_signals(&mut self) {
        while let Ok(Some(_)) = self.signals.read_signal() {
            self.hands.keeper.stopping(self.core.longest_way_down());
            let order = self.hands.handle.next_order();
            self.tell(Input::Ordered { order, key: None, request: Order::Shutdown { keep_apps: false } });
        }
    }

    /// Whatever is ready by now. False: there may be more.
    fn look(&mut self) -> bool {
        let mut happened: Vec<Ready> = Vec::with_capacity(64);
        for _ in 0..16 {
            let _ = self.hands.epoll.wait(&mut happened, false);
            if happened.is_empty() {
                return true;
            }
            for event in &happened {
                self.readiness(*event);
            }
        }
        false
    }

    /// Whoever asks is told what is so now, not what was so when we last looked: an app killed before the question was sent
    /// is never shown as online. Its exit is on its way by then; the answer waits for it.
    fn letter(&mut self, letter: Mail) {
        if matches!(letter, Mail::Question(_) | Mail::Order { .. }) {
            self.look();
            if self.leaving.is_some() || !self.put_off.is_empty() || self.hands.runs.somebody_is_dying() {
                self.put_off.push_back(letter);
                return;
            }
        }
        self.open(letter);
    }

    /// What was put off, once everybody's end is known.
    fn take_up(&mut self) {
        while self.leaving.is_none()
            && !self.hands.runs.somebody_is_dying()
            && let Some(letter) = self.put_off.pop_front()
        {
            self.open(letter);
        }
    }

    fn open(&mut self, letter: Mail) {
        match letter {
            Mail::Order { order, key, by, ask, reply } => self.order(order, key, by, ask, reply),
            Mail::Abandoned(order) => {
                if self.orders.abandon(order) {
                    self.tell(Input::Abandoned { order });
                }
            }
            Mail::Question(question) => {
                self.burst = self.burst.saturating_add(BURST_OF_QUESTION);
                question(&View { core: &self.core, hands: &self.hands, troubles: &self.troubles });
            }
            Mail::HandOver { key, by } => {
                let (apps, asked) = (Vec::new(), Some(Box::new(Asked { by, ..Asked::default() })));
                self.hands.record(Event::Ordered { verb: "reload".to_owned(), apps, key: Some(key.clone()), asked });
                self.leaving = Some(key);
            }
            Mail::Store(event) => self.store_said(event),
            Mail::Trouble { about, message } => self.trouble(about, message),
            Mail::Limited { run, turn, result } => {
                self.hands.limiter.done(run).into_iter().for_each(|input| self.tell(input));
                // That it is gone is told elsewhere, and settles whoever waits.
                if let Some(result) = result {
                    self.tell(Input::Limited { run, turn, failure: result.err() });
                }
            }
            Mail::Drained(run, last) => {
                self.hands.last_words(run, &last);
                self.hands.drained(run);
            }
            Mail::Programmed(spawn, program) => {
                let input = self.hands.programmed(&spawn, program.map(|p| *p));
                if let Some(input) = input {
                    self.tell(input);
                }
            }
        }
    }

    fn store_said(&mut self, event: StoreEvent) {
        match event {
            StoreEvent::Persisted(write) => {
                self.troubles.remove("save");
                self.tell(Input::Persisted { write });
            }
            StoreEvent::PersistFailed { write, error } => {
                self.trouble("save", Some(error.clone()));
                self.tell(Input::PersistFailed { write, error });
            }
            StoreEvent::Recorded(run) => self.hands.recorded(run),
            StoreEvent::Trouble(message) => self.trouble("journal", Some(message)),
            StoreEvent::TroubleOver => self.trouble("journal", None),
        }
    }

    /// Says it once, when it begins; shows it in `opm daemon status` for as long as it lasts.
    fn trouble(&mut self, about: &'static str, message: Option<String>) {
        match message {
            Some(message) => {
                if self.troubles.insert(about, message.clone()).is_none() {
                    super::log(&message);
                    self.hands.record(Event::Trouble { message });
                }
            }
            None => drop(self.troubles.remove(about)),
        }
    }
}
