//! "Did you mean": the known word nearest to one that is not known.

/// The candidate that `word` was most likely meant to be, if any is near enough: at most a third of its letters differ.
/// Letter case is no difference.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A name is at most 128 bytes; a longer word is no slip of the finger, and the distance is quadratic.
    if word.len() > 256 {
        return None;
    }
    let word = word.to_lowercase();
    let allowed = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many letters to insert, remove, change or swap with their neighbour to get from one word to the other
/// (optimal string alignment: `wbe` is one swap from `web`, and swaps are what fingers do).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let change = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = change.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_finger_find_their_word() {
        let fields = ["autorestart", "max_restarts", "name", "script", "env"];
        assert_eq!(nearest("autorestrat", fields), Some("autorestart"));
        assert_eq!(nearest("max_restart", fields), Some("max_restarts"));
        assert_eq!(nearest("Scirpt", fields), Some("script"));
        assert_eq!(nearest("wbe", ["api", "web"]), Some("web"));
    }

    #[test]
    fn what_is_far_from_everything_finds_nothing() {
        assert_eq!(nearest("database", ["web", "api"]), None);
        assert_eq!(nearest("x", ["y"]), None);
        assert_eq!(nearest("", ["a"]), None);
        assert_eq!(nearest(&"w".repeat(5000), ["web"]), None);
    }
}
