//! `path,mode=write,size=1440K`: an image as people write it on a command line.

use std::path::PathBuf;

use emu_devices::geometry::Geometry;

use super::ImageError;
use super::files::Parents;
use super::format::Kind;
use crate::config::{parse_size, suggestion};

/// What happens to the guest's writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// They go into memory, and are gone when the machine is.
    #[default]
    Overlay,
    /// They go into the image file.
    Write,
    /// They are refused: the write-protect notch.
    Read,
}

/// An image file and how to use it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageSpec {
    /// The file.
    pub path: PathBuf,
    /// What happens to the guest's writes.
    pub mode: Mode,
    /// Bytes that the drive shows; the file is filled up with zeros to this size.
    pub size: Option<u64>,
    /// Its format; without, its content decides.
    pub format: Option<Kind>,
    /// Where its parents and extents may be.
    pub parents: Parents,
    /// The snapshot inside of it that the drive shows; nothing is written to the file then.
    pub snapshot: Option<String>,
    /// The shape of a diskette whose size does not tell it.
    pub geometry: Option<Geometry>,
}

impl ImageSpec {
    /// An image with all defaults.
    pub fn new(path: impl Into<PathBuf>) -> ImageSpec {
        ImageSpec { path: path.into(), ..ImageSpec::default() }
    }

    /// Reads `path[,mode=overlay|write|read][,size=SIZE][,format=F][,parents=folder|anywhere][,snapshot=NAME]
    /// [,geometry=CYLINDERS/HEADS/SECTORS]`. A comma in the path is written twice.
    ///
    /// # Errors
    /// [`ImageError::Spec`] for an unknown key or a wrong value.
    pub fn parse(text: &str) -> Result<ImageSpec, ImageError> {
        let mut parts = split_commas(text).into_iter();
        let mut spec = ImageSpec::new(parts.next().unwrap_or_default());
        if spec.path.as_os_str().is_empty() {
            return Err(ImageError::Spec(format!("`{text}` names no file")));
        }
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((&part, ""));
            match key {
                "mode" => spec.mode = parse_mode(value)?,
                "size" => {
                    let size = parse_size(value).map_err(|e| ImageError::Spec(format!("size={value}: {e}")))?;
                    spec.size = Some(size);
                }
                "format" => spec.format = Some(parse_format(value)?),
                "parents" => spec.parents = parse_parents(value)?,
                "snapshot" => spec.snapshot = Some(value.to_owned()),
                "geometry" => spec.geometry = Some(parse_geometry(value)?),
                _ => {
                    let hint = suggestion(key, &["mode", "size", "format", "parents", "snapshot", "geometry"]);
                    let comma = "a comma in a file name is written twice";
                    return Err(ImageError::Spec(format!("unknown image option `{key}`{hint} ({comma})")));
                }
            }
        }
        Ok(spec)
    }
}

fn parse_mode(value: &str) -> Result<Mode, ImageError> {
    match value {
        "overlay" => Ok(Mode::Overlay),
        "write" => Ok(Mode::Write),
        "read" => Ok(Mode::Read),
        _ => {
            let hint = suggestion(value, &["overlay", "write", "read"]);
            Err(ImageError::Spec(format!("mode={value} is none of overlay, write, read{hint}")))
        }
    }
}

/// A diskette's shape: `80/2/18` is 80 cylinders, 2 heads, 18 sectors per track.
///
/// # Errors
/// [`ImageError::Spec`] for what no drive could read.
pub fn parse_geometry(value: &str) -> Result<Geometry, ImageError> {
    let numbers: Option<Vec<u8>> = value.split('/').map(|n| n.parse().ok()).collect();
    match numbers.as_deref() {
        Some(&[cylinders @ 1..=84, heads @ 1..=2, sectors @ 1..=63]) => {
            Ok(Geometry { cylinders: cylinders.into(), heads, sectors })
        }
        _ => Err(ImageError::Spec(format!(
            "geometry={value} is not CYLINDERS/HEADS/SECTORS, like 80/2/18, of at most 84, 2 and 63"
        ))),
    }
}

/// The format of this name.
///
/// # Errors
/// [`ImageError::Spec`] with a suggestion.
pub fn parse_format(value: &str) -> Result<Kind, ImageError> {
    Kind::parse(value).ok_or_else(|| {
        let names = Kind::ALL.map(Kind::name);
        let hint = suggestion(value, &names);
        ImageError::Spec(format!("format={value} is none of {}{hint}", names.join(", ")))
    })
}

fn parse_parents(value: &str) -> Result<Parents, ImageError> {
    match value {
        "folder" => Ok(Parents::Folder),
        "anywhere" => Ok(Parents::Anywhere),
        _ => Err(ImageError::Spec(format!("parents={value} is none of folder, anywhere"))),
    }
}

/// Splits at single commas; a double one stands for itself.
fn split_commas(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != ',' {
            parts.last_mut().expect("never empty").push(c);
        } else if chars.next_if_eq(&',').is_some() {
            parts.last_mut().expect("never empty").push(',');
        } else {
            parts.push(String::new());
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_follow_the_path() {
        let spec = ImageSpec::parse("a,,b.img,mode=write,size=1440K").unwrap();
        assert_eq!(
            spec,
            ImageSpec { path: "a,b.img".into(), mode: Mode::Write, size: Some(1_474_560), ..ImageSpec::default() }
        );
        assert_eq!(ImageSpec::parse("x.img").unwrap(), ImageSpec::new("x.img"));
    }

    #[test]
    fn mistakes_are_explained() {
        let text = |s: &str| ImageSpec::parse(s).unwrap_err().to_string();
        assert!(text("x.img,mod=write").contains("did you mean `mode`"));
        assert!(text("x.img,mode=wite").contains("did you mean `write`"));
        assert!(text(",mode=write").contains("names no file"));
        assert!(text("x.img,size=huge").contains("size=huge"));
        for bad in ["80/2", "0/2/9", "85/2/9", "80/3/9", "80/2/64", "80x2x9"] {
            assert!(text(&format!("x.img,geometry={bad}")).contains("80/2/18"), "{bad}");
        }
        let geometry = ImageSpec::parse("x.img,geometry=77/2/8").unwrap().geometry.unwrap();
        assert_eq!((geometry.cylinders, geometry.heads, geometry.sectors), (77, 2, 8));
    }
}
