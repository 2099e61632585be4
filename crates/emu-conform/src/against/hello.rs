//! What an adapter says of itself.

use crate::Environment;

/// The protocol's version that this emu speaks.
const VERSION: u32 = 1;

/// An adapter's hello.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Hello {
    /// What reports call it.
    pub name: String,
    /// The environments that it can run.
    pub modes: Vec<Environment>,
    /// It has x87 registers.
    pub x87: bool,
    /// It has XMM registers.
    pub sse: bool,
    /// It has YMM registers.
    pub avx: bool,
    /// It has control and debug registers.
    pub control: bool,
    /// Its memory: first linear address, length. Empty: it did not say.
    pub memory: Vec<(u64, u64)>,
    /// The features that its instructions may need; `None`: all.
    pub features: Option<Vec<String>>,
}

impl Hello {
    /// Reads the line.
    ///
    /// # Errors
    /// Why it is none.
    pub fn read(line: &str) -> Result<Hello, String> {
        let mut rest = line.strip_prefix("hello ").ok_or("it does not begin with hello")?.trim_start();
        let mut hello = Hello::default();
        let (version, after) = rest.split_once(' ').unwrap_or((rest, ""));
        if version.parse() != Ok(VERSION) {
            return Err(format!("it speaks version {version}, and emu speaks {VERSION}"));
        }
        rest = after.trim_start();
        while !rest.is_empty() {
            if let Some(name) = rest.strip_prefix("name=") {
                hello.name = name.trim().chars().filter(|c| !c.is_control()).take(200).collect();
                break;
            }
            let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
            let (key, value) = word.split_once('=').ok_or(format!("{word:?} is not key=value"))?;
            hello.set(key, value)?;
            rest = after.trim_start();
        }
        if hello.name.is_empty() {
            hello.name = "a CPU without a name".into();
        }
        if hello.modes.is_empty() { Err("it names no mode that emu knows".into()) } else { Ok(hello) }
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let items = || value.split(',').filter(|item| !item.is_empty());
        match key {
            "modes" => {
                for item in items() {
                    match item {
                        "real" => self.modes.push(Environment::Real),
                        "user32" => self.modes.push(Environment::Flat32),
                        "user64" => self.modes.push(Environment::Flat64),
                        // A mode of a later version: no case will ask for it.
                        _ => {}
                    }
                }
            }
            "state" => {
                let has = |name| items().any(|item| item == name);
                (self.avx, self.control) = (has("avx"), has("control"));
                (self.x87, self.sse) = (has("x87"), has("sse") || self.avx);
            }
            "memory" => {
                for item in items() {
                    let pair = item.split_once('+').and_then(|(at, n)| {
                        Some((u64::from_str_radix(at, 16).ok()?, u64::from_str_radix(n, 16).ok()?))
                    });
                    self.memory.push(pair.ok_or(format!("{item:?} is no start+length"))?);
                }
            }
            "features" => self.features = Some(items().map(str::to_owned).collect()),
            _ => {}
        }
        Ok(())
    }

    /// Whether instructions that need `feature` can be sent.
    #[must_use]
    pub fn has(&self, feature: &str) -> bool {
        feature.is_empty() || self.features.as_ref().is_none_or(|list| list.iter().any(|f| f == feature))
    }

    /// Whether there is memory at a linear address.
    #[must_use]
    pub fn has_memory(&self, at: u64) -> bool {
        self.memory.is_empty() || self.memory.iter().any(|(start, n)| at.wrapping_sub(*start) < *n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hellos_are_read() {
        let line =
            "hello 1 modes=real,user64,vm86 state=x87,avx memory=0+100,ff0+10 features=sse3 color=red name=A B=1";
        let hello = Hello::read(line).unwrap();
        assert_eq!((hello.name.as_str(), hello.modes.len()), ("A B=1", 2));
        assert!(hello.x87 && hello.sse && hello.avx && !hello.control);
        assert!(hello.has("") && hello.has("sse3") && !hello.has("avx"));
        assert!(hello.has_memory(0xFF) && !hello.has_memory(0x100) && hello.has_memory(0xFFF));
        let least = Hello::read("hello 1 modes=user32").unwrap();
        assert!(least.has("anything") && least.has_memory(5) && !least.x87);
    }

    #[test]
    fn what_is_no_hello_is_refused() {
        for (line, why) in [
            ("", "does not begin"),
            ("HELLO 1", "does not begin"),
            ("hello 2 modes=real", "speaks version 2"),
            ("hello 1", "no mode"),
            ("hello 1 modes=vm86", "no mode"),
            ("hello 1 modes", "not key=value"),
            ("hello 1 modes=real memory=5", "no start+length"),
        ] {
            let error = Hello::read(line).unwrap_err();
            assert!(error.contains(why), "{line}: {error}");
        }
    }
}
