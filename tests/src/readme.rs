//! What programs write into README.md, between the marks `<!-- NAME -->` and `<!-- /NAME -->`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cache::FileError;

/// What is there now under a name.
pub fn shown(name: &str) -> Result<String, ReadmeError> {
    parts(&read()?, name).map(|(_, inner, _)| inner.to_owned())
}

/// Puts a text there in place of what was under a name.
pub fn show(name: &str, text: &str) -> Result<(), ReadmeError> {
    let old = read()?;
    let (before, _, after) = parts(&old, name)?;
    Ok(fs::write(path(), format!("{before}{text}{after}")).map_err(FileError::at(&path()))?)
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")
}

fn read() -> Result<String, FileError> {
    fs::read_to_string(path()).map_err(FileError::at(&path()))
}

/// What stands up to the first mark, between them, and from the second on.
fn parts<'a>(text: &'a str, name: &str) -> Result<(&'a str, &'a str, &'a str), ReadmeError> {
    let (first, last) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let found = || {
        let start = text.find(&first)? + first.len();
        let end = start + text.get(start..)?.find(&last)?;
        Some((text.get(..start)?, text.get(start..end)?, text.get(end..)?))
    };
    found().ok_or_else(|| ReadmeError::NoPlace(name.to_owned()))
}

/// Why it could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ReadmeError {
    /// The file failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// It lacks the marks.
    #[error("README.md has no place for {0}")]
    NoPlace(String),
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn a_place_is_what_stands_between_its_own_marks() {
        let text = "a\n<!-- x -->\nold\n<!-- /x -->\nb\n<!-- y -->\n<!-- /y -->\n";
        assert_eq!(
            parts(text, "x").unwrap(),
            ("a\n<!-- x -->\n", "old\n", "<!-- /x -->\nb\n<!-- y -->\n<!-- /y -->\n")
        );
        assert_eq!(parts(text, "y").unwrap().1, "");
        assert!(parts(text, "z").is_err());
    }
}
