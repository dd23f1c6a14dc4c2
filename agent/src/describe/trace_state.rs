//! `tracestate` as W3C Trace Context Level 2 has it (3.3.1).

use bumpalo::Bump;
use bumpalo::collections::String as ArenaString;

/// Members of a list that are kept.
const MAX_MEMBERS: usize = 32;
/// The most bytes of a key, and of a value.
const MAX_LENGTH: usize = 256;

/// The list without spaces around its members and without empty ones; `None` if it is malformed.
pub(super) fn normal<'a>(list: &str, arena: &'a Bump) -> Option<&'a str> {
    let mut normal = ArenaString::with_capacity_in(list.len(), arena);
    let members = list.split(',').take(MAX_MEMBERS).map(|member| member.trim_matches([' ', '\t']));
    for member in members.filter(|member| !member.is_empty()) {
        let (key, value) = member.split_once('=')?;
        if !is_key(key) || !is_value(value) {
            return None;
        }
        if !normal.is_empty() {
            normal.push(',');
        }
        normal.push_str(member);
    }
    Some(normal.into_bump_str())
}

fn is_key(key: &str) -> bool {
    let is_first = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    key.len() <= MAX_LENGTH
        && key.bytes().next().is_some_and(is_first)
        && key.bytes().all(|byte| is_first(byte) || b"_-*/@".contains(&byte))
}

fn is_value(value: &str) -> bool {
    (1..=MAX_LENGTH).contains(&value.len())
        && value.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_valid_is_kept_without_spaces_and_all_else_is_discarded() {
        let (long, too_long) = ("x".repeat(MAX_LENGTH), "x".repeat(MAX_LENGTH + 1));
        let kept = [
            ("", ""),
            (" , ,", ""),
            ("a=1", "a=1"),
            ("a=1,vendor@sys=x y", "a=1,vendor@sys=x y"),
            (" a=1 ,,\tb=2", "a=1,b=2"),
            ("0a_-*/@=~!", "0a_-*/@=~!"),
            (&format!("{long}={long}"), &format!("{long}={long}")),
        ];
        for (list, normal_list) in kept {
            assert_eq!(normal(list, &Bump::new()), Some(normal_list), "{list:?}");
        }
        let malformed = [
            "A=1",
            "a=1,b",
            "=1",
            "a=",
            "a=b=c",
            "@a=1",
            "a b=1",
            "a=\u{7f}",
            "a=\u{fc}",
            &format!("{too_long}=1"),
            &format!("a={too_long}"),
        ];
        for list in malformed {
            assert_eq!(normal(list, &Bump::new()), None, "{list:?}");
        }
        let many = "a=1,".repeat(MAX_MEMBERS + 1);
        assert_eq!(normal(&many, &Bump::new()).map(|kept| kept.matches('=').count()), Some(MAX_MEMBERS));
    }
}
