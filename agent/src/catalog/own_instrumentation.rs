//! How programs trace themselves: the instrumentation of OpenTelemetry and of Datadog, and what it covers of what we know.

use super::{Operation, grpc, http2, net_http, routers};

/// What spans are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Requests that an HTTP server gets.
    HttpServer,
    /// Requests that are sent by HTTP.
    HttpClient,
    /// Calls and streams that a gRPC server gets.
    GrpcServer,
    /// Those that are made.
    GrpcClient,
}

impl Subject {
    /// What the spans of an operation are about, or those that it adds to.
    pub fn of(operation: &Operation) -> Option<Self> {
        let is = |all: &[&Operation]| all.iter().any(|one| one.title == operation.title);
        let servers = [&net_http::SERVER_1, &http2::SERVER, &http2::X_SERVER, &http2::X_SERVER_BY_NET_HTTP];
        let is_router = || routers::ROUTERS.iter().any(|router| router.operation.title == operation.title);
        if is(&servers) || is_router() {
            Some(Self::HttpServer)
        } else if is(&[&net_http::CLIENT, &http2::X_CLIENT]) {
            Some(Self::HttpClient)
        } else if is(&[&grpc::SERVER, &grpc::HANDLER_SERVER, &grpc::SERVER_MESSAGES]) {
            Some(Self::GrpcServer)
        } else if is(&[&grpc::UNARY_CLIENT, &grpc::STREAM_CLIENT, &grpc::CLIENT_MESSAGES]) {
            Some(Self::GrpcClient)
        } else {
            None
        }
    }

    /// Whether it is served, and not asked.
    pub fn is_served(self) -> bool {
        matches!(self, Self::HttpServer | Self::GrpcServer)
    }
}

/// A module whose presence in a program means that it traces something.
#[derive(Debug)]
pub struct Instrumentation {
    /// What people call it.
    pub name: &'static str,
    /// Its path.
    pub module: &'static str,
    /// Who compiles it into programs whose build information does not name it, if anybody does.
    pub woven_by: Option<&'static str>,
    /// Functions of which one is linked wherever its spans are recorded: without them it does nothing.
    pub sdk: &'static [&'static str],
    /// What it covers, and the functions of which one is linked wherever it does; none where the module alone says so. The
    /// linker leaves out what a program does not use: a module that another one brings along covers nothing.
    pub covers: Covers,
}

/// Operations, each with functions.
pub type Covers = &'static [(Subject, &'static [&'static str])];

/// Without this function there is no SDK of OpenTelemetry that could record a span (go.opentelemetry.io/otel/sdk 0.1 to 1.47).
pub const SDK: &str = "go.opentelemetry.io/otel/sdk/trace.NewTracerProvider";

/// Those known.
pub const INSTRUMENTATIONS: &[Instrumentation] = &[
    Instrumentation {
        name: "otelhttp",
        module: "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp",
        woven_by: None,
        sdk: &[SDK],
        covers: &[
            (
                Subject::HttpServer,
                &[
                    "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp.(*middleware).serveHTTP",
                    // Up to 0.45.
                    "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp.(*Handler).ServeHTTP",
                ],
            ),
            (
                Subject::HttpClient,
                &["go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp.(*Transport).RoundTrip"],
            ),
        ],
    },
    Instrumentation {
        name: "otelgrpc",
        module: "go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc",
        woven_by: None,
        sdk: &[SDK],
        covers: &[
            (
                Subject::GrpcServer,
                &[
                    "go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc.(*serverHandler).TagRPC",
                    // Up to 0.63.
                    "go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc.UnaryServerInterceptor.func1",
                ],
            ),
            (
                Subject::GrpcClient,
                &[
                    "go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc.(*clientHandler).TagRPC",
                    "go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc.UnaryClientInterceptor.func1",
                ],
            ),
        ],
    },
    server("otelgin", "go.opentelemetry.io/contrib/instrumentation/github.com/gin-gonic/gin/otelgin"),
    server("otelecho", "go.opentelemetry.io/contrib/instrumentation/github.com/labstack/echo/otelecho"),
    server("otelmux", "go.opentelemetry.io/contrib/instrumentation/github.com/gorilla/mux/otelmux"),
    server("otelchi", "github.com/riandyrn/otelchi"),
    DATADOG,
    DATADOG_1,
];

/// Middleware of a router: who links it serves by it.
const fn server(name: &'static str, module: &'static str) -> Instrumentation {
    Instrumentation { name, module, woven_by: None, sdk: &[SDK], covers: &[(Subject::HttpServer, &[])] }
}

const fn datadog(module: &'static str, sdk: &'static [&'static str], covers: Covers) -> Instrumentation {
    Instrumentation { name: "dd-trace-go", module, woven_by: Some("orchestrion"), sdk, covers }
}

/// By names of 2.12. `tracer.Start` is inlined.
const DATADOG: Instrumentation = datadog(
    "github.com/DataDog/dd-trace-go/v2",
    &["github.com/DataDog/dd-trace-go/v2/ddtrace/tracer.newUnstartedTracer"],
    &[
        (
            Subject::HttpServer,
            // By what wraps handlers, and by the middleware of routers.
            &[
                "github.com/DataDog/dd-trace-go/v2/instrumentation/httptrace.BeforeHandle",
                "github.com/DataDog/dd-trace-go/v2/instrumentation/httptrace.StartRequestSpan",
            ],
        ),
        (
            Subject::HttpClient,
            &["github.com/DataDog/dd-trace-go/contrib/net/http/v2/internal/wrap.ObserveRoundTrip"],
        ),
        (
            Subject::GrpcServer,
            &[
                "github.com/DataDog/dd-trace-go/contrib/google.golang.org/grpc/v2.UnaryServerInterceptor.func1",
                "github.com/DataDog/dd-trace-go/contrib/google.golang.org/grpc/v2.(*serverStatsHandler).TagRPC",
            ],
        ),
        (
            Subject::GrpcClient,
            &[
                "github.com/DataDog/dd-trace-go/contrib/google.golang.org/grpc/v2.UnaryClientInterceptor.func1",
                "github.com/DataDog/dd-trace-go/contrib/google.golang.org/grpc/v2.(*clientStatsHandler).TagRPC",
            ],
        ),
    ],
);

/// By names of 1.72; later releases are made of 2.
const DATADOG_1: Instrumentation = datadog(
    "gopkg.in/DataDog/dd-trace-go.v1",
    &["gopkg.in/DataDog/dd-trace-go.v1/ddtrace/tracer.newUnstartedTracer"],
    &[
        (
            Subject::HttpServer,
            &[
                "gopkg.in/DataDog/dd-trace-go.v1/contrib/internal/httptrace.BeforeHandle",
                "gopkg.in/DataDog/dd-trace-go.v1/contrib/internal/httptrace.StartRequestSpan",
            ],
        ),
        (
            Subject::HttpClient,
            &["gopkg.in/DataDog/dd-trace-go.v1/contrib/net/http.(*roundTripper).RoundTrip"],
        ),
        (
            Subject::GrpcServer,
            &[
                "gopkg.in/DataDog/dd-trace-go.v1/contrib/google.golang.org/grpc.UnaryServerInterceptor.func1",
                "gopkg.in/DataDog/dd-trace-go.v1/contrib/google.golang.org/grpc.(*serverStatsHandler).TagRPC",
            ],
        ),
        (
            Subject::GrpcClient,
            &[
                "gopkg.in/DataDog/dd-trace-go.v1/contrib/google.golang.org/grpc.UnaryClientInterceptor.func1",
                "gopkg.in/DataDog/dd-trace-go.v1/contrib/google.golang.org/grpc.(*clientStatsHandler).TagRPC",
            ],
        ),
    ],
);

/// All functions that are named here.
pub fn functions() -> impl Iterator<Item = &'static str> {
    let covered = INSTRUMENTATIONS.iter().flat_map(|instrumentation| instrumentation.covers);
    let sdks = INSTRUMENTATIONS.iter().flat_map(|instrumentation| instrumentation.sdk);
    covered.flat_map(|(_, functions)| *functions).chain(sdks).copied()
}

/// The spans of the SDK, and those that stand for what is not recorded or is elsewhere, each with the field that holds its
/// [`SPAN_CONTEXT`] (sdk/trace/span.go, trace/context.go). Contexts hold one as a value.
pub const SPANS: &[(&str, &str)] = &[
    ("go.opentelemetry.io/otel/sdk/trace.recordingSpan", "spanContext"),
    ("go.opentelemetry.io/otel/sdk/trace.nonRecordingSpan", "sc"),
    ("go.opentelemetry.io/otel/trace.nonRecordingSpan", "sc"),
];

/// Ids and flags, which never change (trace/trace.go).
pub const SPAN_CONTEXT: &str = "go.opentelemetry.io/otel/trace.SpanContext";
/// Where the programs read them, as they stand there one behind the other.
pub const SPAN_CONTEXT_FIELDS: [(&str, u64); 3] = [("traceID", 0), ("spanID", 16), ("traceFlags", 24)];

/// A context with a value (context/context.go).
pub const VALUE_CONTEXT: &str = "context.valueCtx";
/// Where the programs read these: the context that it holds, and the value, an interface.
pub const VALUE_CONTEXT_FIELDS: [(&str, u64); 2] = [("Context", 0), ("val", 32)];

/// The structs that are read.
pub fn structs() -> impl Iterator<Item = &'static str> {
    SPANS.iter().map(|(name, _)| *name).chain([SPAN_CONTEXT, VALUE_CONTEXT])
}
