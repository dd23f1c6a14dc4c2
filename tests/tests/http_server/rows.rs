//! The table of docs/http-server.md, row by row: what it says is what spans say.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use lightfoot_tests::expected::request;
use lightfoot_tests::extent::Extent;
use lightfoot_tests::go::{Build, Mode, matrix};
use lightfoot_tests::live::{Client, Scene, Span, Truth};
use serde_json::{Value as Json, json};

/// A kind of request.
struct Row {
    /// Its name in the table.
    name: &'static str,
    /// What is sent, with LF for CR LF and `@` for the headers that all have.
    request: &'static str,
    how: How,
    /// What there is to say besides, or instead of a comparison with all that the server knows.
    besides: Besides,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Tcp,
    Unix,
    Ipv6,
    /// The server's second listener.
    Other,
    /// Not sent: the server asks itself over TLS.
    Tls,
    /// Leave while the handler runs.
    Leave,
}

enum Besides {
    /// The target is a path within the limits: all attributes follow from the server's truth.
    Nothing,
    /// The attributes that differ from those, `null` for one that must not be there.
    But(fn() -> Json),
    /// The server's handler has not seen it; these attributes must be there.
    Unseen(fn() -> Json),
}

use Besides::{But, Nothing, Unseen};

const fn row(name: &'static str, request: &'static str) -> Row {
    Row { name, request, how: How::Tcp, besides: Nothing }
}

const ROWS: &[Row] = &[
    row("plain", "GET /plain/1?size=5 HTTP/1.1\n@\n"),
    row("implicit-200", "GET /silent/1 HTTP/1.1\n@\n"),
    row("status-404", "GET /status/1?status=404 HTTP/1.1\n@\n"),
    row("status-503", "GET /status/1?status=503 HTTP/1.1\n@\n"),
    row("no-route", "GET /nowhere/1 HTTP/1.1\n@\n"),
    row("pattern", "GET /users/7 HTTP/1.1\n@\n"),
    row("pattern-with-host", "GET /by-host/ HTTP/1.1\n@\n"),
    row("panic", "GET /panic/1 HTTP/1.1\n@\n"),
    row("panic-late", "GET /panic-late/1 HTTP/1.1\n@\n"),
    row("panic-recovered", "GET /panic-recovered/1 HTTP/1.1\n@\n"),
    row("abort", "GET /abort/1 HTTP/1.1\n@\n"),
    row("goexit", "GET /exit/1 HTTP/1.1\n@\n"),
    row("hijack", "GET /hijack/1 HTTP/1.1\n@\n"),
    row("hijack-elsewhere", "GET /hijack-elsewhere/1 HTTP/1.1\n@\n"),
    row("upgrade", "GET /upgrade/1 HTTP/1.1\n@Connection: Upgrade\nUpgrade: echo\n\n"),
    row("upgrade-by-hand", "GET /upgrade-by-hand/1 HTTP/1.1\n@Connection: Upgrade\nUpgrade: echo\n\n"),
    row("upgrade-proxied", "GET /upgrade-proxied/1 HTTP/1.1\n@Connection: Upgrade\nUpgrade: echo\n\n"),
    row("server-sent-events", "GET /events/1 HTTP/1.1\n@\n"),
    row("flush", "GET /flush/1?size=10 HTTP/1.1\n@\n"),
    row("head", "HEAD /plain/1?size=100 HTTP/1.1\n@\n"),
    Row { besides: But(connect), ..row("connect", "CONNECT db.test:5432 HTTP/1.1\n@\n") },
    Row {
        besides: But(connect),
        ..row("connect-refused", "CONNECT db.test:5432 HTTP/1.1\n@X-Refuse: yes\n\n")
    },
    row("early-hints", "GET /hints/1 HTTP/1.1\n@\n"),
    row("expect-continue", "POST /echo/1 HTTP/1.1\n@Expect: 100-continue\nContent-Length: 5\n\nhello"),
    row("expect-refused", "GET /plain/1 HTTP/1.1\n@Expect: miracles\n\n"),
    row("malformed", "GET /plain/1 HTTP/1.1\n@this is no header\n\n"),
    row("odd-method", "BREW /plain/1 HTTP/1.1\n@\n"),
    row("lower-case-method", "get /plain/1 HTTP/1.1\n@\n"),
    Row {
        besides: Unseen(|| {
            json!({
                "http.request.method": "OPTIONS",
                "url.path": "*",
                "url.scheme": "http",
                "server.address": "host.test",
                "server.port": 8080,
                "client.address": "127.0.0.1",
                "network.peer.address": "127.0.0.1",
                "network.protocol.version": "1.1",
            })
        }),
        ..row("options-star", "OPTIONS * HTTP/1.1\n@\n")
    },
    Row {
        besides: But(|| json!({"url.path": "/plain/1", "server.address": "other.test", "server.port": 81})),
        ..row("absolute-target", "GET http://other.test:81/plain/1?size=1 HTTP/1.1\n@\n")
    },
    Row {
        besides: But(|| json!({"server.address": null})),
        ..row("http-1.0", "GET /plain/1 HTTP/1.0\nUser-Agent: row/http-1.0\n\n")
    },
    Row { besides: But(cut_path), ..row("long-path", "GET /plain/~8192 HTTP/1.1\n@\n") },
    Row {
        besides: But(|| {
            json!({
                "user_agent.original": format!("row/long-user-agent/{}", "h".repeat(236)),
                "lightfoot.truncated": ["user_agent.original"],
            })
        }),
        ..row(
            "long-user-agent",
            "GET /plain/1 HTTP/1.1\nHost: host.test\nUser-Agent: row/long-user-agent/~280\n\n",
        )
    },
    Row {
        besides: But(|| {
            json!({
                "server.address": "h".repeat(256),
                "server.port": null,
                "lightfoot.truncated": ["server.address"],
            })
        }),
        ..row("long-host", "GET /plain/1 HTTP/1.1\nHost: ~300:8080\nUser-Agent: row/long-host\n\n")
    },
    row(
        "pipelining",
        "GET /plain/1 HTTP/1.1\n@\nGET /plain/2?wait=5 HTTP/1.1\n@\nGET /plain/3?size=9000 HTTP/1.1\n@\n",
    ),
    Row { how: How::Leave, ..row("client-gone", "GET /plain/1?wait=50&size=10 HTTP/1.1\n@\n") },
    row("overwritten", "GET /overwritten/1?size=3 HTTP/1.1\n@X-Filler: 1\n\n"),
    row("copied", "GET /copied/1 HTTP/1.1\n@\n"),
    row("nested", "GET /nested/leaf/1 HTTP/1.1\n@\n"),
    row("nested-copied", "GET /prefix/leaf/1 HTTP/1.1\n@\n"),
    Row {
        how: How::Unix,
        besides: But(
            || json!({"client.address": null, "network.peer.address": null, "network.peer.port": null}),
        ),
        ..row("unix-socket", "GET /plain/1 HTTP/1.1\n@\n")
    },
    Row {
        how: How::Ipv6,
        ..row("ipv6", "GET /plain/1 HTTP/1.1\nHost: [::1]:8080\nUser-Agent: row/ipv6\n\n")
    },
    Row { how: How::Other, ..row("other-listener", "GET /plain/1 HTTP/1.1\n@\n") },
    Row { how: How::Tls, ..row("tls", "GET /plain/1?size=5 HTTP/1.1\n@\n") },
];

fn connect() -> Json {
    json!({"url.path": "", "server.address": "db.test", "server.port": 5432})
}

/// 1024 bytes of `GET /plain/hhh`.
fn cut_path() -> Json {
    json!({"url.path": format!("/plain/{}", "h".repeat(1024 - 11)), "lightfoot.truncated": ["url.path"]})
}

/// A row as the document has it: span name, status code, `error.type`; `None` for "no span".
type Documented = Option<(String, Option<u64>, Option<String>)>;

#[test]
fn spans_say_what_the_document_says() {
    let documented = documented();
    let names =
        |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(
        names(ROWS.iter().map(|row| row.name).collect()),
        names(documented.keys().map(String::as_str).collect()),
        "each row is tested, and each test is a row"
    );
    for &(minor, mode) in Extent::of_environment().some_of(&matrix::SERVERS) {
        let Some(scene) = Scene::set(minor, mode).unwrap() else { return };
        check(scene, &documented);
    }
}

fn check(scene: Scene, documented: &BTreeMap<String, Documented>) {
    let build = scene.build;
    scene.learn_copied_routes().unwrap();
    let has_ipv6 = scene.server.ipv6.is_some();
    if !has_ipv6 {
        println!("skipped: {build}: ipv6: this machine has none");
    }
    let rows: Vec<_> = ROWS.iter().filter(|row| has_ipv6 || row.how != How::Ipv6).collect();
    let answers: Vec<Vec<u16>> = rows.iter().map(|row| send(&scene, row)).collect();
    let wanted: usize =
        rows.iter().filter(|row| documented[row.name].is_some()).map(|row| requests(row)).sum();
    scene
        .agent
        .wait_for_spans(wanted, |span| !row_name(span.text("user_agent.original")).is_empty())
        .unwrap();
    let (truth, mut outcome) = scene.end().unwrap();
    // The server's own calls, over TLS and as a proxy, have rows in docs/http-client.md.
    outcome.spans.retain(|span| span.kind == 2);
    assert_eq!(outcome.spans.len(), wanted, "no span but those: {:#?}", outcome.spans);
    for (row, answers) in rows.into_iter().zip(answers) {
        // Shown if something fails below.
        println!("{build}: {}", row.name);
        let spans: Vec<_> = outcome
            .spans
            .iter()
            .filter(|span| row_name(span.text("user_agent.original")) == row.name)
            .collect();
        let truth: Vec<_> = truth.iter().filter(|truth| row_name(&truth.user_agent) == row.name).collect();
        let Some(said) = &documented[row.name] else {
            assert_eq!((spans.len(), truth.len()), (0, 0));
            continue;
        };
        assert_eq!(spans.len(), requests(row));
        for span in spans {
            check_documented(span, said, build);
            let truth = truth.iter().find(|truth| is_of(span, truth) || requests(row) == 1);
            check_attributes(row, span, truth.copied(), &build);
        }
        for truth in truth
            .iter()
            .filter(|truth| !truth.hijacked && !truth.panicked && !matches!(row.how, How::Leave | How::Tls))
        {
            assert!(answers.contains(&truth.status), "{answers:?} {truth:?}");
        }
    }
    // The end of a request refused for its `Expect`.
    let ends = u64::from(build.mode != Mode::ProfileGuided);
    assert_eq!(outcome.count("end_without_start"), ends, "{}", outcome.messages);
    assert_eq!(outcome.count("cut_string"), 3, "{}", outcome.messages);
    for name in ["abandoned", "read_fault", "unexpected", "spans_open_at_end", "unknown_protocol"] {
        assert_eq!(outcome.count(name), 0, "{}", outcome.messages);
    }
}

fn check_documented(
    span: &Span,
    (name, status, error): &(String, Option<u64>, Option<String>),
    build: Build,
) {
    if build.version.minor >= 22 {
        assert_eq!(&span.name, name);
    }
    assert_eq!(span.attributes.get("http.response.status_code").and_then(Json::as_u64), *status);
    assert_eq!(span.attributes.get("error.type").and_then(Json::as_str), error.as_deref());
    assert_eq!(span.status_code, if error.is_some() { 2 } else { 0 });
}

fn check_attributes(row: &Row, span: &Span, truth: Option<&Truth>, build: &Build) {
    let differences = match row.besides {
        Nothing => json!({}),
        But(differences) => differences(),
        Unseen(attributes) => {
            assert!(truth.is_none(), "{truth:?}");
            for (key, value) in attributes().as_object().unwrap() {
                assert_eq!(span.attributes.get(key), Some(value), "{key}");
            }
            return;
        }
    };
    let mut wanted = request::attributes(truth.unwrap(), build.version);
    for (key, value) in differences.as_object().unwrap() {
        match value {
            Json::Null => wanted.remove(key),
            value => wanted.insert(key.clone(), value.clone()),
        };
    }
    assert_eq!(span.attributes, wanted, "{truth:?}");
}

/// Sends the row's requests and returns the statuses of the answers.
fn send(scene: &Scene, row: &Row) -> Vec<u16> {
    let mut client = match row.how {
        How::Unix => Client::unix(scene.server.socket()),
        How::Tcp | How::Leave => scene.client(),
        How::Other => Client::tcp(scene.server.other),
        How::Ipv6 => Client::tcp(scene.server.ipv6.unwrap()),
        How::Tls => {
            scene.server.over_tls();
            return Vec::new();
        }
    };
    let mut text = row
        .request
        .replace('@', &format!("Host: host.test:8080\nUser-Agent: row/{}\n", row.name))
        .replace('\n', "\r\n");
    if row.name == "pattern-with-host" {
        text = text.replace("host.test:8080", "host.test");
    }
    // `~8192` stands for as many bytes.
    if let Some((before, after)) = text.clone().split_once('~') {
        let digits = after.find(|letter: char| !letter.is_ascii_digit()).unwrap();
        text = format!("{before}{}{}", "h".repeat(after[..digits].parse().unwrap()), &after[digits..]);
    }
    client.send(text.as_bytes()).unwrap();
    if row.how == How::Leave {
        return Vec::new();
    }
    let is_head = text.starts_with("HEAD ");
    (0..requests(row)).filter_map(|_| Some(client.receive(is_head).unwrap()?.status)).collect()
}

/// How many requests a row sends.
fn requests(row: &Row) -> usize {
    row.request.matches(" HTTP/1.").count()
}

fn row_name(user_agent: &str) -> &str {
    user_agent.strip_prefix("row/").and_then(|rest| rest.split('/').next()).unwrap_or_default()
}

fn is_of(span: &Span, truth: &Truth) -> bool {
    truth.target.split('?').next() == Some(span.text("url.path"))
}

fn documented() -> BTreeMap<String, Documented> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/http-server.md");
    let text = fs::read_to_string(path).unwrap();
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<_> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let [_, name, _, span, status, error, _] = cells[..] else { return None };
        if !line.starts_with("| `") {
            return None;
        }
        let optional = |cell: &str| Some(cell.to_owned()).filter(|cell| cell != "none");
        let status = optional(status).map(|status| status.parse().unwrap_or_default());
        let said = (span != "no span").then(|| (span.to_owned(), status, optional(error)));
        Some((name.to_owned(), said))
    });
    rows.collect()
}
