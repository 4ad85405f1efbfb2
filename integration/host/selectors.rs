//! How people point at apps: `all`, `/regex/`, name, namespace, id, `web:0`, comma lists, several at once.

use crate::rig::Rig;

/// Which rows (`name:instance`) are wanted down.
fn down(rig: &Rig) -> Vec<String> {
    let rows = rig.rows();
    let rows = rows.iter().filter(|row| row["desired"] == "down");
    rows.map(|row| format!("{}:{}", row["name"].as_str().unwrap(), row["instance"])).collect()
}

#[test]
fn every_kind_of_selector_means_what_it_says() {
    let rig = Rig::new();
    rig.start("web", &["-i", "2", "--namespace", "shop"], &["pause"]); // id 0
    rig.start("api", &["--namespace", "shop"], &["pause"]); // id 1
    rig.start("job-a", &[], &["pause"]); // id 2
    rig.start("job-b", &[], &["pause"]); // id 3
    for (select, meant) in [
        (&["all"][..], &["web:0", "web:1", "api:0", "job-a:0", "job-b:0"][..]),
        (&["/^job-/"], &["job-a:0", "job-b:0"]),
        (&["/a/"], &["api:0", "job-a:0"]),
        (&["web"], &["web:0", "web:1"]),
        (&["shop"], &["web:0", "web:1", "api:0"]),
        (&["1"], &["api:0"]),
        (&["web:1"], &["web:1"]),
        (&["0:0"], &["web:0"]),
        (&["web:0,job-b"], &["web:0", "job-b:0"]),
        (&["api", "2"], &["api:0", "job-a:0"]),
        (&["api,/-b$/", "web:1"], &["web:1", "api:0", "job-b:0"]),
    ] {
        rig.ok(&[&["stop"], select].concat());
        let mut now = down(&rig);
        let mut meant = meant.to_vec();
        now.sort_unstable();
        meant.sort_unstable();
        assert_eq!(now, meant, "{select:?}");
        rig.ok(&["start", "all"]);
    }
}

/// A name wins over a namespace, and that over an id: an app called `1` is what `1` means.
#[test]
fn a_name_wins_over_a_namespace_and_that_over_an_id() {
    let rig = Rig::new();
    rig.start("1", &[], &["pause"]); // id 0
    rig.start("b", &[], &["pause"]); // id 1
    rig.start("c", &["--namespace", "b"], &["pause"]); // id 2
    rig.start("d", &["--namespace", "0"], &["pause"]); // id 3
    for (select, meant) in [("1", "1:0"), ("b", "b:0"), ("0", "d:0")] {
        rig.ok(&["stop", select]);
        assert_eq!(down(&rig), [meant], "{select}");
        rig.ok(&["start", "all"]);
    }
}

/// Errors name the thing and the mend.
#[test]
fn nothing_matching_is_exit_code_4_with_a_suggestion() {
    let rig = Rig::new();
    rig.start("web", &[], &["pause"]);
    rig.start("api", &[], &["pause"]);
    rig.opm(&["stop", "wbe"]).code(4).says(&["wbe", "did you mean", "web"]);
    rig.opm(&["restart", "web:7"]).code(4).says(&["web", "7"]);
    rig.opm(&["stop", "/^nothing/"]).code(4);
    for verb in ["stop", "delete", "info", "env", "logs", "reset"] {
        let args: &[&str] = if verb == "logs" { &["logs", "nobody", "--no-follow"] } else { &[verb, "nobody"] };
        rig.opm(args).code(4).says(&["nobody"]);
    }
    // One unknown among known ones: nothing is half-applied.
    rig.opm(&["stop", "web", "nobody"]).code(4);
    assert_eq!(down(&rig), Vec::<String>::new());
    rig.opm(&["stop", "/[/"]).code(2);
}
