//! What the fuzzer found: cases in which emu once differed from an AMD Zen 5 in what the architecture defines. The files
//! are as the fuzzer writes them; `emu conform crates/emu-conform/tests/found` shows the same.

use emu_conform::suite::{Cases, hwvec::Hwvec};
use emu_conform::{Case, EmuTarget, Model, Outcome, Target, compare};
use emu_core::cpu::model::Kind;

fn agrees(name: &str, text: &str, mut target: EmuTarget) {
    let mut cases = Hwvec::new(std::path::Path::new(name), text.as_bytes().to_vec()).expect("a file of vectors");
    let (mut case, mut outcome, mut n) = (Case::default(), Outcome::default(), 0);
    while cases.next(&mut case).expect("a vector") {
        target.run(&case, &mut outcome).expect("emu runs it");
        let found = compare(&case, &outcome);
        assert!(found.strict(), "{name}: {}: {found:x?}", case.row);
        n += 1;
    }
    assert!(n >= 10, "{name}: {n}");
}

#[test]
fn emu_does_as_the_silicon_now() {
    for (name, text) in [("fuzz32", include_str!("found/fuzz32.jsonl")), ("fuzz64", include_str!("found/fuzz64.jsonl"))]
    {
        let model = Model::new(Kind::X64V3);
        agrees(name, text, EmuTarget::new(model));
        agrees(name, text, EmuTarget::new(model).without_fast_handlers());
    }
}
