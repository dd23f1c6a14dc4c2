//! What a client's span says.

use lightfoot_probes_abi::process::process_flags;
use lightfoot_probes_abi::record::http_flags::{DECODED_PATH, OPAQUE, TLS, USER_INFO};
use lightfoot_probes_abi::record::{MISSING_FIELDS, ParentRule};
use lightfoot_probes_abi::{Counter, Text};
use lightfoot_tests::go::VERSIONS;
use lightfoot_tests::probes::HttpSpan;

use crate::watch::Options;
use crate::{Watched, alone, usual_go};

/// What is expected of a request; by default a GET that was answered over HTTP/1.1.
#[derive(Clone, Debug)]
struct Expected<'a> {
    method: &'a str,
    scheme: &'a str,
    host: &'a str,
    target: &'a str,
    flags: u16,
    status: u16,
    protocol: (u8, u8),
    size: i64,
    error: &'a str,
    error_text: &'a str,
}

const GET: Expected<'_> = Expected {
    method: "GET",
    scheme: "",
    host: "",
    target: "/",
    flags: DECODED_PATH,
    status: 200,
    protocol: (1, 1),
    size: 5,
    error: "",
    error_text: "",
};
const FAILED: Expected<'_> = Expected { status: 0, protocol: (0, 0), size: 0, ..GET };

fn assert_equal(span: &HttpSpan, expected: &Expected<'_>, watched: &Watched) {
    let http = &span.fixed;
    assert!(span.is_client());
    assert_eq!(span.method(), expected.method, "{expected:?}");
    assert_eq!(span.text(Text::Scheme), expected.scheme, "{expected:?}");
    assert_eq!(span.text(Text::Host), expected.host, "{expected:?}");
    assert_eq!(span.path(), expected.target, "{expected:?}");
    assert_eq!(http.flags, expected.flags, "{expected:?}");
    assert_eq!((http.status, http.size), (expected.status, expected.size), "{expected:?}");
    assert_eq!((http.protocol_major, http.protocol_minor), expected.protocol, "{expected:?}");
    let error = if expected.error.is_empty() { 0 } else { watched.facts.descriptor(expected.error) };
    assert_eq!(http.error_type_or_stream, error, "{expected:?}");
    assert_eq!(span.text(Text::Error), expected.error_text, "{expected:?}");
    assert_eq!((http.header.cut, http.header.missing), (0, 0), "{expected:?}");
    assert_eq!((span.rule(), http.header.parent_span_id), (ParentRule::Root, 0), "{expected:?}");
    assert_eq!(http.header.trace_flags, 1, "{expected:?}");
}

/// All there is, in each version, where it can be loaded anywhere as well.
#[test]
fn every_kind_of_request_in_every_go() {
    let _alone = alone();
    let everywhere = VERSIONS.into_iter().map(|version| (version, false));
    for (version, position_independent) in everywhere.chain([(usual_go(), true)]) {
        let options = Options::default();
        let Some(mut watched) = Watched::new(options, version, position_independent) else { return };
        watched.attach_clients();
        every_kind_of_request(&mut watched);
    }
}

#[test]
fn older_ways_to_attach() {
    let _alone = alone();
    for program in ["on_site", "on_site_by_address"] {
        let Some(mut watched) = Watched::clients(Options { program, ..Options::default() }) else { continue };
        every_kind_of_request(&mut watched);
    }
}

fn every_kind_of_request(watched: &mut Watched) {
    let origin = watched.origin.clone();
    let host = origin.strip_prefix("http://").unwrap();
    let (secure, secure2) = (watched.target.ask("secure"), watched.target.ask("secure2"));
    let refused = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    let plain = Expected { host, ..GET };
    let failed = Expected { host, ..FAILED };
    let table = [
        (format!("send GET {origin}/plain?q=secret#fragment"), Expected { target: "/plain", ..plain }),
        (format!("send PATCH {origin}"), Expected { method: "PATCH", target: "", ..plain }),
        ("no-method".to_owned(), Expected { method: "", target: "/no-method", ..plain }),
        (format!("send GET {origin}/a%20b/%C3%BC"), Expected { target: "/a b/ü", ..plain }),
        (format!("send GET {origin}/a%2Fb"), Expected { target: "/a%2Fb", flags: 0, ..plain }),
        (
            format!("opaque //{host}/x%2fy"),
            Expected { target: &format!("//{host}/x%2fy"), flags: OPAQUE, ..plain },
        ),
        (
            format!("send GET http://user:secret@{host}/x"),
            Expected { target: "/x", flags: DECODED_PATH | USER_INFO, ..plain },
        ),
        (format!("send GET {origin}/x?status=404"), Expected { target: "/x", status: 404, ..plain }),
        (
            format!("send HEAD {origin}/x?chunked"),
            Expected { method: "HEAD", target: "/x", size: -1, ..plain },
        ),
        (
            format!("send GET {secure}/x"),
            Expected {
                host: secure.strip_prefix("https://").unwrap(),
                target: "/x",
                flags: DECODED_PATH | TLS,
                ..GET
            },
        ),
        (
            format!("send GET {secure2}/x"),
            Expected {
                host: secure2.strip_prefix("https://").unwrap(),
                target: "/x",
                flags: DECODED_PATH | TLS,
                protocol: (2, 0),
                ..GET
            },
        ),
        // Schemes of four letters, of five, of others.
        (
            "send GET test://a/x".to_owned(),
            Expected {
                scheme: "test",
                host: "a",
                target: "/x",
                status: 299,
                protocol: (3, 0),
                size: 77,
                ..GET
            },
        ),
        (
            "send GET tests://a/x".to_owned(),
            Expected {
                scheme: "tests",
                host: "a",
                target: "/x",
                status: 299,
                protocol: (3, 0),
                size: 77,
                ..GET
            },
        ),
        (
            "send GET longer://a/x".to_owned(),
            Expected {
                scheme: "longer",
                host: "a",
                target: "/x",
                status: 299,
                protocol: (3, 0),
                size: 77,
                ..GET
            },
        ),
        // What goes wrong.
        (
            format!("send GET http://{refused}/x"),
            Expected { host: &refused, target: "/x", error: "*net.OpError", ..FAILED },
        ),
        (
            "cancelled".to_owned(),
            Expected {
                target: "/cancelled",
                error: "*errors.errorString",
                error_text: "context canceled",
                ..failed
            },
        ),
        ("late".to_owned(), Expected { target: "/late", error: "context.deadlineExceededError", ..failed }),
        (
            format!("send GET https://{host}/x"),
            Expected {
                target: "/x",
                flags: DECODED_PATH | TLS,
                error: "crypto/tls.RecordHeaderError",
                ..failed
            },
        ),
        (
            format!("send POST {origin}/x?reset"),
            Expected {
                method: "POST",
                target: "/x",
                error: "*errors.errorString",
                error_text: "EOF",
                ..failed
            },
        ),
        (
            "send GET test://code/x".to_owned(),
            Expected { scheme: "test", host: "code", target: "/x", error: "main.codeError", ..FAILED },
        ),
        (
            "send GET test://both/x".to_owned(),
            Expected {
                scheme: "test",
                host: "both",
                target: "/x",
                error: "*errors.errorString",
                error_text: "both",
                ..FAILED
            },
        ),
    ];
    for (command, expected) in &table {
        let span = watched.span(command);
        assert_equal(&span, expected, watched);
    }
    let number = table.len() as u64;
    watched.assert_counts(&[(Counter::Started, number), (Counter::Ended, number)]);
}

#[test]
fn redirects_are_requests_of_their_own() {
    let _alone = alone();
    let Some(mut watched) = Watched::clients(Options::default()) else { return };
    let command = format!("send GET {}/hop/4", watched.origin);
    let spans = watched.spans(5, &[&command]);
    for (number, span) in (0..).zip(&spans) {
        assert_eq!(span.path(), format!("/hop/{}", 4 - number));
        assert_eq!(
            (span.fixed.resend_count, span.fixed.status),
            (number, if number == 4 { 200 } else { 302 })
        );
    }
    watched.assert_counts(&[(Counter::Started, 5), (Counter::Ended, 5)]);
}

#[test]
fn queries_are_copied_if_asked_for() {
    let _alone = alone();
    let Some(mut watched) = Watched::clients(Options::default()) else { return };
    watched.set_flags(process_flags::QUERIES);
    let origin = watched.origin.clone();
    let span = watched.span(&format!("send GET {origin}/x?a=1&b=%20"));
    assert_eq!((span.target(), span.path()), ("/x?a=1&b=%20", "/x"));
    let span = watched.span(&format!("send GET {origin}/x"));
    assert_eq!((span.target(), span.path()), ("/x", "/x"));
}

#[test]
fn long_strings_are_cut_and_flagged() {
    let _alone = alone();
    let Some(mut watched) = Watched::clients(Options::default()) else { return };
    watched.set_flags(process_flags::QUERIES);
    let (method, host, path) = ("M".repeat(2000), "h".repeat(300), format!("/{}", "p".repeat(2000)));
    let cut = |text: Text| 1 << text as u16;

    let span = watched.span(&format!("send GET test://{host}{path}?query"));
    assert_eq!(span.text(Text::Host), &host[..Text::Host.limit()]);
    assert_eq!(span.target(), &path[..Text::RequestLine.limit() - 4]);
    assert_eq!(span.path(), span.target(), "no room for the query");
    assert_eq!(span.text(Text::Scheme), "test");
    assert_eq!(span.fixed.header.cut, cut(Text::Host) | cut(Text::RequestLine));

    let span = watched.span(&format!("send {method} test://a/x"));
    assert_eq!((span.method(), span.target()), (&method[..Text::RequestLine.limit()], ""));
    assert_eq!(span.fixed.header.cut, cut(Text::RequestLine));

    // Exactly as much as there is room for.
    let fits = &path[..Text::RequestLine.limit() - 4];
    let span = watched.span(&format!("send GET test://a{fits}"));
    assert_eq!((span.target(), span.fixed.header.cut), (fits, 0));

    let span = watched.span("send GET test://text.500/x");
    assert_eq!(span.text(Text::Error), "e".repeat(Text::Error.limit()));
    assert_eq!(span.fixed.header.cut, cut(Text::Error));

    assert_eq!(watched.watch.counter(Counter::CutString), 4);
}

#[test]
fn what_is_not_there_is_said_to_be_missing() {
    let _alone = alone();
    let Some(mut watched) = Watched::clients(Options::default()) else { return };
    // The transport refuses a request without a URL.
    let span = watched.span("no-url");
    assert_eq!(
        span.fixed.header.missing,
        1 << Text::Host as u16 | 1 << Text::RequestLine as u16 | 1 << Text::Scheme as u16
    );
    assert_eq!(span.text(Text::Error), "http: nil Request.URL");
    // A transport may return neither a response nor an error.
    let span = watched.span("send GET test://nothing/x");
    assert_eq!(
        (span.fixed.header.missing, span.fixed.status, span.fixed.error_type_or_stream),
        (MISSING_FIELDS, 0, 0)
    );
    watched.assert_counts(&[
        (Counter::Started, 2),
        (Counter::Ended, 2),
        (Counter::ReadFault, 1),
        (Counter::Unexpected, 1),
    ]);
}
