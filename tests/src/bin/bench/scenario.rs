//! What is asked of the service, and who traces it.

use serde::{Deserialize, Serialize};

/// Who traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Way {
    /// Nobody.
    Nothing,
    /// An agent, but other processes of the same file: the traps alone.
    Traps,
    /// The agent.
    Lightfoot,
    /// Another build of the agent.
    Other,
    /// The service itself, by otelhttp and the Go SDK.
    Otelhttp,
}

impl Way {
    /// As the tables call it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Traps => "traps alone",
            Self::Lightfoot => "Lightfoot",
            Self::Other => "other build",
            Self::Otelhttp => "otelhttp, Go SDK",
        }
    }

    /// Whether an agent watches it.
    pub(crate) fn is_watched(self) -> bool {
        matches!(self, Self::Lightfoot | Self::Other)
    }
}

/// How fast requests come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Pace {
    /// Each as soon as the one before it on its connection is answered.
    Saturation,
    /// So many a second, however long the answers take.
    Fixed,
}

/// A request.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// Whether it goes to the service that calls the other.
    pub(crate) to_front: bool,
    /// How many spans come of it.
    pub(crate) spans: u32,
    /// Requests a second at the fixed pace.
    pub(crate) rate: u32,
    headers: fn() -> String,
}

/// All that are measured.
pub(crate) const SCENARIOS: [Scenario; 4] = [
    Scenario {
        name: "bare",
        title: "a bare request",
        to_front: false,
        spans: 1,
        rate: 2000,
        headers: String::new,
    },
    Scenario {
        name: "headers",
        title: "15 headers and a traceparent",
        to_front: false,
        spans: 1,
        rate: 2000,
        headers: browser,
    },
    Scenario {
        name: "chain",
        title: "a server that calls a server",
        to_front: true,
        spans: 3,
        rate: 1000,
        headers: String::new,
    },
    Scenario {
        name: "many",
        title: "60 headers, a third of them as long as those looked for",
        to_front: false,
        spans: 1,
        rate: 2000,
        headers: many,
    },
];

impl Scenario {
    /// Its bytes.
    pub(crate) fn request(&self) -> Vec<u8> {
        let path = if self.to_front { "/orders/7" } else { "/items/7" };
        format!("GET {path} HTTP/1.1\r\nHost: bench.example\r\n{}\r\n", (self.headers)()).into_bytes()
    }
}

const TRACEPARENT: &str = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";

/// What a browser sends, and a proxy adds. (`Host` is no header to a Go server.)
fn browser() -> String {
    [
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n",
        "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n",
        "Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n",
        "Connection: keep-alive\r\nCookie: session=0123456789abcdef; theme=dark\r\n",
        "Upgrade-Insecure-Requests: 1\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\n",
        "Sec-Fetch-Site: none\r\nCache-Control: max-age=0\r\nX-Request-Id: 7f3c1d0e5b\r\n",
        "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\nX-Real-Ip: 192.0.2.7\r\n",
        TRACEPARENT,
    ]
    .concat()
}

/// What costs the most that one may still meet: names are told apart by length first, and those that fit are read.
fn many() -> String {
    let other = (0..40).map(|number| format!("X-Some-Header-{number}: {number}\r\n"));
    let as_long = (0..19).map(|number| format!("X-Length-{number:02}: {number}\r\n"));
    other.chain(as_long).chain([TRACEPARENT.to_owned()]).collect()
}
