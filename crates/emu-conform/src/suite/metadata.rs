//! `metadata.json` of the single-step suites: which CPU, and which flags an opcode leaves undefined.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::{SuiteError, unpack};
use crate::{Mask, MaskSource, Reg};

/// What a suite's folder says of its files.
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    /// The CPU's id, if it names one.
    pub cpu: Option<String>,
    path: PathBuf,
    /// Bits of FLAGS that are defined, by opcode (`F6.6` is F6 with /6).
    keep: BTreeMap<String, u64>,
}

impl Metadata {
    /// Reads the `metadata.json` of `folder`; without one there are no masks.
    ///
    /// # Errors
    /// It can't be read, or is not what it should be.
    pub fn of(folder: &Path) -> Result<Option<Metadata>, SuiteError> {
        let path = folder.join("metadata.json");
        if !path.exists() {
            return Ok(None);
        }
        let value = serde_json::from_slice::<Value>(&unpack(&path)?);
        let value = value.map_err(|e| SuiteError::new(&path, format!("it is no JSON: {e}")))?;
        let mut meta = Metadata { cpu: value["cpu"].as_str().map(str::to_owned), path, keep: BTreeMap::new() };
        for (opcode, v) in value["opcodes"].as_object().into_iter().flatten() {
            meta.enter(opcode.clone(), v.as_object())?;
            for (n, v) in v["reg"].as_object().into_iter().flatten() {
                meta.enter(format!("{opcode}.{n}"), v.as_object())?;
            }
        }
        Ok(Some(meta))
    }

    fn enter(&mut self, opcode: String, v: Option<&Map<String, Value>>) -> Result<(), SuiteError> {
        let Some(v) = v else { return Err(SuiteError::new(&self.path, format!("opcode {opcode} is no object"))) };
        if let Some(mask) = v.get("flags-mask") {
            let mask = mask.as_u64().filter(|m| *m <= 0xFFFF_FFFF);
            let wrong = || SuiteError::new(&self.path, format!("the flags-mask of opcode {opcode} is no number"));
            let keep = mask.ok_or_else(wrong)?;
            self.keep.insert(opcode, keep);
        }
        Ok(())
    }

    /// The masks of an opcode's file.
    #[must_use]
    pub fn masks(&self, opcode: &str) -> Vec<Mask> {
        let keep = self.keep.get(opcode).or_else(|| self.keep.get(&opcode.to_uppercase()));
        let undefined = !keep.copied().unwrap_or(u64::MAX) & 0xFFFF;
        if undefined == 0 {
            return Vec::new();
        }
        let folder = self.path.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
        let source = MaskSource::Suite(format!("metadata.json of {folder}").into());
        vec![Mask { reg: Reg::Rflags, undefined, source }]
    }
}
