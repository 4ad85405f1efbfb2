//! Files that list apps: ours, PM2's field names, and what is wrong in them.

use crate::rig::Rig;
use serde_json::json;

#[test]
fn a_json_file_starts_all_its_apps_in_one_order() {
    let rig = Rig::new();
    let apps = json!({"apps": [
        {"name": "one", "script": rig.prog, "args": ["facts:one", "pause"], "env": {"A": "1"}, "instances": 2, "namespace": "shop"},
        {"name": "two", "script": "./prog", "args": "facts:two 'quoted arg' pause", "restart": "on-failure", "stop_timeout": "3s"},
        {"name": "three", "script": "three.sh"},
    ]});
    rig.write("three.sh", "exec sleep 1000\n");
    let file = rig.write("apps.json", &apps.to_string());
    rig.ok(&["start", &file]);
    let rows = rig.rows();
    assert_eq!(rows.len(), 4, "{rows:?}");
    assert!(rows.iter().all(|row| row["state"] == "online"), "{rows:?}");
    assert_eq!(rig.facts("one").env("A").as_deref(), Some("1"));
    assert_eq!(rig.facts("two").bytes("arg")[2], b"quoted arg");
    let pids = rig.app_pids();
    rig.ok(&["start", &file]).says(&["already online"]);
    assert_eq!(rig.app_pids(), pids, "the same file again changes nothing");
}

#[test]
fn a_toml_file_does_the_same() {
    let rig = Rig::new();
    let text = "[[apps]]\nname = 'one'\nscript = './prog'\nargs = ['facts:one', 'pause']\numask = '0027'\n[apps.env]\nA = '1'\n\n[[apps]]\nname = 'two'\nscript = './prog'\nargs = ['pause']\n";
    let file = rig.write("apps.toml", text);
    rig.ok(&["start", &file]);
    assert_eq!(rig.rows().len(), 2);
    assert_eq!(rig.facts("one").env("A").as_deref(), Some("1"));
}

/// The names that stand in people's ecosystem files.
#[test]
fn pm2s_field_names_are_accepted() {
    let rig = Rig::new();
    let apps = json!({"apps": [{
        "name": "web", "script": "./prog", "args": "facts:web pause", "exec_interpreter": "none", "instances": 1, "autorestart": true,
        "max_restarts": 5, "min_uptime": "2s", "restart_delay": 500, "kill_timeout": 3000, "stop_exit_codes": [3], "env": {"A": 1},
    }]});
    let file = rig.write("ecosystem.json", &apps.to_string());
    rig.ok(&["start", &file]);
    let info = rig.ok(&["info", "web", "--json"]).json();
    let spec = if info.is_array() { info[0]["spec"].clone() } else { info["spec"].clone() };
    assert_eq!(
        (&spec["stop_timeout"], &spec["min_uptime"], &spec["restart_delay"]),
        (&"3s".into(), &"2s".into(), &"500ms".into()),
        "{spec:#}"
    );
    assert_eq!((&spec["max_restarts"], &spec["stop_exit_codes"]), (&5.into(), &json!([3])), "{spec:#}");
    assert_eq!(rig.facts("web").env("A").as_deref(), Some("1"), "a number in env is its text");
}

/// E15: `max_restart`, `autorestrat` and others were accepted in silence.
#[test]
fn e15_an_unknown_key_is_refused_with_a_suggestion() {
    let rig = Rig::new();
    for (wrong, meant) in [
        ("max_restart", "max_restarts"),
        ("autorestrat", "autorestart"),
        ("stop_time_out", "stop_timeout"),
        ("arg", "args"),
    ] {
        let file =
            rig.write("apps.json", &json!({"apps": [{"name": "web", "script": "./prog", wrong: 1}]}).to_string());
        let said = rig.opm(&["start", &file]);
        assert!(matches!(said.code, Some(1 | 2)), "{said}");
        said.says(&[wrong, meant]);
    }
    assert!(rig.rows().is_empty());
}

/// All or none: one bad app in the file, and nothing of it is applied.
#[test]
fn one_bad_app_in_a_file_refuses_all_of_it() {
    let rig = Rig::new();
    rig.start("taken", &[], &["pause"]);
    let good = json!({"name": "good", "script": "./prog", "args": ["pause"]});
    for bad in [
        json!({"name": "missing", "script": "./no-such-script"}),
        json!({"name": "a/b", "script": "./prog"}),
        json!({"name": "taken", "script": "./prog", "args": ["other", "pause"]}),
        json!({"name": "good", "script": "./prog", "args": ["twice", "pause"]}),
        json!({"name": "user", "script": "./prog", "user": "no-such-user-here"}),
    ] {
        let file = rig.write("apps.json", &json!({"apps": [good, bad]}).to_string());
        let said = rig.opm(&["start", &file]);
        assert!(matches!(said.code, Some(1 | 2)), "{bad}: {said}");
        assert_eq!(rig.rows().len(), 1, "{bad} was refused, and what came with it was not: {said}");
    }
}

#[test]
fn files_that_are_no_app_list_are_refused_with_the_reason() {
    let rig = Rig::new();
    for (name, text) in [
        ("broken.json", "{\"apps\": ["),
        ("empty.json", ""),
        ("other.json", "[1, 2]"),
        ("newer.json", "{\"version\": 99999, \"apps\": []}"),
        ("broken.toml", "[[apps\n"),
        ("noscript.json", "{\"apps\": [{\"name\": \"x\"}]}"),
    ] {
        let file = rig.write(name, text);
        let said = rig.opm(&["start", &file]);
        assert!(matches!(said.code, Some(1 | 2)), "{said}");
        said.says(&[name]);
    }
    assert!(rig.rows().is_empty());
}
