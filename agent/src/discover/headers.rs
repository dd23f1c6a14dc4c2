//! The headers of served requests that rules may ask for.

use lightfoot_probes_abi::limits::{HEADER_NAME, WANTED_NAMES};

/// At most so many headers of a rule; the programs compare two more, which tell of proxies.
pub const MAX_HEADERS: usize = WANTED_NAMES - FORWARDED.len();
/// The headers in which proxies write whom they have forwarded a request for, as Go spells them.
pub const FORWARDED: [&str; 2] = ["Forwarded", "X-Forwarded-For"];
/// Headers that let whoever has them act as somebody else.
const SECRETS: &[&str] = &["authorization", "cookie", "proxy-authorization", "set-cookie"];
/// Headers that are no longer among the others when a handler gets them (`readRequest`, net/http/request.go; `readTransfer`,
/// net/http/transfer.go).
const TAKEN_OUT: &[&str] = &["host", "trailer", "transfer-encoding"];

/// The name of a header as Go spells it, `X-Request-Id`, if its values may be recorded.
pub fn header(name: &str) -> Result<String, String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err("is no name of a header, such as X-Request-Id".to_owned());
    }
    if name.len() > HEADER_NAME {
        return Err(format!("is longer than {HEADER_NAME} bytes"));
    }
    let is_among = |names: &[&str]| names.iter().any(|of| name.eq_ignore_ascii_case(of));
    if is_among(SECRETS) {
        return Err("is a secret of whoever sends it, and never recorded".to_owned());
    }
    if is_among(TAKEN_OUT) {
        return Err("is no header that is found: net/http takes it out of the others".to_owned());
    }
    let mut is_first = true;
    let spelled = name.chars().map(|letter| {
        let spelled = if is_first { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() };
        is_first = letter == '-';
        spelled
    });
    Ok(spelled.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spelled_as_go_does() {
        for (name, spelled) in [
            ("x-request-ID", "X-Request-Id"),
            ("TE", "Te"),
            ("a--b-", "A--B-"),
            ("x_y.z!", "X_y.z!"),
            ("1a-2b", "1a-2b"),
        ] {
            assert_eq!(header(name).as_deref(), Ok(spelled));
        }
        assert!(header(&"x".repeat(HEADER_NAME)).is_ok());
        assert!(header(&"x".repeat(HEADER_NAME + 1)).is_err());
        for name in ["", "a b", "a:", "ä", "Authorization", "set-COOKIE", "Host"] {
            assert!(header(name).is_err(), "{name}");
        }
        assert!(FORWARDED.iter().all(|name| header(name).as_deref() == Ok(*name)));
    }
}
