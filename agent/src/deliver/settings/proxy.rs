//! The HTTP proxy on the way to the endpoint, by the variables that curl and Go have.

use std::net::IpAddr;

use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

use crate::variables::Variables;

const HTTP: [&str; 2] = ["HTTP_PROXY", "http_proxy"];
const HTTPS: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
const ALL: [&str; 2] = ["ALL_PROXY", "all_proxy"];
const NO: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// The proxy for `endpoint`, if there is to be one: never for a loopback address, as in Go (x/net/http/httpproxy), for
/// behind a proxy that would be another host's.
pub(super) fn read(variables: &mut Variables<'_>, endpoint: &Uri) -> Option<Intercept> {
    if is_loopback(endpoint.host()?) {
        return None;
    }
    let own = if endpoint.scheme_str() == Some("https") { HTTPS } else { HTTP };
    let (name, proxy) = variables.first(&own).or_else(|| variables.first(&ALL))?;
    let not_for = exceptions(&variables.first(&NO).map(|(_, list)| list).unwrap_or_default(), endpoint)?;
    let rules = |proxy: String| Matcher::builder().all(proxy).no(not_for.clone()).build().intercept(endpoint);
    // Whether there is to be none is found with one that is good for sure.
    rules("http://proxy".to_owned())?;
    let is_http = proxy.split_once("://").is_none_or(|(scheme, _)| scheme.eq_ignore_ascii_case("http"));
    match rules(proxy) {
        Some(proxy) if is_http => Some(proxy),
        _ => {
            // A password may be in it.
            variables.refuse(name, "is no http:// URL of a proxy, which is the one kind that is spoken to");
            None
        }
    }
}

/// `NO_PROXY` as the matcher understands it: entries without ports, of those ports that are the endpoint's. `None` if the
/// list is for all, which the matcher takes for all names.
fn exceptions(list: &str, endpoint: &Uri) -> Option<String> {
    let port = endpoint.port_u16().unwrap_or(if endpoint.scheme_str() == Some("https") { 443 } else { 80 });
    let entry = |entry: &str| match entry.rsplit_once(':') {
        // What has more colons is an IPv6 address, unless it is in brackets.
        Some((host, of)) if host.ends_with(']') || !host.contains(':') => {
            (of.parse() == Ok(port)).then(|| host.trim_matches(['[', ']']).to_owned())
        }
        _ => Some(entry.trim_matches(['[', ']']).to_owned()),
    };
    let entries: Vec<_> = list.split(',').filter_map(|text| entry(text.trim())).collect();
    (!entries.iter().any(|entry| entry == "*")).then(|| entries.join(","))
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}
