//! What a selector means, given the apps that exist: `all`, `/regex/`, then name, namespace, id.
//!
//! Owns that order of meaning and the words when nothing matches. Numbers are names first, as in PM2.

use crate::api::{Problem, ProblemKind};
use crate::config::suggest;
use crate::model::{AppId, DesiredApp, Selector, Target};
use crate::supervise::Supervisor;
use std::collections::HashSet;

/// The longest regular expression that is looked at.
const LONGEST_PATTERN: usize = 512;

/// What a selector can mean.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) id: AppId,
    pub(super) name: &'a str,
    pub(super) namespace: &'a str,
    pub(super) instances: usize,
}

/// The apps that are wanted, up or down.
pub(super) fn listed(core: &Supervisor) -> Vec<Known<'_>> {
    these(core.apps())
}

/// These apps.
pub(super) fn these<'a>(apps: impl Iterator<Item = (AppId, &'a DesiredApp)>) -> Vec<Known<'a>> {
    apps.map(|(id, app)| known(id, app)).collect()
}

/// The same, and those that are deleted and not gone yet: the order that deletes them may be given again.
pub(super) fn with_leaving(core: &Supervisor) -> Vec<Known<'_>> {
    let leaving = core.leaving().map(|(id, name)| Known { id, name: name.as_str(), namespace: "", instances: 0 });
    leaving.chain(listed(core)).collect()
}

fn known(id: AppId, app: &DesiredApp) -> Known<'_> {
    let (name, namespace) = (app.spec.name.as_str(), app.spec.namespace.as_str());
    Known { id, name, namespace, instances: app.instances.len() }
}

/// The targets of these selectors, each app or instance once, in the order they were named.
///
/// # Errors
/// A selector that is not one, or that matches nothing. `all` of nothing is nothing, and no error.
pub(super) fn resolve(apps: &[Known<'_>], select: &[String]) -> Result<Vec<Target>, Problem> {
    let (mut targets, mut named): (Vec<Target>, HashSet<Target>) = (Vec::new(), HashSet::new());
    for text in select {
        for selector in Selector::parse_list(text).map_err(|e| bad_request(e, None))? {
            for target in matches(apps, &selector)? {
                let whole = Target { instance: None, ..target };
                if !named.contains(&whole) && named.insert(target) {
                    targets.push(target);
                }
            }
        }
    }
    // The whole app takes the place of one of its instances named before.
    targets.retain(|t| t.instance.is_none() || !named.contains(&Target { instance: None, ..*t }));
    if select.is_empty() {
        return Err(bad_request("no app was named".to_owned(), Some("name an app, or write 'all'".to_owned())));
    }
    Ok(targets)
}

/// The targets of one selector.
///
/// # Errors
/// As [`resolve`].
pub(super) fn matches(apps: &[Known<'_>], selector: &Selector) -> Result<Vec<Target>, Problem> {
    let whole = |app: &Known<'_>| Target { app: app.id, instance: None };
    match selector {
        Selector::All => Ok(apps.iter().map(whole).collect()),
        Selector::Pattern(pattern) => {
            // Compiling takes time in proportion, and this is the event loop.
            if pattern.len() > LONGEST_PATTERN {
                let message = format!("the regular expression is longer than {LONGEST_PATTERN} bytes");
                return Err(bad_request(message, None));
            }
            let regex = regex_lite::Regex::new(pattern).map_err(|e| {
                bad_request(format!("'/{pattern}/' is not a regular expression: {}", first_line(&e.to_string())), None)
            })?;
            let found: Vec<_> = apps.iter().filter(|app| regex.is_match(app.name)).map(whole).collect();
            if found.is_empty() { Err(no_such(format!("no app's name matches /{pattern}/"), None)) } else { Ok(found) }
        }
        Selector::Word { word, instance } => {
            let by = |same: &dyn Fn(&Known<'_>) -> bool| -> Vec<AppId> {
                apps.iter().filter(|app| same(app)).map(|app| app.id).collect()
            };
            let mut found = by(&|app| app.name == word);
            if found.is_empty() {
                found = by(&|app| app.namespace == word);
            }
            if found.is_empty() {
                found = by(&|app| word.parse() == Ok(app.id.0));
            }
            if found.is_empty() {
                let names = apps.iter().map(|app| app.name);
                let hint = suggest::nearest(word, names).map(|name| format!("did you mean '{name}'?"));
                return Err(no_such(format!("no app matches '{}'", word.escape_debug()), hint));
            }
            if let Some(index) = instance {
                found.retain(|id| apps.iter().any(|app| app.id == *id && (*index as usize) < app.instances));
                if found.is_empty() {
                    return Err(no_such(format!("'{}' has no instance {index}", word.escape_debug()), None));
                }
            }
            Ok(found.into_iter().map(|app| Target { app, instance: *instance }).collect())
        }
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next_back().unwrap_or(text)
}

pub(super) fn bad_request(message: String, hint: Option<String>) -> Problem {
    Problem { kind: ProblemKind::BadRequest, message, hint, differences: vec![] }
}

fn no_such(message: String, hint: Option<String>) -> Problem {
    let hint = hint.or_else(|| Some("'opm ls' shows what there is".to_owned()));
    Problem { kind: ProblemKind::NoSuchApp, message, hint, differences: vec![] }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::model::{AppSpec, Desired, DesiredInstance, EnvMap, Generation};
    use std::sync::Arc;

    fn app(name: &str, namespace: &str, instances: u32) -> DesiredApp {
        let mut spec = AppSpec::new(name.parse().unwrap(), "/bin/true".into(), "/".into());
        spec.namespace = namespace.parse().unwrap();
        spec.instances = instances;
        let one = DesiredInstance { desired: Desired::Up, generation: Generation(0) };
        DesiredApp {
            spec: Arc::new(spec),
            captured: Arc::new(EnvMap::default()),
            instances: vec![one; instances as usize],
            last_order: None,
        }
    }

    #[test]
    fn words_mean_names_before_namespaces_before_ids() {
        let (web, api, one, job) =
            (app("web", "front", 2), app("api", "back", 1), app("1", "default", 1), app("job", "api", 1));
        let apps = [(0, &web), (1, &api), (2, &one), (7, &job)].map(|(id, app)| known(AppId(id), app));
        let ask = |text: &str| {
            resolve(&apps, &[text.to_owned()])
                .map(|t| t.iter().map(|t| (t.app.0, t.instance)).collect::<Vec<_>>())
                .map_err(|p| (p.kind, p.message, p.hint))
        };
        assert_eq!(ask("all"), Ok(vec![(0, None), (1, None), (2, None), (7, None)]));
        assert_eq!(ask("/^.[eo]b$/"), Ok(vec![(0, None), (7, None)]));
        assert_eq!(ask("api"), Ok(vec![(1, None)]), "the name wins over the namespace");
        assert_eq!(ask("front"), Ok(vec![(0, None)]));
        assert_eq!(ask("1"), Ok(vec![(2, None)]), "the name wins over the id");
        assert_eq!(ask("7"), Ok(vec![(7, None)]));
        assert_eq!(ask("web:1,web:1,api"), Ok(vec![(0, Some(1)), (1, None)]));
        assert_eq!(ask("web:1,web"), Ok(vec![(0, None)]));
        let (kind, message, hint) = ask("wbe").unwrap_err();
        assert_eq!((kind, message.as_str()), (ProblemKind::NoSuchApp, "no app matches 'wbe'"));
        assert_eq!(hint.as_deref(), Some("did you mean 'web'?"));
        assert_eq!(ask("web:2").unwrap_err().0, ProblemKind::NoSuchApp);
        assert_eq!(ask("/(/").unwrap_err().0, ProblemKind::BadRequest);
        assert_eq!(ask(&format!("/{}/", "a".repeat(600))).unwrap_err().0, ProblemKind::BadRequest);
        assert_eq!(resolve(&[], &["all".to_owned()]), Ok(vec![]));
    }
}
