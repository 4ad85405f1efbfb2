//! What `opm startup` and `opm unstartup` have to do, decided from what there is. Pure: facts in, steps out.
//!
//! It must not look or act; `install.rs` does. What a reader would get wrong: no step touches an app. Where a daemon runs already,
//! its unit gets another file under it at a daemon-reload; keeper, daemon and apps do not notice.

use super::state::{Active, Load, State};
use std::path::PathBuf;

/// What there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct Facts {
    /// The unit's name.
    pub(in crate::cli) unit: String,
    /// What wants it.
    pub(in crate::cli) wanted_by: &'static str,
    /// Where opm's file belongs that outlives a reboot.
    pub(in crate::cli) lasting: File,
    /// The one that does not.
    pub(in crate::cli) fleeting: File,
    /// A file that a package, or an administrator, installed.
    pub(in crate::cli) foreign: Option<PathBuf>,
    /// What opm would write.
    pub(in crate::cli) text: String,
    /// How the unit stands; none: no manager can be asked.
    pub(in crate::cli) state: Option<State>,
    /// Whether a daemon answers.
    pub(in crate::cli) daemon: bool,
    pub(in crate::cli) linger: Linger,
    /// The link that enables it is there.
    pub(in crate::cli) linked: bool,
}

/// A unit file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct File {
    pub(in crate::cli) path: PathBuf,
    pub(in crate::cli) content: Content,
}

/// Whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum Content {
    Absent,
    /// opm wrote it, so.
    Ours(String),
    /// Somebody else's, or a link.
    Theirs,
}

/// Whether a user's manager runs without a session of theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum Linger {
    On,
    Off,
    /// The system's daemon needs none.
    NoMatter,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum Step {
    /// Let the user's manager run from boot on.
    EnableLinger,
    Write {
        path: PathBuf,
        text: String,
    },
    Remove(PathBuf),
    /// Read unit files anew.
    Reload,
    Enable,
    /// Enable by hand: systemctl will not while a transient unit of that name runs, and needs a manager for a user's.
    Link {
        path: PathBuf,
        target: PathBuf,
    },
    Start,
    Disable,
    /// Stop the daemon and its apps.
    Stop,
}

/// What is to be done, and what somebody should know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::cli) struct Plan {
    pub(in crate::cli) steps: Vec<Step>,
    pub(in crate::cli) notes: Vec<String>,
}

/// What makes opm start with the machine.
///
/// # Errors
/// What is in the way, and the mend.
pub(in crate::cli) fn startup(facts: &Facts) -> Result<Plan, (String, String)> {
    let Facts { unit, .. } = facts;
    if let Some(State { load: Load::Masked, fragment, .. }) = &facts.state {
        let at = fragment.as_ref().map(|path| format!(" ({})", path.display())).unwrap_or_default();
        return Err((
            format!("{unit} is masked{at}: somebody does not want it to start"),
            format!("'{} unmask {unit}' allows it again", facts.systemctl()),
        ));
    }
    let mut plan = Plan::default();
    if facts.linger == Linger::Off {
        plan.steps.push(Step::EnableLinger);
    }
    let theirs = match facts.lasting.content {
        Content::Theirs => Some(&facts.lasting.path),
        Content::Absent | Content::Ours(_) => facts.foreign.as_ref(),
    };
    let before = plan.steps.len();
    match (theirs, &facts.lasting.content) {
        // It would hide the packaged one, and go on starting what may have been removed since.
        (Some(_), Content::Ours(_)) => plan.steps.push(Step::Remove(facts.lasting.path.clone())),
        (Some(_), Content::Absent | Content::Theirs) => {}
        (None, Content::Ours(text)) if *text == facts.text => {}
        (None, Content::Ours(_) | Content::Absent | Content::Theirs) => {
            plan.steps.push(Step::Write { path: facts.lasting.path.clone(), text: facts.text.clone() });
        }
    }
    if let Content::Ours(_) = facts.fleeting.content {
        plan.steps.push(Step::Remove(facts.fleeting.path.clone()));
    }
    let changed = plan.steps.len() > before;
    let link = || {
        let target = theirs.unwrap_or(&facts.lasting.path).clone();
        let wants = facts.lasting.path.with_file_name(format!("{}.wants", facts.wanted_by));
        Step::Link { path: wants.join(unit), target }
    };
    let Some(state) = &facts.state else {
        if !facts.linked {
            plan.steps.push(link());
        }
        // It starts with the manager, as soon as one runs.
        return Ok(plan);
    };
    if changed || state.stale {
        plan.steps.push(Step::Reload);
    }
    if state.transient {
        if !facts.linked {
            plan.steps.push(link());
        }
        plan.notes.push(format!(
            "{unit} runs as a transient unit (systemd-run), which lies before the installed one until it ends; from the next boot on \
             it is the installed one"
        ));
        return Ok(plan);
    }
    if !state.is_enabled() {
        plan.steps.push(Step::Enable);
    }
    match state.active {
        Active::Yes => {}
        Active::No | Active::Failed if facts.daemon => plan.notes.push(format!(
            "a daemon runs already, and not as {unit}; from the next boot on it does ('opm kill', then '{} start {unit}', stops \
             its apps and starts them again under the unit now)",
            facts.systemctl()
        )),
        Active::No | Active::Failed => plan.steps.push(Step::Start),
    }
    Ok(plan)
}

/// What undoes it. `now`: the daemon and its apps stop, too.
pub(in crate::cli) fn unstartup(facts: &Facts, now: bool) -> Plan {
    let mut plan = Plan::default();
    let active = facts.state.as_ref().is_some_and(|state| state.active == Active::Yes);
    if now && active {
        plan.steps.push(Step::Stop);
    }
    // A link made by hand is one that systemctl takes away, too. Of a masked unit it takes none away, and says that it did.
    let by_hand = |state: &State| state.transient || state.load == Load::Masked;
    match &facts.state {
        Some(state) if state.is_enabled() || (facts.linked && !by_hand(state)) => plan.steps.push(Step::Disable),
        Some(_) | None if facts.linked => {
            let wants = facts.lasting.path.with_file_name(format!("{}.wants", facts.wanted_by));
            plan.steps.push(Step::Remove(wants.join(&facts.unit)));
            if facts.state.as_ref().is_some_and(|state| state.load == Load::Masked) {
                plan.steps.push(Step::Reload);
            }
        }
        Some(_) | None => {}
    }
    if let Content::Ours(text) = &facts.lasting.content {
        let stays = active && !now && facts.state.as_ref().is_some_and(|state| !state.transient);
        // A daemon that runs on needs a file to be reloaded by.
        if stays && facts.foreign.is_none() && facts.fleeting.content != Content::Ours(text.clone()) {
            plan.steps.push(Step::Write { path: facts.fleeting.path.clone(), text: text.clone() });
        }
        plan.steps.push(Step::Remove(facts.lasting.path.clone()));
        if facts.state.is_some() {
            plan.steps.push(Step::Reload);
        }
    }
    if active && !now {
        plan.notes.push("the daemon and its apps run on, until the machine goes down or 'opm kill'".to_owned());
    }
    if facts.linger == Linger::On {
        plan.notes.push("lingering stays on, others may need it; 'loginctl disable-linger' takes it away".to_owned());
    }
    plan
}

impl Plan {
    /// Whether lingering is to be switched on.
    pub(in crate::cli) fn needs_linger(&self) -> bool {
        self.steps.contains(&Step::EnableLinger)
    }
}

impl Facts {
    fn systemctl(&self) -> &'static str {
        if self.linger == Linger::NoMatter { "systemctl" } else { "systemctl --user" }
    }
}

#[cfg(test)]
mod tests;
