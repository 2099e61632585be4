//! Files of every version of the formats, made by the emu of their time, kept for ever: the demo with three keys typed, saved
//! at tick 90000000 and recorded to tick 120000000 (from version 3 on to 300000000, so that it has checkpoints on its way).

mod common;

use std::path::Path;

use common::told;

/// Versions, and where their recordings end.
const VERSIONS: [(u32, u64); 3] = [(1, 120_000_000), (2, 120_000_000), (3, 300_000_000)];

fn fixture(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name).to_string_lossy().into_owned()
}

#[test]
fn snapshots_of_every_version_are_restored() {
    for (version, _) in VERSIONS {
        let file = fixture(&format!("demo-v{version}.emusnap"));
        let (code, said) = told(&["snapshot", "list", &file]);
        assert!(code == 0 && said.contains("tick 90000000 (0.900 s), PC with"), "{version}: {said}");
        let (code, said) =
            told(&["run", &file, "--display", "none", "--until-ticks", "200000000", "--screen-text", "-"]);
        assert!(code == 0 && said.contains("Power off"), "{version}: {said}");
    }
}

/// Their machine may be another one by now, which is said; the file is read and played all the same.
#[test]
fn recordings_of_every_version_are_played() {
    for (version, end) in VERSIONS {
        let file = fixture(&format!("demo-v{version}.emurec"));
        let (code, said) = told(&["replay", &file, "--display", "none"]);
        assert!(said.contains(&format!("to tick {end}: 6 inputs, recorded by emu 0.")), "{version}: {said}");
        assert!(code == 0 || code == 8, "{version}: {code} {said}");
        let (code, said) = told(&["replay", &file, "--display", "none", "--start", "end", "--screen-text", "-"]);
        assert!(code == 0 && said.contains("Power off"), "{version}: {code} {said}");
    }
}
