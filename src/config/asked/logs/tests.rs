//! What is asked about logs, and what comes of it.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

fn apply(asked: AskedLogs) -> Result<AppSpec, String> {
    let mut spec = AppSpec::new("web".parse().unwrap(), "/srv/app.js".into(), "/srv".into());
    match asked.apply(&mut spec) {
        Ok(()) => Ok(spec),
        Err(Mistake { message, hint }) => Err(format!("{message} [{}]", hint.unwrap_or_default())),
    }
}

fn asked(change: impl FnOnce(&mut AskedLogs)) -> Result<AppSpec, String> {
    let mut asked = AskedLogs::default();
    change(&mut asked);
    apply(asked)
}

#[test]
fn paths_start_from_the_apps_directory_and_some_words_mean_nowhere() {
    for (word, meant) in [
        ("log/out.log", "/srv/log/out.log"),
        ("/var/log/web.log", "/var/log/web.log"),
        ("NULL", "/dev/null"),
        ("none", "/dev/null"),
        ("/dev/null", "/dev/null"),
        ("./none", "/srv/none"),
    ] {
        let spec = asked(|a| a.out_file = Some(word.into())).unwrap();
        assert_eq!(spec.out_file, Some(meant.into()), "{word}");
    }
    assert_eq!(asked(|a| a.log_file = Some(CombinedFile::Own)).unwrap().log_file, Some("web-all.log".into()));
    for (word, told) in [
        ("", "error_file names no file []"),
        ("logs/", "error_file: 'logs/' is a folder [name a file in it]"),
        ("..", "error_file: '/srv/..' is not the absolute path of a file []"),
        ("~/x", "error_file: '~/x' begins with '~', which only shells understand [write the whole path]"),
    ] {
        assert_eq!(asked(|a| a.error_file = Some(word.into())).unwrap_err(), told);
    }
}

#[test]
fn a_format_stamps_lines_unless_they_are_objects() {
    let format = |mode| asked(|a| (a.format, a.mode) = (Some("%F".into()), mode));
    assert_eq!(format(None).unwrap().log_mode, LogMode::Time);
    assert_eq!(format(Some(LogMode::Json)).unwrap().log_mode, LogMode::Json);
    assert!(format(Some(LogMode::Raw)).unwrap_err().starts_with("log_format is about lines with their time"));
    let time = |mode| asked(|a| (a.time, a.mode) = (true, mode));
    assert_eq!(time(None).unwrap().log_mode, LogMode::Time);
    assert_eq!(time(Some(LogMode::Json)).unwrap().log_mode, LogMode::Json);
    assert!(time(Some(LogMode::Raw)).is_err());
}

#[test]
fn wishes_that_contradict_each_other_are_refused() {
    let hint = "[keep one of the two; log_sink 'files' is the default]";
    let journald = |change: fn(&mut AskedLogs)| {
        asked(|a| {
            a.sink = Some(LogSink::Journald);
            change(a);
        })
    };
    let told = journald(|a| a.out_file = Some("x".into())).unwrap_err();
    assert_eq!(told, format!("out_file is about files, and log_sink is journald {hint}"));
    assert!(journald(|a| a.merge = true).is_err());
    assert!(journald(|a| a.mode = Some(LogMode::Json)).is_err());
    assert!(journald(|a| a.format = Some("%F".into())).is_err());
    assert!(journald(|a| a.max_size = Some(Cap::None)).is_ok(), "a limit holds for what there is");
    assert!(journald(|a| a.disable = true).is_err());
    // As in PM2: whatever else is said, there are no files.
    let disabled = asked(|a| (a.disable, a.out_file) = (true, Some("x".into()))).unwrap();
    assert_eq!((disabled.log_sink, disabled.out_file), (LogSink::None, None));
}

#[test]
fn limits_that_are_slips_are_refused() {
    let size = |n| Some(Cap::At(ByteSize(n)));
    assert!(asked(|a| a.max_size = size(4096)).is_ok());
    assert!(asked(|a| a.max_size = size(4095)).unwrap_err().starts_with("log_max_size 4095 is less than 4K"));
    assert!(asked(|a| a.max_age = Some(Cap::At(Span::millis(7)))).unwrap_err().contains("so write 7d"));
    assert!(asked(|a| a.total = size(1 << 20)).unwrap_err().starts_with("log_total 1M is less than log_max_size 10M"));
    assert!(asked(|a| (a.total, a.max_size) = (size(1 << 20), size(1 << 19))).is_ok());
    assert!(asked(|a| (a.keep, a.max_size, a.max_age) = (Some(Cap::At(0)), Some(Cap::None), Some(Cap::None))).is_ok());
}
