//! The texts that name things in HTTP: request targets, hosts, peers and routes.

use bumpalo::Bump;
use bumpalo::collections::String as ArenaString;

/// What a request target says (RFC 9112, section 3.2).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// `http` or `https`, of an absolute-form target.
    pub(super) scheme: Option<&'static str>,
    /// Host and port, of the absolute form and the authority form.
    pub(super) authority: Option<&'a str>,
    /// The path as sent, not decoded; empty for the authority form, which has none.
    pub(super) path: &'a str,
    /// The query without `?`; `None` if there is no `?`.
    pub(super) query: Option<&'a str>,
}

impl<'a> Target<'a> {
    /// Splits a request target; only `CONNECT` has the authority form.
    pub(super) fn parse(target: &'a str, method: &str) -> Self {
        // Go takes a CONNECT target that starts with a slash for a path (net/rpc sends such; net/http.readRequest).
        if method == "CONNECT" && !target.starts_with('/') {
            return Self { scheme: None, authority: Some(target), path: "", query: None };
        }
        let (rest, query) = match target.split_once('?') {
            Some((rest, query)) => (rest, Some(query)),
            None => (target, None),
        };
        // A path may hold `://` too: only what cannot be a path is a URL.
        if !rest.starts_with('/')
            && let Some((scheme, rest)) = rest.split_once("://")
        {
            let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
            let known = ["http", "https"].into_iter().find(|known| scheme.eq_ignore_ascii_case(known));
            return Self {
                scheme: known,
                // Credentials are no part of the server's name.
                authority: Some(authority.rsplit('@').next().unwrap_or(authority)),
                // The two are equivalent (RFC 9110, section 4.2.3), and the second is a path.
                path: if path.is_empty() { "/" } else { path },
                query,
            };
        }
        Self { scheme: None, authority: None, path: rest, query }
    }
}

/// Splits `host`, `host:port`, `[v6%zone]:port`; brackets and zone, which means something on one host alone, are left
/// out. What follows the last colon and is no port is dropped, unless the whole is a bare IPv6 address.
pub(super) fn host_and_port(text: &str) -> (&str, Option<u16>) {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']').unwrap_or((rest, ""));
        let host = host.split_once('%').map_or(host, |(address, _)| address);
        return (host, after.strip_prefix(':').and_then(port));
    }
    match text.split_once(':') {
        Some((_, rest)) if rest.contains(':') => (text, None),
        Some((host, digits)) => (host, port(digits)),
        None => (text, None),
    }
}

/// The route of a pattern as registered, `[METHOD ][HOST]/[PATH]` (net/http/pattern.go), without method and host.
/// Wildcards and `{$}` stay as they are. `None` for what is no such pattern. The patterns of other routers are paths, whose
/// regular expressions may have spaces.
pub(super) fn route(pattern: &str) -> Option<&str> {
    if pattern.starts_with('/') {
        return Some(pattern);
    }
    let rest =
        pattern.split_once([' ', '\t']).map_or(pattern, |(_, rest)| rest.trim_start_matches([' ', '\t']));
    rest.find('/').and_then(|slash| rest.get(slash..))
}

/// Replaces the values of the parameters that the conventions call sensitive with `REDACTED`.
pub(super) fn redacted<'a>(query: &str, arena: &'a Bump) -> &'a str {
    let mut redacted = ArenaString::with_capacity_in(query.len(), arena);
    for (index, parameter) in query.split('&').enumerate() {
        if index > 0 {
            redacted.push('&');
        }
        match parameter.split_once('=') {
            Some((key, _)) if SENSITIVE.contains(&key) => {
                redacted.push_str(key);
                redacted.push_str("=REDACTED");
            }
            _ => redacted.push_str(parameter),
        }
    }
    redacted.into_bump_str()
}

/// Semantic conventions 1.44 and the two that later texts add; compared by case, as they say.
const SENSITIVE: [&str; 7] = [
    "X-Amz-Signature",
    "X-Amz-Credential",
    "X-Amz-Security-Token",
    "AWSAccessKeyId",
    "Signature",
    "sig",
    "X-Goog-Signature",
];

/// Decimal digits alone: the standard parser would take a plus sign. 0 is no port.
fn port(digits: &str) -> Option<u16> {
    let digits = Some(digits).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok().filter(|port| *port != 0)
}
