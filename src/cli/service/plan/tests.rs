//! Facts in, steps out.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

fn state(load: Load, active: Active, file: &str) -> State {
    State {
        load,
        active,
        file: file.to_owned(),
        fragment: None,
        transient: false,
        stale: false,
        program: None,
        lacks: vec![],
    }
}

fn nothing_yet() -> Facts {
    Facts {
        unit: "opm.service".to_owned(),
        wanted_by: "default.target",
        lasting: File { path: "/h/.config/systemd/user/opm.service".into(), content: Content::Absent },
        fleeting: File { path: "/run/user/1/systemd/user/opm.service".into(), content: Content::Absent },
        foreign: None,
        text: "# Written by opm\n".to_owned(),
        state: Some(state(Load::NotFound, Active::No, "")),
        daemon: false,
        linger: Linger::On,
        linked: false,
    }
}

fn write(facts: &Facts) -> Step {
    Step::Write { path: facts.lasting.path.clone(), text: facts.text.clone() }
}

fn ours() -> Content {
    Content::Ours("# Written by opm\n".to_owned())
}

fn link(facts: &Facts) -> Step {
    Step::Link {
        path: "/h/.config/systemd/user/default.target.wants/opm.service".into(),
        target: facts.lasting.path.clone(),
    }
}

#[test]
fn nothing_installed_is_written_enabled_and_started() {
    let facts = nothing_yet();
    assert_eq!(startup(&facts).unwrap().steps, [write(&facts), Step::Reload, Step::Enable, Step::Start]);
}

#[test]
fn the_second_time_there_is_nothing_to_do() {
    let facts = nothing_yet();
    let lasting = File { content: ours(), ..facts.lasting.clone() };
    let done = Facts { lasting, state: Some(state(Load::Loaded, Active::Yes, "enabled")), linked: true, ..facts };
    assert_eq!(startup(&done).unwrap(), Plan::default());
}

#[test]
fn a_packaged_unit_is_only_enabled_and_one_of_ours_makes_way_for_it() {
    let facts = Facts {
        foreign: Some("/usr/lib/systemd/user/opm.service".into()),
        state: Some(state(Load::Loaded, Active::No, "disabled")),
        ..nothing_yet()
    };
    assert_eq!(startup(&facts).unwrap().steps, [Step::Enable, Step::Start]);
    let lasting = File { content: ours(), ..facts.lasting.clone() };
    let both = Facts { lasting, state: Some(state(Load::Loaded, Active::Yes, "enabled")), ..facts };
    assert_eq!(startup(&both).unwrap().steps, [Step::Remove(both.lasting.path.clone()), Step::Reload]);
}

#[test]
fn what_somebody_wrote_themselves_is_theirs() {
    let facts = nothing_yet();
    let lasting = File { content: Content::Theirs, ..facts.lasting.clone() };
    let facts = Facts { lasting, state: Some(state(Load::Loaded, Active::No, "disabled")), ..facts };
    assert_eq!(startup(&facts).unwrap().steps, [Step::Enable, Step::Start]);
    assert_eq!(unstartup(&facts, false).steps, []);
}

#[test]
fn a_daemon_that_runs_gets_the_lasting_file_under_it_and_is_not_touched() {
    let facts = nothing_yet();
    let fleeting = File { content: ours(), ..facts.fleeting.clone() };
    let facts = Facts { fleeting, state: Some(state(Load::Loaded, Active::Yes, "disabled")), daemon: true, ..facts };
    let steps = startup(&facts).unwrap().steps;
    assert_eq!(steps, [write(&facts), Step::Remove(facts.fleeting.path.clone()), Step::Reload, Step::Enable]);
}

#[test]
fn a_transient_unit_or_a_daemon_outside_of_systemd_is_left_until_the_next_boot() {
    let facts = nothing_yet();
    let transient = State { transient: true, ..state(Load::Loaded, Active::Yes, "transient") };
    let facts = Facts { state: Some(transient), daemon: true, ..facts };
    let plan = startup(&facts).unwrap();
    assert_eq!(plan.steps, [write(&facts), Step::Reload, link(&facts)]);
    assert!(plan.notes[0].contains("from the next boot on"), "{:?}", plan.notes);

    let facts = Facts { daemon: true, ..nothing_yet() };
    let plan = startup(&facts).unwrap();
    assert_eq!(plan.steps, [write(&facts), Step::Reload, Step::Enable], "not started: it would find the lock taken");
    assert!(plan.notes[0].contains("a daemon runs already"), "{:?}", plan.notes);
}

#[test]
fn without_lingering_that_comes_first_and_without_a_manager_the_rest_waits_for_it() {
    let facts = Facts { linger: Linger::Off, ..nothing_yet() };
    assert_eq!(startup(&facts).unwrap().steps[0], Step::EnableLinger);
    let facts = Facts { state: None, ..facts };
    assert_eq!(startup(&facts).unwrap().steps, [Step::EnableLinger, write(&facts), link(&facts)]);
}

#[test]
fn a_masked_unit_stays_masked() {
    let facts = Facts { state: Some(state(Load::Masked, Active::No, "masked")), ..nothing_yet() };
    let (why, mend) = startup(&facts).unwrap_err();
    assert!(why.contains("is masked") && mend.contains("systemctl --user unmask opm.service"), "{why} {mend}");
}

/// `systemctl disable` says that it did it, and leaves the link (seen with 257): after an unmask it would start at boot.
#[test]
fn a_masked_unit_is_disabled_by_hand() {
    let facts = Facts { state: Some(state(Load::Masked, Active::No, "masked")), linked: true, ..nothing_yet() };
    let Step::Link { path, .. } = link(&facts) else { unreachable!() };
    assert_eq!(unstartup(&facts, false).steps, [Step::Remove(path), Step::Reload]);
}

#[test]
fn undoing_removes_what_opm_wrote_and_leaves_a_running_daemon_a_file() {
    let facts = nothing_yet();
    let lasting = File { content: ours(), ..facts.lasting.clone() };
    let running = state(Load::Loaded, Active::Yes, "enabled");
    let facts = Facts { lasting, state: Some(running), linked: true, ..facts };
    let fleeting = Step::Write { path: facts.fleeting.path.clone(), text: facts.text.clone() };
    let plan = unstartup(&facts, false);
    let remove = Step::Remove(facts.lasting.path.clone());
    assert_eq!(plan.steps, [Step::Disable, fleeting, remove.clone(), Step::Reload]);
    assert_eq!(plan.notes.len(), 2, "{:?}", plan.notes);
    assert_eq!(unstartup(&facts, true).steps, [Step::Stop, Step::Disable, remove, Step::Reload]);
    assert_eq!(unstartup(&nothing_yet(), false).steps, []);
}
