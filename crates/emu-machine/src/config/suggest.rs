//! "Did you mean": the known word that is closest to a wrong one.

/// A suggestion to append to an error message: `; did you mean …?`, or nothing if no word is close.
#[must_use]
pub fn suggestion(wrong: &str, known: &[&str]) -> String {
    let wrong = wrong.to_lowercase();
    let beginning = known.iter().find(|k| wrong.chars().count() > 1 && k.starts_with(&wrong));
    let closest = || known.iter().map(|k| (distance(&wrong, k), k)).min();
    // Up to a third of the letters may be wrong; more is no likeness.
    let near = |(d, word)| (d <= wrong.chars().count().max(3) / 3).then_some(word);
    match beginning.or_else(|| closest().and_then(near)) {
        Some(word) => format!("; did you mean `{word}`?"),
        None => String::new(),
    }
}

/// Edits (insert, delete, replace, swap neighbours) from `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replace.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_words_are_suggested() {
        let keys = ["memory", "cpu", "board", "serial"];
        assert_eq!(suggestion("memroy", &keys), "; did you mean `memory`?");
        assert_eq!(suggestion("mem", &keys), "; did you mean `memory`?");
        assert_eq!(suggestion("Serail", &keys), "; did you mean `serial`?");
        assert_eq!(suggestion("zzz", &keys), "");
        assert_eq!(suggestion("x", &[]), "");
    }
}
