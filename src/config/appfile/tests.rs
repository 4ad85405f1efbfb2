//! Lists of apps as people write them, and as they should not.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::model::policy::{KillMode, RestartPolicy};
use crate::model::{ByteSize, Cap, LogMode, LogSink, Signal, Span};
use proptest::prelude::*;
use std::fs;

/// A directory with a script in it, and a file of that name and text read from there.
fn read_text(name: &str, text: &str) -> Result<AppList, Mistake> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("app.sh"), "").unwrap();
    fs::write(dir.path().join(name), text).unwrap();
    let place = Place { cwd: dir.path().to_owned(), path: Some("/usr/bin:/bin".into()) };
    read(Path::new(name), &place, 4)
}

fn json(text: &str) -> Result<AppList, Mistake> {
    read_text("apps.json", text)
}

fn told(text: &str) -> String {
    let mistake = json(text).unwrap_err();
    match mistake.hint {
        Some(hint) => format!("{} [{hint}]", mistake.message),
        None => mistake.message,
    }
}

#[test]
fn own_names_and_those_of_pm2_mean_the_same() {
    let own = json(
        r#"{"version": 1, "apps": [{"name": "web", "script": "app.sh", "args": ["a b", 1], "instances": 2, "restart": "never",
            "stop_timeout": "3s", "kill_mode": "process", "env": {"A": "1", "B": "true"}, "min_uptime": 2000,
            "memory_max": "300M", "max_memory_restart": 209715200, "stop_signal": "SIGINT", "stop_exit_codes": [0], "umask": "027"}]}"#,
    )
    .unwrap();
    let pm2 = json(
        r#"[{"name": "web", "exec": "./app.sh", "args": "'a b' 1", "instances": "2", "autorestart": false,
             "killTimeout": 3000, "treekill": false, "env": {"A": 1, "B": true}, "minUptime": "2s", "memoryMax": 314572800,
             "stop_signal": 2, "stopExitCodes": 0, "umask": "0o27", "watch": false, "exec_mode": "fork",
             "merge_logs": false, "max_memory_restart": "200M"}]"#,
    )
    .unwrap();
    let (own, pm2) = (own.apps.first().unwrap().clone(), pm2.apps.first().unwrap().clone());
    // Each was read in a directory of its own.
    assert_eq!(AppSpec { script: own.script.clone(), cwd: own.cwd.clone(), ..pm2 }, own);
    assert_eq!(own.restart, RestartPolicy::Never);
    assert_eq!(own.kill_mode, KillMode::Process);
    assert_eq!(own.stop_timeout, Span::millis(3000));
    assert_eq!(own.memory_max, Some(ByteSize(300 << 20)));
    assert_eq!(own.stop_signal, Signal::INT);
    assert_eq!(own.umask, Some(0o27));
    assert_eq!(own.args, ["a b".into(), "1".into()]);
    assert_eq!(own.interpreter, Some("bash".into()));
}

#[test]
fn what_apps_may_use_is_asked_for_in_files_as_on_a_command_line() {
    let read = |fields: &str| json(&format!(r#"[{{"name": "web", "exec": "./app.sh", {fields}}}]"#));
    let spec = |fields: &str| read(fields).unwrap().apps.first().unwrap().clone();
    let all = spec(
        r#""memory_high": "1G", "memory_swap_max": 0, "cpu_weight": 200, "io_weight": "50", "oom_kill": "process",
           "io_max": ["/dev/sda rbps=10M wbps=5M", "8:16:riops=7"]"#,
    );
    let disks: Vec<_> = all.io_max.iter().map(ToString::to_string).collect();
    assert_eq!(disks, ["/dev/sda rbps=10M wbps=5M", "8:16 riops=7"]);
    assert_eq!((all.cpu_weight.map(|w| w.0), all.io_weight.map(|w| w.0)), (Some(200), Some(50)));
    assert_eq!((all.oom_kill.as_str(), all.memory_swap_max), ("process", Some(ByteSize(0))));
    for none in ["0", "\"0\"", "false", "null", "\"\""] {
        assert_eq!(spec(&format!("\"max_memory_restart\": {none}")).max_memory_restart, None, "PM2's no mark: {none}");
    }
    for wrong in [r#""cpu_weight": 0"#, r#""io_max": "/dev/sda""#, r#""oom_kill": "all""#] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
    let mistake = read(r#""memory_max": "100M", "max_memory_restart": "100M""#).unwrap_err().to_string();
    assert!(mistake.contains("would kill the app before"), "{mistake}");
}

#[test]
fn logs_are_asked_for_in_the_words_of_both() {
    let read = |text: &str| json(&format!(r#"[{{"name": "web", "script": "app.sh", {text}}}]"#));
    let own = read(
        r#""log_mode": "time", "out_file": "out.log", "error_file": "/dev/null", "log_file": true, "merge_logs": true,
           "log_max_size": "1M", "log_max_age": "7d", "log_keep": 0, "log_total": "none", "log_compress": "gzip",
           "log_drop": "never""#,
    )
    .unwrap();
    let pm2 = read(
        r#""time": true, "out": "./out.log", "err_log": "NULL", "log": true, "combineLogs": true, "logMaxSize": 1048576,
           "logMaxAge": "168h", "logKeep": "0", "logTotal": "none", "logCompress": "gzip", "logDrop": "never",
           "disable_logs": false"#,
    )
    .unwrap();
    let (own, pm2) = (own.apps.first().unwrap().clone(), pm2.apps.first().unwrap().clone());
    let file = Path::new(own.out_file.as_ref().unwrap().as_os_str());
    assert_eq!(file.parent(), Some(Path::new(own.cwd.as_os_str())), "paths start from the app's directory");
    let AppSpec { script, cwd, out_file, .. } = own.clone();
    assert_eq!(AppSpec { script, cwd, out_file, ..pm2 }, own);
    assert_eq!((own.log_mode, own.log_keep), (LogMode::Time, Cap::At(0)));
    assert_eq!((own.log_file, own.error_file), (Some("web-all.log".into()), Some("/dev/null".into())));
    let formats = [r#""log_format": "%Y-%m-%d %H:%M:%S""#, r#""log_date_format": "YYYY-MM-DD HH:mm:ss""#];
    for text in formats {
        let app = read(text).unwrap().apps.remove(0);
        assert_eq!((app.log_mode, app.log_format.as_deref()), (LogMode::Time, Some("%Y-%m-%d %H:%M:%S")), "{text}");
    }
    assert!(read(&formats.join(",")).unwrap_err().message.ends_with("mean the same; keep one of them"));
    assert!(read(r#""log_format": "no time""#).unwrap_err().message.contains("holds no time"));
    let quiet = read(r#""disable_logs": true, "out_file": "x""#).unwrap();
    assert_eq!(quiet.apps.first().unwrap().log_sink, LogSink::None);
    let nothing =
        r#""out": "", "error_file": false, "log": false, "log_date_format": "", "log_type": "", "time": false"#;
    let nothing = read(nothing).unwrap().apps.remove(0);
    let usual = AppSpec::new(nothing.name.clone(), nothing.script.clone(), nothing.cwd.clone());
    assert_eq!(AppSpec { interpreter: nothing.interpreter.clone(), ..usual }, nothing);
    let objects = read(r#""log_type": "json", "log_file": false"#).unwrap();
    assert_eq!(objects.apps.first().unwrap().log_mode, LogMode::Json);
}

#[test]
fn toml_one_app_and_package_json_are_read_too() {
    let toml =
        read_text("apps.toml", "[[apps]] # comment\nname = 'web'\nscript = 'app.sh'\ninstances = 'max'\n").unwrap();
    assert_eq!(toml.apps.first().unwrap().instances, 4);
    let one = json(r#"{"version": 1, "script": "app.sh"}"#).unwrap();
    assert_eq!(one.apps.first().unwrap().name.as_str(), "app");
    let package = json(r#"{"name": "x", "version": "1.2.3", "pm2": {"apps": {"script": "app.sh"}}}"#).unwrap();
    assert_eq!(package.apps.len(), 1);
}

#[test]
fn mistakes_name_file_app_and_field_and_the_mend() {
    for (text, expected) in [
        ("{", "apps.json: not JSON: EOF while parsing an object at line 1 column 1"),
        ("3", "apps.json: neither an object nor an array"),
        ("[]", "apps.json: lists no apps"),
        (
            r#"{"version": 7, "apps": []}"#,
            "apps.json: written for a newer opm: version 7, and this one reads 1 [upgrade opm]",
        ),
        (r#"[{"name": "web"}]"#, "apps.json: app 'web': has no 'script'"),
        (r#"[{"name": "a/b", "script": "app.sh"}]"#, "apps.json: app 'a/b': name 'a/b' holds a '/'"),
        (
            r#"[{"name": "web", "script": "app.sh", "autorestrat": false}]"#,
            "apps.json: app 'web': 'autorestrat' is not a field [did you mean 'autorestart'?]",
        ),
        (
            r#"[{"script": "app.sh", "max_restarts": "many"}]"#,
            "apps.json: app 1: max_restarts: 'many' is not a whole number that fits here",
        ),
        (
            r#"[{"script": "app.sh", "env_fil": "x"}]"#,
            "apps.json: app 1: 'env_fil' is not a field [did you mean 'env_file'?]",
        ),
        (
            r#"[{"script": "app.sh", "watch": true}]"#,
            "apps.json: app 1: watch: this opm does not have it yet [remove it; 'opm restart' applies changes]",
        ),
        (
            r#"[{"script": "app.sh", "exec": "x"}]"#,
            "apps.json: app 1: 'exec' and 'script' mean the same [keep one of them]",
        ),
        (
            r#"{"apps": [{"script": "app.sh"}], "max_restarts": 3}"#,
            "apps.json: 'max_restarts' stands beside the apps [write it into each app it is meant for]",
        ),
        (
            r#"[{"script": "app.sh"}, {"script": "app.sh"}]"#,
            "apps.json: two apps are called 'app' [give each a 'name' of its own]",
        ),
        (
            r#"[{"script": "app.sh", "umask": 22}]"#,
            "apps.json: app 1: umask: 22 is not a umask; write octal digits as a string, \"022\"",
        ),
        (
            r#"[{"script": "app.sh", "log_sink": "journald", "log_file": "x"}]"#,
            "apps.json: app 1: log_file is about files, and log_sink is journald [keep one of the two; log_sink 'files' is the default]",
        ),
        (
            r#"[{"script": "app.sh", "log_max_size": "lots"}]"#,
            "apps.json: app 1: log_max_size: 'lots' is not a size; write 300M, 1.5G or a number of bytes, or 'none'",
        ),
        (
            r#"[{"script": "app.sh", "rlimit": {"nofiles": 1}}]"#,
            "apps.json: app 1: rlimit: 'nofiles' is not a resource limit",
        ),
    ] {
        assert_eq!(told(text), expected, "{text}");
    }
}

#[test]
fn secrets_are_not_shown_in_errors() {
    for text in
        [r#"[{"script": "app.sh", "env": {"TOKEN": ["s3cret"]}}]"#, r#"[{"script": "app.sh", "env": "TOKEN=s3cret"}]"#]
    {
        assert!(!told(text).contains("s3cret"), "{}", told(text));
    }
    let mistake = read_text("apps.toml", "[[apps]]\nscript = 'app.sh'\nenv = { TOKEN = 's3cret }\n").unwrap_err();
    assert!(!mistake.message.contains("s3cret") && mistake.message.contains("line 3"), "{mistake}");
}

#[test]
fn what_is_pm2s_own_is_ignored_aloud() {
    let list = json(
        r#"{"apps": [{"script": "app.sh", "pmx": true, "exec_mode": "cluster", "env_production": {"A": 1}}], "deploy": {}}"#,
    )
    .unwrap();
    assert_eq!(
        list.warnings,
        [
            "'deploy' is PM2's, and ignored",
            "app 1: 'env_production' is not used: give the variables in env or env_file",
            "app 1: 'exec_mode' cluster: each instance is a process of its own here, and opens its own port",
            "app 1: 'pmx' is part of PM2 itself, and ignored",
        ]
    );
}

#[test]
fn paths_start_from_the_file_and_pm2s_reading_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("config")).unwrap();
    fs::write(dir.path().join("server.sh"), "").unwrap();
    let place = Place { cwd: dir.path().to_owned(), path: Some("/usr/bin:/bin".into()) };
    let file = Path::new("config/apps.json");
    fs::write(dir.path().join(file), r#"[{"script": "./server.sh"}]"#).unwrap();
    let mistake = read(file, &place, 1).unwrap_err();
    assert!(mistake.hint.unwrap().ends_with(&format!("write \"cwd\": \"{}\"", dir.path().display())));
    fs::write(dir.path().join(file), r#"[{"script": "../server.sh"}]"#).unwrap();
    let app = read(file, &place, 1).unwrap().apps.remove(0);
    assert_eq!(Path::new(app.cwd.as_os_str()), dir.path().join("config"));
    assert_eq!(Path::new(app.script.as_os_str()), dir.path().join("config/../server.sh"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_value_of_any_field_makes_it_panic(
        key in prop_oneof![Just("args"), Just("env"), Just("rlimit"), Just("umask"), Just("instances"), Just("watch"),
            Just("cwd"), Just("env_file"), Just("backoff"), Just("minUptime"), Just("exec_mode"), Just("log_file"),
            Just("logMaxSize"), Just("log_keep"), Just("log_type"), Just("log_date_format"), Just("x")],
        value in prop_oneof![Just("null".to_owned()), Just("true".to_owned()), any::<i64>().prop_map(|n| n.to_string()),
            "\"[ -!#-\\[\\]-~]{0,12}\"", Just("[[], {}, -1e300]".to_owned()), Just("{\"hex\": \"f\"}".to_owned())],
    ) {
        let _ = json(&format!("[{{\"script\": \"app.sh\", \"{key}\": {value}}}]"));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = json_value(&bytes);
        let _ = toml_value(&bytes);
    }
}
