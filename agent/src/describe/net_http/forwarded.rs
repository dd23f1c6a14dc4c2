//! Whom a request was forwarded for, by what proxies have written into it: `Forwarded` (RFC 7239) and `X-Forwarded-For`.
//!
//! Anybody can send these. Nothing but an address is taken from them.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::record::{HttpServer, RequestHeader};

/// Whom the first proxy has forwarded the request for: the first `for=` of `Forwarded`, else the left-most of `X-Forwarded-For`, if that
/// is an address; not what is `unknown`, hidden behind a name, or cut.
pub(super) fn client<'a>(request: &HttpServer<'a>) -> Option<&'a str> {
    let first = |name: &str| {
        let header: &RequestHeader<'a> = request.headers.iter().find(|header| header.name == name)?;
        let value = header.values.first()?;
        Some((*value, header.is_cut && header.values.len() == 1))
    };
    let of_forwarded = || first("forwarded").and_then(|(value, is_cut)| forwarded(value, is_cut));
    let of_list = || first("x-forwarded-for").and_then(|(value, is_cut)| leftmost(value, is_cut));
    of_forwarded().or_else(of_list)
}

/// The address in the first element of a `Forwarded`.
fn forwarded(value: &str, may_go_on: bool) -> Option<&str> {
    let mut rest = value.trim_start_matches([' ', '\t', ',']);
    loop {
        let (name, behind) = rest.split_once('=')?;
        let name = name.trim_matches([' ', '\t']);
        if name.contains([',', ';', '"']) {
            return None;
        }
        let (node, behind) = match behind.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => split_before(behind, [',', ';', ' ', '\t']),
        };
        if name.eq_ignore_ascii_case("for") {
            return if may_go_on && behind.is_empty() { None } else { address(node) };
        }
        rest = behind.trim_start_matches([' ', '\t']).strip_prefix(';')?;
    }
}

/// The first address of an `X-Forwarded-For`.
fn leftmost(value: &str, may_go_on: bool) -> Option<&str> {
    let (first, behind) = split_before(value.trim_start_matches([' ', '\t', ',']), [',']);
    if may_go_on && behind.is_empty() { None } else { address(first.trim_matches([' ', '\t'])) }
}

fn split_before<const N: usize>(text: &str, ends: [char; N]) -> (&str, &str) {
    text.find(ends).and_then(|end| text.split_at_checked(end)).unwrap_or((text, ""))
}

/// The address of a node, without its port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(node: &str) -> Option<&str> {
    let is_v6 = |text: &str| text.parse::<Ipv6Addr>().is_ok();
    if let Some(behind) = node.strip_prefix('[') {
        let (inner, port) = behind.split_once(']')?;
        return Some(inner).filter(|inner| is_v6(inner) && (port.is_empty() || port.starts_with(':')));
    }
    if is_v6(node) {
        return Some(node);
    }
    let host = node.split_once(':').map_or(node, |(host, _)| host);
    host.parse::<Ipv4Addr>().is_ok().then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_for_of_forwarded() {
        let cases = [
            ("for=192.0.2.60;proto=http;by=203.0.113.43", Some("192.0.2.60")),
            ("for=192.0.2.43, for=198.51.100.17", Some("192.0.2.43")),
            ("For=\"[2001:db8:cafe::17]:4711\"", Some("2001:db8:cafe::17")),
            ("for=\"[2001:db8:cafe::17]\";proto=https", Some("2001:db8:cafe::17")),
            ("for=\"192.0.2.43:47011\"", Some("192.0.2.43")),
            ("proto=https; FOR=192.0.2.1", Some("192.0.2.1")),
            ("host=\"a,b;c\";for=192.0.2.1", Some("192.0.2.1")),
            (" , for=192.0.2.1", Some("192.0.2.1")),
            ("for=unknown, for=192.0.2.1", None),
            ("for=_hidden, for=192.0.2.1", None),
            ("for=\"_gazonk\"", None),
            ("proto=http, for=192.0.2.1", None),
            ("by=203.0.113.43", None),
            ("for=[2001:db8::1]", Some("2001:db8::1")),
            ("for=\"192.0.2.1", None),
            ("for=\"\\1\\9\\2.0.2.1\"", None),
            ("for=192.0.2.1x", None),
            ("for=300.0.2.1", None),
            ("for=", None),
            ("for", None),
            ("=192.0.2.1", None),
            ("", None),
        ];
        for (value, expected) in cases {
            assert_eq!(forwarded(value, false), expected, "{value}");
        }
        assert_eq!(forwarded("for=192.0.2.1", true), None, "it may have gone on");
        assert_eq!(forwarded("for=192.0.2.1;proto=ht", true), Some("192.0.2.1"));
    }

    #[test]
    fn the_leftmost_of_x_forwarded_for() {
        let cases = [
            ("192.0.2.1", Some("192.0.2.1")),
            (" 192.0.2.1 , 198.51.100.2", Some("192.0.2.1")),
            ("192.0.2.1:4711,10.0.0.1", Some("192.0.2.1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("[2001:db8::1]:443, 10.0.0.1", Some("2001:db8::1")),
            ("::ffff:192.0.2.1", Some("::ffff:192.0.2.1")),
            (",,192.0.2.1", Some("192.0.2.1")),
            ("unknown, 192.0.2.1", None),
            ("proxy.test, 192.0.2.1", None),
            ("fe80::1%eth0", None),
            ("[2001:db8::1", None),
            ("[2001:db8::1]x", None),
            ("192.0.2", None),
            ("", None),
            (",", None),
        ];
        for (value, expected) in cases {
            assert_eq!(leftmost(value, false), expected, "{value}");
        }
        assert_eq!(leftmost("192.0.2.1", true), None, "it may have gone on");
        assert_eq!(leftmost("192.0.2.1, 10.", true), Some("192.0.2.1"));
    }

    #[test]
    fn whatever_stands_there_gives_an_address_or_nothing() {
        let parts =
            ["for", "=", "\"", "[", "]", ":", ",", ";", " ", "192.0.2.1", "::1", "\\", "_", "ü", "\0"];
        let mut state = 1_u64;
        for _ in 0..100_000 {
            let mut value = String::new();
            for _ in 0..8 {
                // Numbers of Knuth's generator are good enough.
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                value += parts[usize::try_from(state >> 33).unwrap() % parts.len()];
            }
            for found in [forwarded(&value, false), leftmost(&value, false)].into_iter().flatten() {
                assert!(found.parse::<std::net::IpAddr>().is_ok(), "{value}: {found}");
            }
        }
    }
}
