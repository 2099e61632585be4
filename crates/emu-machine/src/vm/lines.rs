//! Files of `key = "value"` lines: VMware's `.vmx` and `.vmsd`.

use std::collections::BTreeMap;
use std::path::Path;

use super::VmError;

/// The keys of a file, in lower case, with their values.
pub(super) struct Lines(BTreeMap<String, String>);

impl Lines {
    /// Reads `text`; `path` is for messages.
    ///
    /// # Errors
    /// [`VmError::Invalid`] with the line: no `=`, an open quote, a key that stands there twice.
    pub(super) fn parse(path: &Path, text: &str) -> Result<Lines, VmError> {
        let mut map = BTreeMap::new();
        for (n, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') || (n == 0 && line.starts_with("#!")) {
                continue;
            }
            let wrong = |what: &str| VmError::invalid(path, format!("line {}: {what}", n + 1));
            let (key, value) = line.split_once('=').ok_or_else(|| wrong("not of the form key = \"value\""))?;
            let key = key.trim().to_lowercase();
            if key.is_empty() || key.contains(|c: char| c.is_whitespace() || c.is_control()) {
                return Err(wrong("the key before `=` is not one word"));
            }
            let value = unquote(value.trim()).ok_or_else(|| wrong("the value's quote is not closed"))?;
            if map.insert(key.clone(), value).is_some() {
                return Err(wrong(&format!("`{key}` stands here a second time: remove one of them")));
            }
        }
        Ok(Lines(map))
    }

    /// The value of `key` (lower case), unless it is empty.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str).filter(|v| !v.is_empty())
    }

    /// Whether `key` says TRUE; `default` without it.
    pub(super) fn is_true(&self, key: &str, default: bool) -> bool {
        self.get(key).map_or(default, |v| v.eq_ignore_ascii_case("true") || v == "1")
    }

    /// The number of `key`.
    pub(super) fn number<T: std::str::FromStr>(&self, key: &str) -> Option<T> {
        self.get(key)?.trim().parse().ok()
    }

    /// All keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// The value of a quoted or a bare word, with VMware's `|hh` escapes undone.
fn unquote(value: &str) -> Option<String> {
    let inner = match value.strip_prefix('"') {
        None => value,
        Some(rest) => &rest[..rest.find('"')?],
    };
    let mut out = String::new();
    let mut rest = inner;
    while let Some((before, after)) = rest.split_once('|') {
        out.push_str(before);
        match after.get(..2).and_then(|h| u8::from_str_radix(h, 16).ok()) {
            Some(code) => {
                out.push(char::from(code));
                rest = &after[2..];
            }
            None => {
                out.push('|');
                rest = after;
            }
        }
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Lines, String> {
        Lines::parse(Path::new("x.vmx"), text).map_err(|e| e.to_string())
    }

    #[test]
    fn lines_as_the_product_writes_them() {
        let l = parse("#!/usr/bin/vmware\n.encoding = \"UTF-8\"\ndisplayName = \"a |22b|22\"\nmemsize=64\n\n# x\n")
            .unwrap();
        assert_eq!((l.get("displayname"), l.number::<u32>("memsize")), (Some("a \"b\""), Some(64)));
        assert!(l.is_true("x.present", true) && !l.is_true("memsize", false));
    }

    #[test]
    fn mistakes_name_their_line() {
        let wrong = |text| parse(text).err().unwrap();
        assert!(wrong("a = \"1\"\nb").contains("x.vmx: line 2: not of the form"));
        assert!(wrong("a = \"1\"\nA = \"2\"").contains("line 2: `a` stands here a second time"));
        assert!(wrong("a = \"1").contains("not closed"));
        assert!(wrong("a b = 1").contains("not one word"));
    }
}
