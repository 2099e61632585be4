//! Putting the shards of a run together again.

use std::collections::BTreeMap;

use super::{Report, VERSION, add_rows};

/// The report of a whole run from those of all its shards, each with the name that errors call it by.
///
/// # Errors
/// One line: a shard is missing, comes twice, or belongs to another run.
pub fn merge(shards: Vec<(String, Report)>, failures: usize) -> Result<Report, String> {
    let count = check(&shards)?;
    let mut shards: Vec<Report> = shards.into_iter().map(|(_, report)| report).collect();
    shards.sort_by_key(|r| r.shard.map_or(0, |s| s.index));
    let first = &shards[0];
    let mut whole = Report { shard: None, suites: Vec::new(), problems: Vec::new(), ..first.clone() };
    for n in 0..first.suites.len() {
        let mut suite = first.suites[n].clone();
        let mut rows = BTreeMap::new();
        for shard in &shards {
            add_rows(&mut rows, shard.suites[n].rows.iter().cloned(), failures);
        }
        suite.rows = rows.into_values().collect();
        whole.suites.push(suite);
    }
    let mut problems: Vec<String> = shards.into_iter().flat_map(|r| r.problems).collect();
    // A damaged file is a problem of every shard.
    let mut seen = std::collections::BTreeSet::new();
    problems.retain(|p| seen.insert(p.clone()));
    whole.problems = problems;
    debug_assert!(count > 0);
    Ok(whole)
}

/// Checks that these are all the shards of one run; returns how many.
fn check(shards: &[(String, Report)]) -> Result<u32, String> {
    let Some((first_name, first)) = shards.first() else { return Err("there is no report to merge".into()) };
    let mut seen: BTreeMap<u32, &str> = BTreeMap::new();
    let mut count = 0;
    for (name, report) in shards {
        let Some(shard) = report.shard else {
            return Err(format!("{name} is no shard: it is the report of a whole run"));
        };
        if count == 0 {
            count = shard.count;
        }
        if shard.count != count {
            return Err(format!("{first_name} is one of {count} shards, {name} one of {}", shard.count));
        }
        if shard.index == 0 || shard.index > count {
            return Err(format!("{name} claims to be shard {} of {count}", shard.index));
        }
        if let Some(other) = seen.insert(shard.index, name) {
            return Err(format!("shard {}/{count} is there twice: {other} and {name}", shard.index));
        }
        same_run((first_name, first), (name, report))?;
    }
    let missing: Vec<String> = (1..=count).filter(|i| !seen.contains_key(i)).take(20).map(|i| i.to_string()).collect();
    if !missing.is_empty() {
        let (word, list) = (if missing.len() == 1 { "shard" } else { "shards" }, missing.join(", "));
        return Err(format!("{word} {list} of {count} missing"));
    }
    Ok(count)
}

/// Checks that two shards are of the same run: program, CPU, suites.
fn same_run((a_name, a): (&str, &Report), (b_name, b): (&str, &Report)) -> Result<(), String> {
    let differ =
        |what: &str, a: &str, b: &str| Err(format!("{a_name} and {b_name} differ in their {what}: {a} and {b}"));
    if (a.version, b.version) != (VERSION, VERSION) {
        return differ("format's version", &a.version.to_string(), &b.version.to_string());
    }
    if a.tool != b.tool {
        return differ("program", &a.tool, &b.tool);
    }
    if a.target != b.target {
        return differ("CPU under test", &a.target, &b.target);
    }
    let names = |r: &Report| r.suites.iter().map(|s| s.name.as_str()).collect::<Vec<_>>().join(", ");
    if a.suites.len() != b.suites.len() || names(a) != names(b) {
        return differ("suites", &names(a), &names(b));
    }
    for (x, y) in a.suites.iter().zip(&b.suites) {
        if x.model != y.model {
            return differ(&format!("model for {}", x.name), &x.model, &y.model);
        }
        if x.digest != y.digest {
            return Err(format!("{a_name} and {b_name} ran different files of {}", x.name));
        }
    }
    Ok(())
}
