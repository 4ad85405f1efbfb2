//! `opm daemon after-stop`: what the units run when their main process is gone (ExecStopPost=).
//!
//! Owns the question what kind of end it was. What a reader would get wrong: a crash of the keeper costs no app anything, so
//! nothing is ended unless somebody ordered the unit to stop. systemd says so twice: in the result, and, where the keeper did
//! not survive its own stop, by the job that is under way.

use super::super::super::AfterStop;
use super::super::super::context::Context;
use super::super::super::exit::{Exit, Failure};
use super::super::super::launch::KEPT_APPS;
use super::super::super::service::manager;
use std::env;

/// From here on systemd puts the next main process into `supervisor/` (DelegateSubgroup=), where it is in nobody's way.
const KNOWS_SUBGROUPS: u32 = 254;

pub(super) fn run(context: &Context<'_>) -> Result<(), Failure> {
    let Ok(result) = env::var("SERVICE_RESULT") else {
        return Err(Failure::new(Exit::Usage, "this is for ExecStopPost= of opm's unit; SERVICE_RESULT is not set"));
    };
    let paths = context.paths()?;
    let manager = manager::of(&paths);
    let kept = env::var("EXIT_STATUS").is_ok_and(|status| status == KEPT_APPS.to_string());
    let job = || own_unit().zip(manager.as_ref()).is_some_and(|(unit, manager)| manager.is_stopping(&unit));
    let what = AfterStop {
        end_what_is_left: was_ordered(&result, kept, job),
        // One that does not tell its version is taken for an old one: then limits are off until the next daemon sets them again. That
        // is in a moment after a crash, and not before somebody starts one after `opm daemon stop --keep-apps`.
        take_controllers_off: manager::version(manager.as_ref()).is_none_or(|version| version < KNOWS_SUBGROUPS),
    };
    for done in context.hooks.after_stop(&paths, what).map_err(|why| Failure::new(Exit::Failed, why))? {
        context.ui.news(&done);
    }
    Ok(())
}

/// Whether somebody ordered the apps to end. `result` is $SERVICE_RESULT (systemd.exec(5)); `kept`: it ended by an order that
/// leaves the apps running; `stopping`: a job that stops the unit is under way.
fn was_ordered(result: &str, kept: bool, stopping: impl FnOnce() -> bool) -> bool {
    !kept && (result == "success" || stopping())
}

/// The unit that this process belongs to.
fn own_unit() -> Option<String> {
    unit_in(&std::fs::read_to_string("/proc/self/cgroup").ok()?)
}

/// The last component of the cgroup2 path that is a service: an app's own manager may have made more below.
fn unit_in(cgroup: &str) -> Option<String> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    path.rsplit('/').find(|part| part.ends_with(".service")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apps_are_ended_by_an_order_and_never_by_a_crash() {
        assert!(was_ordered("success", false, || false), "systemctl stop");
        assert!(!was_ordered("success", true, || true), "opm daemon stop --keep-apps");
        for crash in ["signal", "core-dump", "exit-code", "watchdog", "oom-kill", "resources", "timeout"] {
            assert!(!was_ordered(crash, false, || false), "{crash}");
            assert!(was_ordered(crash, false, || true), "{crash} while it was being stopped");
        }
    }

    #[test]
    fn the_unit_is_read_from_the_cgroup() {
        let found = |text| unit_in(text);
        assert_eq!(found("0::/system.slice/opm.service/.control\n").as_deref(), Some("opm.service"));
        let user =
            "1:name=systemd:/x.service\n0::/user.slice/user-1.slice/user@1.service/app.slice/opm-0a.service/.control";
        assert_eq!(found(user).as_deref(), Some("opm-0a.service"));
        assert_eq!(found("0::/user.slice/session-1.scope"), None);
    }
}
