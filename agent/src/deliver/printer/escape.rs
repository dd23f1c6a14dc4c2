//! Texts come from strangers: what could steer a terminal is shown, not sent.

use std::fmt::{self, Write as _};

/// Shows at most this many characters of a text on the terminal.
const MAX_SHOWN: usize = 200;

/// A text with control characters and those that change the direction of writing escaped, cut with `…`.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut characters = self.0.chars();
        for character in characters.by_ref().take(MAX_SHOWN) {
            if is_unsafe(character) {
                write!(f, "{}", character.escape_unicode())?;
            } else {
                f.write_char(character)?;
            }
        }
        if characters.next().is_some() { f.write_char('…') } else { Ok(()) }
    }
}

/// JSON with the control characters escaped that its encoder leaves as they are (U+007F to U+009F). In JSON they can
/// only stand inside of strings.
pub(super) fn json(text: String) -> String {
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

/// Control characters, and the invisible ones that separate lines, or reorder or join what stands around them.
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}
