//! Texts come from strangers: what could steer a terminal is shown, not sent.

use std::fmt::{self, Write as _};

/// Shows at most this many characters of a text in a tree of spans.
const MAX_SHOWN: usize = 200;

/// A text with control characters and those that change the direction of writing escaped, cut with `…`.
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.0, MAX_SHOWN)
    }
}

/// The same of a whole text.
pub(crate) fn printable(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    // Writing to memory does not fail.
    let _ = write(&mut escaped, text, usize::MAX);
    escaped
}

/// JSON with the control characters escaped that its encoder leaves as they are (U+007F to U+009F). In JSON they can
/// only stand inside of strings.
pub(crate) fn json(text: String) -> String {
    let is_left = |character: char| ('\u{7f}'..='\u{9f}').contains(&character);
    if !text.contains(is_left) {
        return text;
    }
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if is_left(character) {
            // Writing to memory does not fail.
            let _ = write!(escaped, "\\u{:04x}", u32::from(character));
        } else {
            escaped.push(character);
        }
    }
    escaped
}

fn write(to: &mut impl fmt::Write, text: &str, at_most: usize) -> fmt::Result {
    let mut characters = text.chars();
    for character in characters.by_ref().take(at_most) {
        if is_unsafe(character) {
            write!(to, "{}", character.escape_unicode())?;
        } else {
            to.write_char(character)?;
        }
    }
    if characters.next().is_some() { to.write_char('…') } else { Ok(()) }
}

/// Control characters, and the invisible ones that separate lines, or reorder or join what stands around them.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}
