//! Which CPU a suite was captured from.

use emu_core::cpu::Model;
use emu_core::cpu::model::{Feature, Kind};

/// A CPU that suites name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SuiteCpu {
    /// The model of emu's that runs its cases.
    pub model: Model,
    /// What people call the CPU.
    pub name: &'static str,
    /// Its cases end on an HLT.
    pub halts: bool,
    /// What is to be known before the figures are read.
    pub note: Option<&'static str>,
}

/// Ids that MOO headers, metadata files and folders use, in lower case.
const IDS: &[(&[&str], &str, Kind)] = &[
    (&["8086"], "8086", Kind::I8086),
    (&["8088"], "8088", Kind::I8086),
    (&["v20", "nec v20"], "V20", Kind::I80186),
    (&["v30", "nec v30"], "V30", Kind::I80186),
    (&["186", "80186"], "80186", Kind::I80186),
    (&["188", "80188"], "80188", Kind::I80186),
    (&["286", "c286", "80286"], "80286", Kind::I80286),
    (&["386", "386e", "386ex", "80386", "80386ex"], "80386", Kind::I80386),
];

impl SuiteCpu {
    /// The CPU that `id` stands for; `None` if nobody knows.
    #[must_use]
    pub fn by_id(id: &str) -> Option<SuiteCpu> {
        let id = id.trim().to_lowercase();
        let (_, name, kind) = IDS.iter().find(|(ids, ..)| ids.contains(&id.as_str()))?;
        let note = name.starts_with('V').then_some("emu has no model of it; the 80186 is the nearest");
        // The captures are of a CPU alone, without its coprocessor.
        let model = Model::new(*kind).with(Feature::Fpu, false);
        Some(SuiteCpu { model, name, halts: *kind >= Kind::I80286, note })
    }

    /// The CPU that some part of a path is called after.
    #[must_use]
    pub fn by_path(path: &std::path::Path) -> Option<SuiteCpu> {
        let mut parts = path.iter().rev().map(|p| p.to_string_lossy());
        parts.find_map(|part| part.split(['_', '-', '.']).find_map(SuiteCpu::by_id))
    }

    /// A CPU that only the command line names.
    #[must_use]
    pub fn of_model(model: Model) -> SuiteCpu {
        SuiteCpu { model, name: "not known", halts: model.kind >= Kind::I80286, note: None }
    }

    /// The CPU of the hardware vectors: an Ice Lake server, of whose instructions emu's nearest model gets all that emu has.
    #[must_use]
    pub fn ice_lake() -> SuiteCpu {
        let more = [Feature::Adx, Feature::Sha, Feature::Gfni, Feature::Vaes, Feature::Vpclmul];
        let model = more.into_iter().fold(Model::new(Kind::X64V3), |m, f| m.with(f, true));
        SuiteCpu { model, name: "Ice Lake", halts: false, note: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_suites_are_known() {
        assert_eq!(SuiteCpu::by_id("C286").map(|c| (c.name, c.halts)), Some(("80286", true)));
        assert_eq!(SuiteCpu::by_id("V20 ").map(|c| c.model.kind), Some(Kind::I80186));
        assert_eq!(SuiteCpu::by_id("6502"), None);
        assert_eq!(SuiteCpu::by_path("suites/80386_partial/00.json".as_ref()).map(|c| c.name), Some("80386"));
        assert_eq!(SuiteCpu::by_path("8088/v1/00.json.gz".as_ref()).map(|c| c.name), Some("8088"));
        assert_eq!(SuiteCpu::by_path("cpu/v1/00.json.gz".as_ref()), None);
    }
}
