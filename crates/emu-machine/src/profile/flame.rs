//! The flame graph: the tree of calls, by symbols, each as wide as its ticks.

use std::io::Write;
use std::path::{Path, PathBuf};

use emu_core::profile::Profile;
use inferno::flamegraph::{Options, from_lines};

use super::Symbols;
use crate::image::reason;

/// Why there is no flame graph.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct FlameError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub reason: String,
}

/// Writes the flame graph as SVG, or its lines (`caller;callee ticks`) if the name of `path` ends in `.folded`.
///
/// # Errors
/// [`FlameError`].
pub fn write_flame_graph(path: &Path, profile: &Profile, symbols: &Symbols) -> Result<(), FlameError> {
    let failed = |reason: String| FlameError { path: path.to_owned(), reason };
    let lines = folded(profile, symbols);
    if lines.is_empty() {
        return Err(failed("nothing ran, so there is no flame graph".into()));
    }
    let mut out = Vec::new();
    if path.extension().is_some_and(|e| e == "folded") {
        lines.iter().for_each(|l| drop(writeln!(out, "{l}")));
    } else {
        let mut options = Options::default();
        options.title = "Ticks by guest function".into();
        options.count_name = "ticks".into();
        options.deterministic = true;
        from_lines(&mut options, lines.iter().map(String::as_str), &mut out).map_err(|e| failed(e.to_string()))?;
    }
    std::fs::write(path, out).map_err(|e| failed(reason(&e)))
}

/// One line for each way through the calls that took ticks, with the names from the outermost on.
fn folded(profile: &Profile, symbols: &Symbols) -> Vec<String> {
    let mut ways: Vec<String> = Vec::with_capacity(profile.calls.len());
    for (i, node) in profile.calls.iter().enumerate() {
        ways.push(match i {
            0 => "guest".into(),
            _ => format!("{};{}", ways[node.parent as usize], symbols.function(node.function)),
        });
    }
    let took = ways.iter().zip(&profile.calls).filter(|(_, node)| node.ticks > 0);
    let mut lines: Vec<String> = took.map(|(way, node)| format!("{way} {}", node.ticks)).collect();
    lines.sort();
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use emu_core::profile::CallNode;

    fn profile() -> Profile {
        let node = |parent, function, ticks| CallNode { parent, function, ticks };
        Profile {
            ticks: 100,
            halted: 0,
            blocks: Vec::new(),
            lost: 0,
            calls: vec![node(0, 0, 10), node(0, 0x7C00, 0), node(1, 0x7D00, 60), node(0, 0x7D00, 30)],
            events: Vec::new(),
            interrupts: vec![0; 256],
        }
    }

    #[test]
    fn ways_that_took_ticks_become_lines() {
        assert_eq!(folded(&profile(), &Symbols::default()), ["guest 10", "guest;7c00;7d00 60", "guest;7d00 30"]);
    }

    #[test]
    fn the_graph_is_svg_and_the_same_each_time() {
        let path = std::env::temp_dir().join(format!("emu-flame-{}.svg", std::process::id()));
        let draw = || {
            write_flame_graph(&path, &profile(), &Symbols::default()).expect("written");
            std::fs::read_to_string(&path).expect("read")
        };
        let (first, second) = (draw(), draw());
        assert!(first.contains("<svg") && first.contains("7d00"), "{first}");
        assert_eq!(first, second);
        std::fs::remove_file(&path).expect("removed");
    }
}
