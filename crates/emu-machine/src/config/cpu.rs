//! The CPU of a configuration: a model, and features that it has more or less.

use emu_core::cpu::Model;
use emu_core::cpu::model::{FEATURES, Kind, MODELS};

use super::{ConfigError, suggestion};

/// Other names under which people know the models.
const ALIASES: &[(&str, Kind)] = &[
    ("186", Kind::I80186),
    ("286", Kind::I80286),
    ("386", Kind::I80386),
    ("486", Kind::I80486),
    ("586", Kind::Pentium),
    ("686", Kind::P6),
    ("x86-64", Kind::X64V1),
];

/// The model that a machine has unless somebody wants another.
pub(super) const DEFAULT: Model = Model::new(Kind::X64V1);

/// Reads `MODEL[,+feature][,-feature]`.
///
/// # Errors
/// [`ConfigError::Value`] for an unknown model or feature, or a feature without a sign.
pub fn parse_cpu(text: &str) -> Result<Model, ConfigError> {
    let mut parts = text.split(',');
    let name = parts.next().unwrap_or_default().to_lowercase();
    let Some((_, kind)) = MODELS.iter().chain(ALIASES).find(|(n, _)| *n == name) else {
        let names: Vec<&str> = MODELS.iter().chain(ALIASES).map(|(n, _)| *n).collect();
        let all: Vec<&str> = MODELS.iter().map(|(n, _)| *n).collect();
        let (all, hint) = (all.join(", "), suggestion(&name, &names));
        return Err(ConfigError::Value(format!("CPU model `{name}` is none of {all}{hint}")));
    };
    parts.try_fold(Model::new(*kind), apply_feature)
}

/// The text that [`parse_cpu`] reads as `model`.
#[must_use]
pub fn cpu_text(model: Model) -> String {
    let plain = Model::new(model.kind);
    let mut text = MODELS.iter().find(|(_, k)| *k == model.kind).map_or("", |(n, _)| *n).to_owned();
    for (feature, name) in FEATURES {
        if model.has(*feature) != plain.has(*feature) {
            text += if model.has(*feature) { ",+" } else { ",-" };
            text += name;
        }
    }
    text
}

fn apply_feature(model: Model, part: &str) -> Result<Model, ConfigError> {
    let (on, name) = match part.split_at_checked(1) {
        Some(("+", name)) => (true, name.to_lowercase()),
        Some(("-", name)) => (false, name.to_lowercase()),
        _ => return Err(ConfigError::Value(format!("CPU feature `{part}` needs a + or - before its name"))),
    };
    match FEATURES.iter().find(|(_, n)| *n == name) {
        Some((feature, _)) => {
            let first = Model::first_with(*feature);
            if on && model.kind < first {
                let name_of = |kind| MODELS.iter().find(|m| m.1 == kind).map_or("", |m| m.0);
                let (has, wants) = (name_of(model.kind), name_of(first));
                return Err(ConfigError::Value(format!("CPU feature `{name}` needs at least `{wants}`, not `{has}`")));
            }
            Ok(model.with(*feature, on))
        }
        None => {
            let names: Vec<&str> = FEATURES.iter().map(|(_, n)| *n).collect();
            Err(ConfigError::Value(format!("there is no CPU feature `{name}`{}", suggestion(&name, &names))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use emu_core::cpu::model::Feature;

    #[test]
    fn models_and_features_read() {
        let cpu = parse_cpu("P6,+sse3,-pae").unwrap();
        assert_eq!((cpu.kind, cpu.has(Feature::Sse3), cpu.has(Feature::Pae)), (Kind::P6, true, false));
        assert_eq!(parse_cpu(&cpu_text(cpu)).unwrap(), cpu);
        assert_eq!(parse_cpu("486").unwrap(), parse_cpu("80486").unwrap());
        let text = |s| parse_cpu(s).unwrap_err().to_string();
        assert!(text("pentuim").contains("did you mean `pentium`"));
        assert!(text("486,fpu").contains("needs a +"));
        assert!(text("486,+ssse").contains("did you mean"));
        assert_eq!(text("386,+avx"), "CPU feature `avx` needs at least `pentium`, not `80386`");
        assert!(parse_cpu("x86-64-v1,+avx").unwrap().has(Feature::Xsave));
    }
}
