//! Whether the answers of two runs are equal, byte by byte, but for what `docs/foreign.md` lists.

use std::collections::BTreeSet;

use lightfoot_tests::live::watched::documented;

use crate::driver::Answer;

/// What differs from run to run without anybody watching.
pub(crate) struct Masks {
    masks: Vec<Mask>,
    used: BTreeSet<usize>,
}

/// A row of the table.
struct Mask {
    name: String,
    /// `header`; `member`, a scalar of JSON; `element` of XML; `body`, all that is answered to a target that begins so.
    kind: String,
}

impl Masks {
    /// Those of a service.
    pub(crate) fn of(service: &str) -> Self {
        let rows = documented("foreign.md").unwrap();
        let of_service = |row: &Vec<String>| row[2] == "all" || row[2].split(' ').any(|name| name == service);
        let masks: Vec<_> = rows
            .into_iter()
            .filter(of_service)
            .map(|row| Mask { name: row[0].clone(), kind: row[1].clone() })
            .collect();
        assert!(!masks.is_empty(), "docs/foreign.md has no masks for {service}");
        Self { masks, used: BTreeSet::new() }
    }

    /// What must be equal of the answers.
    pub(crate) fn apply(&mut self, answers: &[Answer]) -> Vec<String> {
        answers.iter().map(|answer| self.shown(answer)).collect()
    }

    /// Fails if a mask hides nothing: it would have no reason to be there.
    pub(crate) fn assert_used(&self) {
        let unused: Vec<_> = (0..self.masks.len())
            .filter(|index| !self.used.contains(index))
            .map(|index| self.masks[index].name.as_str())
            .collect();
        assert!(unused.is_empty(), "masks that hide nothing: {unused:?}");
    }

    fn shown(&mut self, answer: &Answer) -> String {
        let target = answer.to.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut shown = format!("{}\n{}\n", answer.to, answer.status);
        // Bodies that are no text are compared as they are, in Latin-1.
        let mut body: String = answer.body.iter().map(|byte| char::from(*byte)).collect();
        let mut hides_length = false;
        for (index, mask) in self.masks.iter().enumerate() {
            let masked = match mask.kind.as_str() {
                "member" => between(&body, &format!("\"{}\":", mask.name), scalar),
                "element" => between(&body, &format!("<{}>", mask.name), |rest| rest.find("</").unwrap_or(0)),
                "body" if target.starts_with(&mask.name) => "*".to_owned(),
                _ => continue,
            };
            if masked != body {
                self.used.insert(index);
                hides_length = true;
                body = masked;
            }
        }
        for (name, value) in &answer.headers {
            let is_it = |mask: &Mask| mask.kind == "header" && mask.name == *name;
            let value = match self.masks.iter().position(is_it) {
                Some(index) => {
                    self.used.insert(index);
                    "*"
                }
                None if hides_length && name == "content-length" => "*",
                None => value,
            };
            shown.extend([name, ": ", value, "\n"]);
        }
        shown + "\n" + &body
    }
}

/// The text with a star for what follows each `start`, as far as `length` says.
fn between(text: &str, start: &str, length: impl Fn(&str) -> usize) -> String {
    let mut parts = text.split(start);
    let mut masked = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        masked += start;
        masked += "*";
        masked += &part[length(part)..];
    }
    masked
}

/// The length of a JSON text, number or word, with the blanks before it; that of the opening bracket of anything else.
fn scalar(rest: &str) -> usize {
    let blanks = rest.len() - rest.trim_start().len();
    let value = &rest[blanks..];
    let end = if let Some(text) = value.strip_prefix('"') {
        let mut is_escaped = false;
        let closing = |byte: u8| {
            let closes = byte == b'"' && !is_escaped;
            is_escaped = byte == b'\\' && !is_escaped;
            closes
        };
        text.bytes().position(closing).map_or(value.len(), |at| at + 2)
    } else {
        value.find([',', '}', ']', '\n']).unwrap_or(value.len())
    };
    blanks + end
}

#[test]
fn masks_hide_what_they_name() {
    let json = r#"{"a":1,"b": "x\"y","c":[1],"d":{"a":true}}"#;
    assert_eq!(between(json, "\"a\":", scalar), r#"{"a":*,"b": "x\"y","c":[1],"d":{"a":*}}"#);
    assert_eq!(between(json, "\"b\":", scalar), r#"{"a":1,"b":*,"c":[1],"d":{"a":true}}"#);
}
