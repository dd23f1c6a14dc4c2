//! Caddy: a reverse proxy and a server of files, over HTTP/1 and HTTP/2, that is configured over HTTP.

use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::driver::Driver;
use crate::service::{Behind, Place, Service};

const PLAIN: usize = 0;
/// HTTP/2: the observer asks for it.
const TLS: usize = 1;
const ADMIN: usize = 2;

pub(crate) const CADDY: Service = Service {
    name: "caddy",
    fronts: &["http", "https", "http"],
    health: (PLAIN, "/health"),
    behind: Behind::Forwarded,
    prepare,
    drive,
    crowd: &[
        (PLAIN, "/plain/1?size=100"),
        (TLS, "/plain/2?size=20000"),
        (TLS, "/status/3?status=503"),
        (PLAIN, "/files/page.html"),
        (TLS, "/files/page.html"),
        (PLAIN, "/files/none"),
    ],
    output: &[],
    unobserved: &[(|path| path.starts_with("/refused/"), "a call that nobody answers")],
    counted: &[("ended_by_outer", "its transport only hands on what it gets")],
};

fn prepare(place: &Place, command: &mut Command) {
    place.write("files/page.html", &"<p>It is all the same.</p>\n".repeat(500));
    place.write("files/large", &"0123456789abcdef".repeat(200_000));
    let path = place.write("configuration.json", &configuration(place).to_string());
    command.args(["run", "--config", &path]);
}

fn configuration(place: &Place) -> Value {
    let route = |path: &str, handlers: Value| json!({"match": [{"path": [path]}], "handle": handlers});
    let files = json!({"handler": "file_server", "root": place.path("")});
    let routes = json!([
        route("/health", json!([{"handler": "static_response", "body": "well"}])),
        route("/moved", json!([{"handler": "static_response", "status_code": 308, "headers": {"Location": ["/plain/1"]}}])),
        route("/zipped/*", json!([
            {"handler": "encode", "encodings": {"gzip": {}}},
            {"handler": "rewrite", "strip_path_prefix": "/zipped"},
            files,
        ])),
        route("/files/*", json!([files])),
        route("/refused/*", json!([{"handler": "reverse_proxy", "upstreams": [{"dial": "127.0.0.1:1"}]}])),
        {"handle": [
            {"handler": "rewrite", "strip_path_prefix": "/behind"},
            {"handler": "reverse_proxy", "upstreams": [{"dial": place.behind.unwrap()}]},
        ]},
    ]);
    json!({
        "admin": {"listen": place.address(ADMIN)},
        "storage": {"module": "file_system", "root": place.path("storage")},
        "apps": {
            "http": {"servers": {
                "plain": {"listen": [place.address(PLAIN)], "automatic_https": {"disable": true}, "routes": routes},
                "tls": {
                    "listen": [place.address(TLS)],
                    "automatic_https": {"disable": true},
                    "tls_connection_policies": [{}],
                    "routes": routes,
                },
            }},
            "pki": {"certificate_authorities": {"local": {"install_trust": false}}},
            "tls": {
                "certificates": {"automate": ["localhost"]},
                "automation": {"policies": [{"issuers": [{"module": "internal"}]}]},
            },
        },
    })
}

fn drive(driver: &mut Driver<'_>) {
    work(driver);
    driver.get(ADMIN, "/config/apps/http/servers/plain/listen");
    driver.get(ADMIN, "/config/nothing");
    driver.ask(
        ADMIN,
        "POST /config/apps/http/servers/plain/routes/0/handle/0/body",
        "Content-Type: application/json\r\n",
        br#""very well""#,
    );
    driver.get(PLAIN, "/health");
    // Every server is started anew.
    let configuration = configuration(driver.place).to_string();
    driver.ask(
        ADMIN,
        "POST /load",
        "Content-Type: application/json\r\nCache-Control: must-revalidate\r\n",
        configuration.as_bytes(),
    );
    driver.get(ADMIN, "/reverse_proxy/upstreams");
    // By now Lightfoot has learned where calls return to: callers::CALLERS_SETTLE.
    thread::sleep(Duration::from_secs(7));
    work(driver);
}

fn work(driver: &mut Driver<'_>) {
    for front in [PLAIN, TLS] {
        for number in 0..10 {
            driver.get(front, &format!("/plain/{number}?size={}", number * 1_000));
            driver.get(front, &format!("/behind/plain/{number}"));
            driver.ask(front, &format!("POST /echo/{number}"), "", &vec![b'x'; number * 200]);
            driver.ask(front, &format!("POST /plain/{number}?size=100000"), "", &vec![b'x'; number * 20_000]);
        }
        for status in [201, 204, 302, 404, 500, 503] {
            driver.get(front, &format!("/status/{status}?status={status}"));
        }
        driver.ask(front, "HEAD /plain/1?size=100", "", b"");
        driver.ask(front, "DELETE /plain/1", "", b"");
        driver.get(front, "/plain/large?size=3000000");
        driver.ask(front, "POST /files/large", "", &vec![b'y'; 3_000_000]);
        for target in [
            "/events/1",
            "/flush/2?size=3000",
            "/hints/3",
            "/health",
            "/moved",
            "/refused/1",
            "/files/page.html",
        ] {
            driver.get(front, target);
        }
        let page = driver.get(front, "/files/large");
        let tag = page.header("etag").to_owned();
        driver.ask(front, "GET /files/large", &format!("If-None-Match: {tag}\r\n"), b"");
        driver.ask(front, "GET /files/large", "Range: bytes=100-299999\r\n", b"");
        driver.ask(front, "GET /files/large", "Range: bytes=99999999-\r\n", b"");
        driver.ask(front, "GET /zipped/files/page.html", "Accept-Encoding: gzip\r\n", b"");
        driver.get(front, "/files/none");
        driver.get(front, "/files/../configuration.json");
    }
}
