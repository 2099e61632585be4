//! The descriptor: a text that names extents, content ids and the parent [VMDK The Descriptor File].

use super::super::super::format::{Kind, Result};
use super::super::super::store::Store;

/// The content id that means "no parent".
pub(super) const NO_PARENT: u32 = u32::MAX;
/// The longest descriptor.
pub(super) const LONGEST: u64 = 1 << 20;
/// The most extents.
const MOST_EXTENTS: usize = 4000;

/// How an extent holds its sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExtentKind {
    Flat,
    Sparse,
    Zero,
}

/// A line of the extent description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ExtentLine {
    pub(super) writable: bool,
    pub(super) sectors: u64,
    pub(super) kind: ExtentKind,
    pub(super) file: String,
    /// Where a flat extent begins in its file, in sectors.
    pub(super) offset: u64,
}

/// The descriptor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Descriptor {
    pub(super) text: String,
    pub(super) cid: u32,
    pub(super) parent_cid: Option<u32>,
    pub(super) create_type: String,
    pub(super) parent_hint: Option<String>,
    pub(super) extents: Vec<ExtentLine>,
}

impl Descriptor {
    /// Reads the text at `at` of the store; zeros end it.
    pub(super) fn read(store: &dyn Store, at: u64, len: u64) -> Result<Descriptor> {
        let bad = |why: String| store.bad(Kind::Vmdk, "descriptor", at, why);
        if len > LONGEST || at.checked_add(len).is_none_or(|end| end > store.len()) {
            return Err(bad(format!("{len} bytes are too many, or not in the file")));
        }
        let mut bytes = store.read_vec(at, len as usize)?;
        bytes.truncate(bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len()));
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Descriptor::parse(text).map_err(bad)
    }

    fn parse(text: String) -> core::result::Result<Descriptor, String> {
        let mut d = Descriptor { cid: NO_PARENT, ..Descriptor::default() };
        let hex = |v: &str| u32::from_str_radix(v, 16).map_err(|_| format!("`{v}` is not a content id"));
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(extent) = extent_line(line) {
                d.extents.push(extent.map_err(|why| format!("line {}: {why}", number + 1))?);
                if d.extents.len() > MOST_EXTENTS {
                    return Err(format!("more than {MOST_EXTENTS} extents"));
                }
                continue;
            }
            let Some((key, value)) = line.split_once('=') else { continue };
            let value = value.trim().trim_matches('"');
            match key.trim().to_ascii_lowercase().as_str() {
                "cid" => d.cid = hex(value)?,
                "parentcid" => d.parent_cid = Some(hex(value)?).filter(|cid| *cid != NO_PARENT),
                "createtype" => d.create_type = value.to_owned(),
                "parentfilenamehint" => d.parent_hint = Some(value.to_owned()),
                _ => {}
            }
        }
        d.text = text;
        Ok(d)
    }

    /// The text with other values for some keys: each is replaced where it stands, put after the id if it is not there,
    /// or removed.
    pub(super) fn with(&self, changes: &[(&str, Option<String>)]) -> String {
        let mut lines: Vec<String> = self.text.lines().map(str::to_owned).collect();
        let is = |line: &str, key: &str| {
            line.split_once('=').is_some_and(|(k, _)| k.trim().eq_ignore_ascii_case(key.trim()))
        };
        for (key, value) in changes {
            let at = lines.iter().position(|l| is(l, key));
            match (at, value) {
                (Some(at), Some(value)) => lines[at] = format!("{key}={value}"),
                (Some(at), None) => _ = lines.remove(at),
                (None, Some(value)) => {
                    let after = lines.iter().position(|l| is(l, "parentCID")).map_or(1, |i| i + 1);
                    lines.insert(after.min(lines.len()), format!("{key}={value}"));
                }
                (None, None) => {}
            }
        }
        lines.join("\n") + "\n"
    }

    /// The text with other sectors for its last extent, and cylinders of a disk of `total` sectors.
    pub(super) fn resized(&self, sectors: u64, total: u64) -> String {
        let mut lines: Vec<String> = self.text.lines().map(str::to_owned).collect();
        if let Some(line) = lines.iter_mut().rfind(|l| extent_line(l.trim()).is_some()) {
            let mut words = line.trim().splitn(3, char::is_whitespace);
            let (access, rest) = (words.next().unwrap_or_default(), words.nth(1).unwrap_or_default());
            *line = format!("{access} {sectors} {rest}");
        }
        let text = lines.join("\n") + "\n";
        let shape = ["heads", "sectors"].map(|key| self.number(&format!("ddb.geometry.{key}")).filter(|n| *n > 0));
        match (shape, self.number("ddb.geometry.cylinders")) {
            ([Some(heads), Some(track)], Some(_)) => {
                let cylinders = total.div_ceil(heads.saturating_mul(track)).min(65535);
                let changed = Descriptor { text, ..Descriptor::default() };
                changed.with(&[("ddb.geometry.cylinders ", Some(format!(" \"{cylinders}\"")))])
            }
            _ => text,
        }
    }

    fn number(&self, key: &str) -> Option<u64> {
        let mut pairs = self.text.lines().filter_map(|l| l.split_once('='));
        let value = pairs.find(|(k, _)| k.trim().eq_ignore_ascii_case(key))?.1;
        value.trim().trim_matches('"').parse().ok()
    }
}

/// `RW 8192 SPARSE "x.vmdk" 0`; `None` if the line is something else.
fn extent_line(line: &str) -> Option<core::result::Result<ExtentLine, String>> {
    let (access, rest) = line.split_once(char::is_whitespace)?;
    let writable = match access {
        "RW" => true,
        "RDONLY" => false,
        "NOACCESS" => return Some(Err("an extent with no access".into())),
        _ => return None,
    };
    Some(parse_extent(writable, rest))
}

fn parse_extent(writable: bool, rest: &str) -> core::result::Result<ExtentLine, String> {
    let mut words = rest.trim_start().splitn(3, char::is_whitespace);
    let sectors = words.next().and_then(|w| w.parse().ok()).ok_or("an extent without a size")?;
    let name = words.next().unwrap_or_default();
    let kind = match name {
        "FLAT" | "VMFS" => ExtentKind::Flat,
        "SPARSE" | "VMFSSPARSE" => ExtentKind::Sparse,
        "ZERO" => ExtentKind::Zero,
        other => return Err(format!("extents of type {other} are not known")),
    };
    let rest = words.next().unwrap_or_default().trim_start();
    let mut file = String::new();
    let mut offset = 0;
    if kind != ExtentKind::Zero {
        let quoted = rest.strip_prefix('"').and_then(|r| r.split_once('"')).ok_or("an extent without a file name")?;
        file = quoted.0.to_owned();
        let last = quoted.1.trim();
        if !last.is_empty() {
            offset = last.split_whitespace().next().and_then(|w| w.parse().ok()).ok_or("a wrong extent offset")?;
        }
    }
    Ok(ExtentLine { writable, sectors, kind, file, offset })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_read_and_changed() {
        let text = "# Disk DescriptorFile\nversion=1\nCID=0000000a\nparentCID=ffffffff\ncreateType=\"vmfs\"\n\n\
                    RW 100 VMFS \"a b-flat.vmdk\"\nRW 20 FLAT \"c\" 7\nRW 5 ZERO\nddb.x = \"1\"\n";
        let d = Descriptor::parse(text.into()).unwrap();
        assert_eq!((d.cid, d.parent_cid, d.extents.len()), (10, None, 3));
        assert_eq!((d.extents[0].file.as_str(), d.extents[1].offset), ("a b-flat.vmdk", 7));
        let changed = d.with(&[("CID", Some("0000000b".into())), ("parentFileNameHint", Some("\"p\"".into()))]);
        let d = Descriptor::parse(changed).unwrap();
        assert_eq!((d.cid, d.parent_hint.as_deref()), (11, Some("p")));
        let d = Descriptor::parse(
            "RW 8 SPARSE \"a b\" 0\nddb.geometry.heads = \"16\"\nddb.geometry.sectors = \"63\"\n\
                                   ddb.geometry.cylinders = \"1\"\n"
                .into(),
        );
        let larger = Descriptor::parse(d.unwrap().resized(5000, 5000)).unwrap();
        assert_eq!((larger.extents[0].sectors, larger.extents[0].file.as_str()), (5000, "a b"));
        assert_eq!(larger.number("ddb.geometry.cylinders"), Some(5), "{}", larger.text);
        for bad in ["RW x FLAT \"a\"", "RW 1 FANCY \"a\"", "RW 1 FLAT a", "CID=xyz", "RW 1 FLAT \"a\" b"] {
            assert!(Descriptor::parse(bad.into()).is_err(), "{bad}");
        }
    }
}
