//! One system call after the other, for thousands of things: shared out among a few threads that end with the work.
//!
//! Owns nothing but that. What a reader would get wrong: a table of descriptors that grows while several threads have it waits out an RCU
//! grace period, so whoever opens many that stay open makes room first ([`make_room`](crate::kernel::rlimit::make_room)).

use std::sync::{Mutex, PoisonError};

/// How many threads, at most.
const MOST_THREADS: usize = 4;
/// For fewer things than this a thread costs more than it saves.
const WORTH_A_THREAD: usize = 128;

/// Does that with each, in order; with many by several threads, since what it takes is one system call after the other. Where no
/// thread can be had it is done all the same, by those that there are.
pub(super) fn shared_out<A: Send, B: Send>(mut all: Vec<A>, work: impl Fn(A) -> B + Sync) -> Vec<B> {
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(MOST_THREADS));
    if threads < 2 || all.len() < 2 * WORTH_A_THREAD {
        return all.into_iter().map(work).collect();
    }
    let mut parts = Vec::new();
    while !all.is_empty() {
        parts.push(all.split_off(all.len().saturating_sub(WORTH_A_THREAD)));
    }
    let parts = Mutex::new(parts.into_iter().enumerate());
    let next = || parts.lock().unwrap_or_else(PoisonError::into_inner).next();
    let take_part = || -> Vec<(usize, Vec<B>)> {
        std::iter::from_fn(next).map(|(nth, part)| (nth, part.into_iter().map(&work).collect())).collect()
    };
    let mut done = std::thread::scope(|scope| {
        let begin = |_| std::thread::Builder::new().spawn_scoped(scope, take_part).ok();
        let others: Vec<_> = (1..threads).filter_map(begin).collect();
        let mut done = take_part();
        for other in others {
            done.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        done
    });
    // They were split off from the end.
    done.sort_unstable_by_key(|(nth, _)| std::cmp::Reverse(*nth));
    done.into_iter().flat_map(|(_, part)| part).collect()
}
