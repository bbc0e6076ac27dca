//! The nearest known name, for "did you mean".

/// The candidate nearest to a word, if one is near enough to have been meant.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    // Long input is no slip of the finger, and the table below is quadratic.
    if word.len() > 64 {
        return None;
    }
    let lower = word.to_ascii_lowercase();
    let letters = lower.chars().count();
    let near = |candidate: &str| (candidate.len().min(word.len()) / 3).clamp(1, 3);
    candidates
        .into_iter()
        // Each letter more or less is a change.
        .filter(|candidate| candidate.chars().count().abs_diff(letters) <= near(candidate))
        .map(|candidate| (distance(&lower, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= near(candidate))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many letters must be changed, added, taken away or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = (0..=a.len()).map(|i| (i..=i + b.len()).collect()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_find_what_was_meant_and_strangers_nothing() {
        let known = ["supplementaryGIDs", "mountPoints", "exec", "user"];
        assert_eq!(nearest("supplementaryGids", known), Some("supplementaryGIDs"));
        assert_eq!(nearest("mountpoint", known), Some("mountPoints"));
        assert_eq!(nearest("exce", known), Some("exec"));
        assert_eq!(nearest("volumes", known), None);
        assert_eq!(nearest("", known), None);
    }
}
