//! Devices that a board can have beside its own.

use super::{ConfigError, suggestion};

/// Names of the devices.
const NAMES: [&str; 2] = ["intel-iommu", "edu"];

/// Which of them there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Devices {
    /// Intel's VT-d remapping unit, before all PCI functions and the I/O APIC.
    pub intel_iommu: bool,
    /// QEMU's educational PCI device.
    pub edu: bool,
}

impl Devices {
    fn slot(&mut self, name: &str) -> Option<&mut bool> {
        match name {
            "intel-iommu" => Some(&mut self.intel_iommu),
            "edu" => Some(&mut self.edu),
            _ => None,
        }
    }

    /// Reads names with commas between them; nothing is none.
    ///
    /// # Errors
    /// [`ConfigError::Value`] for a name that means nothing.
    pub fn parse(text: &str) -> Result<Devices, ConfigError> {
        let mut devices = Devices::default();
        for name in text.split(',').map(str::trim).filter(|n| !n.is_empty()) {
            let unknown = || {
                let hint = suggestion(name, &NAMES);
                ConfigError::Value(format!("device `{name}` is none of {}{hint}", NAMES.join(", ")))
            };
            *devices.slot(name).ok_or_else(unknown)? = true;
        }
        Ok(devices)
    }

    /// The text that [`Self::parse`] reads.
    #[must_use]
    pub fn text(mut self) -> String {
        let here: Vec<&str> = NAMES.into_iter().filter(|n| self.slot(n).is_some_and(|s| *s)).collect();
        here.join(",")
    }

    /// These and those.
    #[must_use]
    pub fn with(self, others: Devices) -> Devices {
        Devices { intel_iommu: self.intel_iommu | others.intel_iommu, edu: self.edu | others.edu }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for text in ["", "edu", "intel-iommu", "intel-iommu,edu"] {
            assert_eq!(Devices::parse(text).unwrap().text(), text);
        }
        assert_eq!(Devices::parse(" edu , edu").unwrap().text(), "edu");
        let wrong = Devices::parse("edu,intel-iomu").unwrap_err().to_string();
        assert!(wrong.contains("did you mean `intel-iommu`"), "{wrong}");
    }
}
