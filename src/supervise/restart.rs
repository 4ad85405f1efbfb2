//! What follows when a run ended: at once, after a while, later and rarely, or nothing. The whole policy is on this page.
//!
//! Owns the arithmetic. It must not know states or orders; it is asked only about runs that nobody ordered to end. What a
//! reader would get wrong: *clean* and *failure* are not opposites. A program that exits 0 after 5 ms ended cleanly, and is a
//! failure all the same, since it did not stay: under `always` it backs off like one that crashed.

use super::bug::{self, Bug};
use super::instance::Counters;
use crate::model::exit::Sequel;
use crate::model::policy::{ErroredRetry, HEALTHY_AFTER, RestartPolicy, START_LIMIT_WINDOW};
use crate::model::{AppSpec, ExitRecord, ExitStatus, Generation, Moment, RunId};
use std::time::Duration;

/// A run that ended by itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    pub run: RunId,
    pub status: ExitStatus,
    pub uptime: Duration,
    pub probation: bool,
    /// It passed its memory mark, and was asked to end.
    pub heavy: bool,
}

/// Decides what follows, and counts it.
pub(super) fn after(spec: &AppSpec, ended: Ended, counters: &mut Counters, seed: u64, now: Moment) -> Sequel {
    let (clean, done_on_purpose) = match ended.status {
        // It did as it was asked.
        ExitStatus::Code(_) | ExitStatus::Signal { .. } | ExitStatus::NeverRan | ExitStatus::NotObserved
            if ended.heavy && !bug::on(Bug::HeavyIsAFailure) =>
        {
            (true, false)
        }
        ExitStatus::Code(code) => {
            let listed = spec.stop_exit_codes.contains(&code);
            (code == 0 || listed, listed)
        }
        ExitStatus::Signal { .. } | ExitStatus::NeverRan => (false, false),
        ExitStatus::NotObserved => (bug::on(Bug::UnobservedIsClean), false),
    };
    let healthy = ended.uptime >= HEALTHY_AFTER;
    if healthy && !bug::on(Bug::HealthyDoesNotClear) {
        counters.failures = 0;
        counters.recent.clear();
    }
    match spec.restart {
        // The mark itself asks for its successor, whatever the policy says of those that end by themselves.
        RestartPolicy::Always | RestartPolicy::OnFailure | RestartPolicy::Never if ended.heavy => {}
        RestartPolicy::Always if done_on_purpose => return Sequel::Finished,
        RestartPolicy::OnFailure | RestartPolicy::Never if clean => return Sequel::Finished,
        RestartPolicy::Never => return Sequel::Errored { next: None },
        RestartPolicy::Always | RestartPolicy::OnFailure => {}
    }
    let early = ended.uptime < spec.min_uptime.0;
    if early {
        counters.failures = counters.failures.saturating_add(1);
    }
    if early || !clean {
        counters.recent.retain(|at| now.since(*at) < START_LIMIT_WINDOW);
        counters.recent.push(now);
        let limit = spec.max_restarts.max(1) as usize;
        let over_limit = counters.recent.len() >= limit && !bug::on(Bug::StartLimitIgnored);
        if over_limit || (ended.probation && !healthy && !bug::on(Bug::ProbationForgotten)) {
            return Sequel::Errored { next: next_attempt(spec, now) };
        }
    }
    counters.restarts = counters.restarts.saturating_add(1);
    Sequel::Restart { at: now + delay(spec, early, counters.failures, seed ^ ended.run.0) }
}

/// Which of an instance's records still count against its start limit: what a daemon hands over as `Past::failures`.
/// `records` are those of this boot since the counters were last cleared, oldest first; `spec` is what is wanted now.
#[must_use]
pub fn recent_failures<'a>(
    spec: &AppSpec,
    records: impl IntoIterator<Item = &'a ExitRecord>,
    now: Moment,
) -> Vec<Moment> {
    let mut recent = Vec::new();
    let mut generation = Generation(0);
    for record in records {
        let uptime = record.ended.since(record.started);
        if record.generation != generation || uptime >= HEALTHY_AFTER {
            recent.clear();
            generation = record.generation;
        }
        let clean = record.memory_mark.is_some()
            || matches!(record.status, ExitStatus::Code(code) if code == 0 || spec.stop_exit_codes.contains(&code));
        let by_itself = match record.sequel {
            Sequel::Errored { .. } | Sequel::Restart { .. } => true,
            Sequel::Finished | Sequel::Down | Sequel::Replaced => false,
        };
        if by_itself && (!clean || uptime < spec.min_uptime.0) {
            recent.push(record.ended);
        }
    }
    recent.retain(|at| now.since(*at) < START_LIMIT_WINDOW);
    recent
}

/// When an errored instance is tried again.
fn next_attempt(spec: &AppSpec, now: Moment) -> Option<Moment> {
    match spec.errored_retry {
        ErroredRetry::Every(_) if bug::on(Bug::ErroredForGood) => None,
        ErroredRetry::Every(span) => Some(now + span.0),
        ErroredRetry::Never => None,
    }
}

fn delay(spec: &AppSpec, early: bool, failures: u32, seed: u64) -> Duration {
    if let Some(fixed) = spec.restart_delay {
        return fixed.0;
    }
    if !early || bug::on(Bug::NoBackoff) {
        return Duration::ZERO;
    }
    let factor = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    let grown = spec.backoff.initial.0.saturating_mul(factor);
    let capped = if bug::on(Bug::BackoffWithoutCap) { grown } else { grown.min(spec.backoff.max.0) };
    jittered(capped, seed)
}

/// 90 to 110 % of it: apps that died together do not come back together.
fn jittered(delay: Duration, seed: u64) -> Duration {
    let thousandths = u32::try_from(900 + mix(seed) % 201).unwrap_or(1000);
    delay.saturating_mul(thousandths) / 1000
}

/// splitmix64's output function: scatters neighbouring numbers.
fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used)]
    use super::*;
    use crate::model::{Signal, Span};

    fn spec() -> AppSpec {
        AppSpec::new("web".parse().unwrap(), "/bin/web".into(), "/".into())
    }

    fn ended(status: ExitStatus, uptime_ms: u64) -> Ended {
        Ended { run: RunId(1), status, uptime: Duration::from_millis(uptime_ms), probation: false, heavy: false }
    }

    const CRASH: ExitStatus = ExitStatus::Code(1);
    const NOW: Moment = Moment(1_000_000_000_000);

    #[test]
    fn what_follows_depends_on_policy_and_on_how_it_ended() {
        let clean = ExitStatus::Code(0);
        let killed = ExitStatus::Signal { signal: Signal::KILL, core: false };
        let at_once = Sequel::Restart { at: NOW };
        for (restart, status, expected) in [
            (RestartPolicy::Always, clean, at_once),
            (RestartPolicy::Always, ExitStatus::Code(7), Sequel::Finished),
            (RestartPolicy::Always, CRASH, at_once),
            (RestartPolicy::OnFailure, clean, Sequel::Finished),
            (RestartPolicy::OnFailure, killed, at_once),
            (RestartPolicy::OnFailure, ExitStatus::NotObserved, at_once),
            (RestartPolicy::Never, clean, Sequel::Finished),
            (RestartPolicy::Never, ExitStatus::Code(7), Sequel::Finished),
            (RestartPolicy::Never, killed, Sequel::Errored { next: None }),
        ] {
            let spec = AppSpec { restart, stop_exit_codes: vec![7], ..spec() };
            let sequel = after(&spec, ended(status, 5_000), &mut Counters::default(), 1, NOW);
            assert_eq!(sequel, expected, "{restart:?} {status:?}");
        }
    }

    #[test]
    fn early_failures_back_off_doubling_to_the_cap_and_a_healthy_run_forgives() {
        let spec = AppSpec { max_restarts: 100, ..spec() };
        let mut counters = Counters::default();
        for n in 0..12_u32 {
            let expected = Duration::from_millis((100_u64 << n).min(15_000));
            let Sequel::Restart { at } = after(&spec, ended(CRASH, 3), &mut counters, 9, NOW) else {
                unreachable!("far below the start limit")
            };
            let got = at.since(NOW);
            assert!(got >= expected * 9 / 10 && got <= expected * 11 / 10, "failure {n}: {got:?}, about {expected:?}");
        }
        assert_eq!((counters.restarts, counters.failures), (12, 12));
        assert_eq!(after(&spec, ended(CRASH, 30_000), &mut counters, 9, NOW), Sequel::Restart { at: NOW });
        assert_eq!((counters.failures, counters.recent.len()), (0, 1));
    }

    #[test]
    fn a_fixed_delay_replaces_every_other() {
        let spec = AppSpec { restart_delay: Some(Span::millis(700)), ..spec() };
        for uptime in [1, 5_000] {
            let sequel = after(&spec, ended(CRASH, uptime), &mut Counters::default(), 1, NOW);
            assert_eq!(sequel, Sequel::Restart { at: NOW + Duration::from_millis(700) });
        }
    }

    #[test]
    fn ten_failures_in_a_minute_are_errored_and_nine_are_not() {
        let mut counters = Counters::default();
        let mut now = NOW;
        for _ in 0..9 {
            assert!(matches!(after(&spec(), ended(CRASH, 2_000), &mut counters, 1, now), Sequel::Restart { .. }));
            now = now + Duration::from_secs(2);
        }
        let mut later = counters.clone();
        let next = Some(now + Duration::from_secs(60));
        assert_eq!(after(&spec(), ended(CRASH, 2_000), &mut counters, 1, now), Sequel::Errored { next });
        // The same failure after the first have left the window is no reason.
        let now = now + Duration::from_secs(45);
        assert!(matches!(after(&spec(), ended(CRASH, 2_000), &mut later, 1, now), Sequel::Restart { .. }));
    }

    #[test]
    fn what_passed_its_memory_mark_is_started_again_whatever_the_policy_and_is_no_failure() {
        let term = ExitStatus::Signal { signal: Signal::TERM, core: false };
        let heavy = |uptime| Ended { heavy: true, ..ended(term, uptime) };
        for restart in [RestartPolicy::Always, RestartPolicy::OnFailure, RestartPolicy::Never] {
            let (spec, mut counters) = (AppSpec { restart, ..spec() }, Counters::default());
            for _ in 0..20 {
                let sequel = after(&spec, heavy(5_000), &mut counters, 1, NOW);
                assert_eq!(sequel, Sequel::Restart { at: NOW }, "{restart:?}");
            }
            assert_eq!((counters.restarts, counters.failures, counters.recent.len()), (20, 0, 0));
        }
        // At it again before it has done anything: that is one.
        let mut counters = Counters::default();
        assert!(matches!(after(&spec(), heavy(300), &mut counters, 1, NOW), Sequel::Restart { at } if at > NOW));
        assert_eq!((counters.failures, counters.recent.len()), (1, 1));
    }

    #[test]
    fn the_attempt_of_an_errored_instance_gets_one_chance() {
        let attempt = |uptime| Ended { probation: true, ..ended(CRASH, uptime) };
        let mut counters = Counters::default();
        assert!(matches!(after(&spec(), attempt(29_000), &mut counters, 1, NOW), Sequel::Errored { next: Some(_) }));
        assert!(matches!(after(&spec(), attempt(30_000), &mut counters, 1, NOW), Sequel::Restart { .. }));
    }
}
