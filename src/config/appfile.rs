//! Files that list apps, `.json` and `.toml`: `{"apps": [{"name": "web", "script": "app.js"}]}`.
//!
//! JSON may also be the bare array, or one app. Field names are those of the flags with underscores; PM2's names mean what
//! they mean there (`fields`), and what PM2 has and opm has not is refused unless it says "do nothing" (`pm2`). A file is read
//! wholly or not at all, and an unknown key is a mistake, since a misspelt limit is no limit.
//!
//! What a reader would get wrong: relative paths start from the *file's* directory, and so does the working directory. PM2
//! takes the caller's; then the same file means another thing in another place, and is another spec to `opm start`. Where
//! the two differ and only PM2's reading finds the script, the error says what to write.

pub mod dayjs;
mod fields;
mod pm2;

use super::asked::{Asked, Place};
use super::command::absolute;
use super::{Mistake, cause, suggest};
use crate::model::AppSpec;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The newest form of these files that this opm reads.
const VERSION: u64 = 1;

/// What a file holds beside its apps.
const ROOT_KEYS: [&str; 3] = ["apps", "version", "$schema"];

/// Parts of PM2's files that say nothing about how apps run here.
const ROOT_IGNORED: [&str; 2] = ["deploy", "static"];

/// A list of apps, read wholly.
#[derive(Debug, PartialEq, Eq)]
pub struct AppList {
    /// The apps, in the order of the file.
    pub apps: Vec<AppSpec>,
    /// What was ignored, in words.
    pub warnings: Vec<String>,
}

/// Reads the file, which a caller at `place` named.
///
/// # Errors
/// It cannot be read, or anything in it cannot be meant; naming file, app and field.
pub fn read(file: &Path, place: &Place, cpus: u32) -> Result<AppList, Mistake> {
    let shown = file.display().to_string();
    let whole = absolute(&place.cwd, file);
    let bytes = std::fs::read(&whole).map_err(|e| Mistake::new(format!("failed to read {shown}: {}", cause(&e))))?;
    let root = if file.extension().is_some_and(|e| e == "toml") { toml_value(&bytes) } else { json_value(&bytes) }
        .map_err(|mistake| mistake.within(&shown))?;
    let dir = whole.parent().map_or_else(|| place.cwd.clone(), Path::to_owned);
    list(root, &dir, place, cpus).map_err(|mistake| mistake.within(&shown))
}

fn json_value(bytes: &[u8]) -> Result<Value, Mistake> {
    // Without a byte order mark, which editors on Windows leave.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    serde_json::from_slice(bytes).map_err(|e| {
        let mistake = Mistake::new(format!("not JSON: {e}"));
        if bytes.windows(2).any(|w| w == b"//" || w == b"/*") || e.to_string().contains("trailing comma") {
            mistake.hint("comments and trailing commas are not JSON; a .toml file may hold comments")
        } else {
            mistake
        }
    })
}

fn toml_value(bytes: &[u8]) -> Result<Value, Mistake> {
    let text = std::str::from_utf8(bytes).map_err(|e| Mistake::new(format!("not TOML: {e}")))?;
    // The crate's own text quotes the line, and that line may hold a secret.
    toml::from_str(text).map_err(|e| {
        let line = e.span().map(|span| text.bytes().take(span.start).filter(|b| *b == b'\n').count() + 1);
        let at = line.map(|line| format!(" at line {line}")).unwrap_or_default();
        Mistake::new(format!("not TOML: {}{at}", e.message()))
    })
}

fn list(root: Value, dir: &Path, caller: &Place, cpus: u32) -> Result<AppList, Mistake> {
    let mut warnings = Vec::new();
    let entries = entries(root, &mut warnings)?;
    if entries.is_empty() {
        return Err(Mistake::new("lists no apps"));
    }
    let mut apps: Vec<AppSpec> = Vec::with_capacity(entries.len());
    let mut names = BTreeSet::new();
    for (i, entry) in entries.into_iter().enumerate() {
        let label = label(&entry, i);
        let app = app(entry, dir, caller, cpus, &label, &mut warnings).map_err(|mistake| mistake.within(&label))?;
        if !names.insert(app.name.clone()) {
            return Err(
                Mistake::new(format!("two apps are called '{}'", app.name)).hint("give each a 'name' of its own")
            );
        }
        apps.push(app);
    }
    Ok(AppList { apps, warnings })
}

/// `app 'web'`, or by its place where it has no name.
fn label(entry: &Value, i: usize) -> String {
    match entry.get("name").and_then(Value::as_str) {
        Some(name) => format!("app '{}'", name.escape_debug()),
        None => format!("app {}", i + 1),
    }
}

/// The apps of a file, whichever of its forms it has.
fn entries(root: Value, warnings: &mut Vec<String>) -> Result<Vec<Value>, Mistake> {
    let mut root = match root {
        Value::Array(apps) => return Ok(apps),
        Value::Object(root) => root,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            return Err(Mistake::new("neither an object nor an array"));
        }
    };
    // In a package.json, all else is npm's.
    if let Some(inner) = root.remove("pm2") {
        return entries(inner, warnings);
    }
    version(&root)?;
    let Some(apps) = root.remove("apps") else {
        let is_app = root.keys().any(|key| fields::is_script(key));
        if is_app {
            root.retain(|key, _| key != "version" && key != "$schema");
            return Ok(vec![Value::Object(root)]);
        }
        return Err(
            Mistake::new("has no 'apps'").hint("a list of apps looks like {\"apps\": [{\"script\": \"app.js\"}]}")
        );
    };
    for key in root.keys().filter(|key| !ROOT_KEYS.contains(&key.as_str())) {
        if ROOT_IGNORED.contains(&key.as_str()) {
            warnings.push(format!("'{key}' is PM2's, and ignored"));
        } else if fields::is_known(key) {
            return Err(
                Mistake::new(format!("'{key}' stands beside the apps")).hint("write it into each app it is meant for")
            );
        } else {
            return Err(unknown(key, ROOT_KEYS));
        }
    }
    match apps {
        Value::Array(apps) => Ok(apps),
        one @ Value::Object(_) => Ok(vec![one]),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            Err(Mistake::new("'apps' is not an array"))
        }
    }
}

fn version(root: &Map<String, Value>) -> Result<(), Mistake> {
    match root.get("version") {
        None => Ok(()),
        Some(version) => match version.as_u64() {
            Some(VERSION) => Ok(()),
            Some(newer) if newer > VERSION => {
                Err(Mistake::new(format!("written for a newer opm: version {newer}, and this one reads {VERSION}"))
                    .hint("upgrade opm"))
            }
            Some(_) | None => Err(Mistake::new(format!("version: {version} is not {VERSION}"))),
        },
    }
}

fn app(
    entry: Value,
    dir: &Path,
    caller: &Place,
    cpus: u32,
    label: &str,
    warnings: &mut Vec<String>,
) -> Result<AppSpec, Mistake> {
    let Value::Object(entry) = entry else { return Err(Mistake::new("not an object")) };
    let asked = fields::read(&entry, cpus, &mut |warning| warnings.push(format!("{label}: {warning}")))?;
    let place = Place { cwd: dir.to_owned(), path: caller.path.clone() };
    let as_pm2_would = pm2_reading(&asked, dir, caller);
    asked.into_spec(&place).map_err(|mistake| match as_pm2_would {
        Some(file) => mistake.hint(format!(
            "paths start from the file's own directory, {}; for {} write \"cwd\": \"{}\"",
            dir.display(),
            file.display(),
            caller.cwd.display()
        )),
        None => mistake,
    })
}

/// The script, if it exists where PM2 would look (from the caller's directory) and not where opm does.
fn pm2_reading(asked: &Asked, dir: &Path, caller: &Place) -> Option<PathBuf> {
    let script = Path::new(asked.script.as_os_str());
    if asked.cwd.is_some() || absolute(dir, script).exists() {
        return None;
    }
    Some(absolute(&caller.cwd, script)).filter(|file| file.is_file())
}

fn unknown<'a>(key: &str, known: impl IntoIterator<Item = &'a str>) -> Mistake {
    let mistake = Mistake::new(format!("'{}' is not a field", key.escape_debug()));
    match suggest::nearest(key, known) {
        Some(near) => mistake.hint(format!("did you mean '{near}'?")),
        None => mistake,
    }
}

#[cfg(test)]
mod tests;
