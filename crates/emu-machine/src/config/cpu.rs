//! The CPU of a configuration: a model, and features that it has more or less.

use super::{ConfigError, suggestion};

/// The models, oldest first.
pub const CPU_MODELS: [&str; 10] =
    ["8086", "186", "286", "386", "486", "pentium", "p6", "x86-64", "x86-64-v2", "x86-64-v3"];

/// A CPU model by name, with feature changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuChoice {
    /// One of [`CPU_MODELS`].
    pub model: String,
    /// Features by their CPUID name in lower case, and whether they are added (or removed).
    pub features: Vec<(String, bool)>,
}

impl Default for CpuChoice {
    fn default() -> Self {
        CpuChoice { model: "x86-64".into(), features: Vec::new() }
    }
}

impl CpuChoice {
    /// Reads `MODEL[,+feature][,-feature]`.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for an unknown model, or a feature without a sign.
    pub fn parse(text: &str) -> Result<CpuChoice, ConfigError> {
        let mut parts = text.split(',');
        let model = parts.next().unwrap_or_default().to_lowercase();
        if !CPU_MODELS.contains(&model.as_str()) {
            let (all, hint) = (CPU_MODELS.join(", "), suggestion(&model, &CPU_MODELS));
            return Err(ConfigError::Value(format!("CPU model `{model}` is none of {all}{hint}")));
        }
        let mut features = Vec::new();
        for part in parts {
            let feature = match part.split_at_checked(1) {
                Some(("+", name)) if !name.is_empty() => (name.to_lowercase(), true),
                Some(("-", name)) if !name.is_empty() => (name.to_lowercase(), false),
                _ => return Err(ConfigError::Value(format!("CPU feature `{part}` needs a + or - before its name"))),
            };
            features.push(feature);
        }
        Ok(CpuChoice { model, features })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_and_features_read() {
        let cpu = CpuChoice::parse("P6,+sse2,-pae").unwrap();
        assert_eq!(cpu.model, "p6");
        assert_eq!(cpu.features, [("sse2".to_owned(), true), ("pae".to_owned(), false)]);
        let text = |s| CpuChoice::parse(s).unwrap_err().to_string();
        assert!(text("pentuim").contains("did you mean `pentium`"));
        assert!(text("486,fpu").contains("needs a +"));
    }
}
