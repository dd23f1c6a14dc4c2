//! What may be in an output that somebody reads in a terminal.

use serde_json::Value as Json;

/// Fails where the bytes are no text, or hold what steers a terminal or turns the direction of writing.
pub(crate) fn assert_clean(what: &str, bytes: &[u8]) {
    let text = str::from_utf8(bytes);
    assert!(text.is_ok(), "{what} is no text");
    for line in text.unwrap().split('\n') {
        let found = line.chars().find(|character| steers(*character));
        assert!(found.is_none(), "{what}: {found:?} in {line:?}");
    }
}

fn steers(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Fails unless it is JSON.
pub(crate) fn assert_json(bytes: &[u8]) {
    let parsed: Result<Json, _> = serde_json::from_slice(bytes);
    assert!(parsed.is_ok(), "{parsed:?}: {}", String::from_utf8_lossy(bytes));
}

/// Fails unless each line is.
pub(crate) fn assert_json_lines(bytes: &[u8]) {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let count = lines.inspect(|line| assert_json(line)).count();
    assert!(count > 0, "there is nothing");
}
