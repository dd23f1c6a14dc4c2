//! Texts come from strangers: what could steer a terminal is shown, not sent.

use std::fmt::{self, Write as _};

use serde::Serialize;

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

/// The same of a text with lines of its own.
pub(crate) fn printable_lines(text: &str) -> String {
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// JSON with those of these characters escaped that its encoder leaves as they are: all but the first 32. In JSON they can
/// only stand inside of strings.
pub(crate) fn json(text: String) -> String {
    let is_left = |character: char| character >= '\u{7f}' && is_unsafe(character);
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

/// The same of what is made into JSON for people as well, on lines of their own.
pub(crate) fn pretty_json(value: &impl Serialize) -> serde_json::Result<String> {
    serde_json::to_string_pretty(value).map(json)
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
        || matches!(character, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_escaped_and_json_says_the_same() {
        let evil = "a\x1b[2J\r\n\u{7f}\u{9b}\u{61c}\u{200e}\u{202e}\u{2066}\u{feff}é";
        let escaped = json(serde_json::json!(evil).to_string());
        let pretty = pretty_json(&[evil]).unwrap();
        let is_harmless = |text: &str| text.chars().all(|character| !is_unsafe(character));
        assert!(is_harmless(&escaped) && is_harmless(&pretty.replace('\n', "")), "{escaped} {pretty}");
        assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), evil);
        assert_eq!(serde_json::from_str::<[String; 1]>(&pretty).unwrap(), [evil]);
        let lines = printable_lines(&format!("one\n{evil}"));
        assert_eq!(
            lines.split('\n').collect::<Vec<_>>(),
            ["one", "a\\u{1b}[2J\\u{d}", &printable(&evil[7..])]
        );
        assert!(is_harmless(&printable(evil)) && printable(evil).ends_with('é'), "{}", printable(evil));
    }
}
