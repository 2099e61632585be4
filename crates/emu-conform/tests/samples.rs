//! The shared samples through the library.

use std::path::{Path, PathBuf};

use emu_conform::suite::{Cases, hwvec::Hwvec, moo::Moo, unpack};
use emu_conform::{Case, EmuTarget, Model, Outcome, Target, compare};
use emu_core::cpu::model::{Feature, Kind};

fn shared(path: &str) -> Option<PathBuf> {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let path = std::env::var_os("EMU_SHARED").map_or_else(default, PathBuf::from).join("conformance").join(path);
    path.exists().then_some(path)
}

/// What became of a file's cases.
#[derive(Default, Debug)]
struct Sum {
    cases: u64,
    strict: u64,
    masked: u64,
    strayed: bool,
    first: String,
}

fn run(cases: &mut dyn Cases, target: &mut EmuTarget) -> Sum {
    let (mut case, mut outcome, mut sum) = (Case::default(), Outcome::default(), Sum::default());
    while cases.next(&mut case).unwrap() {
        target.run(&case, &mut outcome).unwrap();
        let found = compare(&case, &outcome);
        sum.cases += 1;
        sum.strict += u64::from(found.strict());
        sum.masked += u64::from(found.masked());
        if !found.masked() && sum.first.is_empty() {
            sum.first = format!("{} {} {:x?}", case.row, case.name, found);
        }
    }
    sum.strayed = target.strayed();
    sum
}

/// Real-mode captures: every case that agrees leaves no byte behind that it should not have written.
#[test]
fn moo() {
    let Some(folder) = shared("sst/80286") else { return };
    let mut target = EmuTarget::new(Model::new(Kind::I80286));
    for row in ["00", "8F", "A4", "C9", "FF.6", "62"] {
        let path = folder.join(format!("{row}.MOO.gz"));
        let mut moo = Moo::new(&path, unpack(&path).unwrap(), row, Vec::new()).unwrap();
        moo.set_halts(true);
        let sum = run(&mut moo, &mut target);
        assert!(sum.strict == sum.cases && sum.cases == 250 && !sum.strayed, "{row}: {sum:?}");
    }
}

#[test]
fn hardware_vectors() {
    for (group, cases) in [("alu32", 24672), ("x87", 7076), ("mmx", 1994)] {
        let Some(path) = shared(&format!("hwvec/{group}.jsonl.gz")) else { return };
        let model = [Feature::Movbe, Feature::Adx].into_iter().fold(Model::new(Kind::X64V3), |m, f| m.with(f, true));
        let sum = run(&mut Hwvec::new(&path, unpack(&path).unwrap()).unwrap(), &mut EmuTarget::new(model));
        assert!(sum.masked == sum.cases && sum.cases == cases, "{group}: {sum:?}");
    }
}
