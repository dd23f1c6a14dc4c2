//! The programs in `tests/targets/`.

use std::fmt;
use std::path::{Path, PathBuf};

/// A Go program that the tests build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Program {
    /// Serves one route over HTTP/1, nothing else.
    Hello,
    /// HTTP/1 and HTTP/2, server and client, ServeMux patterns, ReverseProxy, Hijacker.
    Http,
    /// Serves HTTP/1 in every way there is and writes down what really happened.
    Truth,
    /// Sends HTTP requests in every way there is, to itself, and writes down what really happened.
    Clients,
    /// Calls from inside of handlers, on other goroutines and with other contexts, and writes down what caused what.
    Parents,
    /// Serves HTTP/2 by net/http alone and writes down what really happened.
    Bundled,
    /// Serves HTTP/2, and calls, by golang.org/x/net and writes down what really happened.
    XNet,
    /// Sends HTTP/2 requests; nobody watches it.
    Http2Drive,
    /// Serves by gin's router and writes down what really happened.
    Gin,
    /// Serves by chi's router and writes down what really happened.
    Chi,
    /// Serves by echo's router and writes down what really happened.
    Echo,
    /// Serves by gorilla/mux and writes down what really happened.
    Gorilla,
    /// Calls C and serves HTTP; modes without cgo cannot build it.
    Cgo,
    /// A gRPC server and its client. It has dependencies: its first build fetches modules.
    Grpc,
    /// Serves and calls by gRPC in every way there is and writes down what really happened. By the newest grpc-go that the Go
    /// release compiles.
    Rpc,
    /// The same by older releases of grpc-go.
    OldRpc,
    /// Serves and calls by connect, and says what really happened.
    Connect,
    /// Calls the server of `Connect` by gRPC and gRPC-Web.
    ConnectGrpc,
    /// Serves and calls by connect-go, as connect was called before.
    OldConnect,
    /// Serves HTTP/2 in every way there is, sends itself requests and writes down what really happened. It has dependencies.
    Http2Batch,
    /// Serves HTTP, and executes another program, rewrites its code, says which signals it gets.
    Lifecycle,
    /// A reverse proxy that writes down what passes; nobody watches it.
    Observer,
    /// Serves HTTP under the name of a Collector.
    Backend,
    /// Serves as it is or traced by otelhttp, for the benchmark. It has dependencies.
    Bench,
    /// Serves and calls by gRPC as it is or traced by otelgrpc, for the benchmark. It has dependencies.
    BenchGrpc,
    /// Serves HTTP, traced by otelhttp, and does what that does not cover. It has dependencies.
    HalfTraced,
    /// Serves and calls, traced by dd-trace-go. It has dependencies.
    Datadog,
    /// Becomes a command that nobody tells what processes do.
    Untold,
    /// Serves HTTP, and calls others of its kind, so that it can be told which request was which call.
    Join,
    /// Sends requests in all the ways that matter to whoever adds a header to them.
    Propagation,
    /// Sends requests over HTTP/2 in all the ways that matter to whoever adds a header to them. It has dependencies.
    PropagationHttp2,
    /// Calls by gRPC in all the ways that matter to whoever adds a header to the calls. It has dependencies.
    PropagationGrpc,
    /// Sends requests on behalf of those that it serves, as the conformance suite of W3C Trace Context asks for.
    TraceContext,
    /// The same, traced by otelhttp. It has dependencies.
    TraceContextSdk,
    /// A shop, its stock and prices in `make demo`, and customers. It has dependencies.
    Demo,
    /// Structs that are hard to describe. No network.
    Layouts,
    /// Prints what its interfaces hold and where calls return to. It serves itself.
    Interfaces,
    /// Serves and calls, and has garbage wherever a tracer looks.
    Hostile,
    /// The same by gRPC. It has dependencies.
    HostileGrpc,
}

impl Program {
    /// Its folder's name, which is also its command's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Http => "http",
            Self::Truth => "truth",
            Self::Clients => "clients",
            Self::Parents => "parents",
            Self::Bundled => "bundled",
            Self::XNet => "xnet",
            Self::Http2Drive => "http2drive",
            Self::Gin => "gin",
            Self::Chi => "chi",
            Self::Echo => "echo",
            Self::Gorilla => "gorilla",
            Self::Cgo => "cgo",
            Self::Grpc => "grpc",
            Self::Rpc => "rpc",
            Self::OldRpc => "oldrpc",
            Self::Connect => "connect",
            Self::ConnectGrpc => "connectgrpc",
            Self::OldConnect => "oldconnect",
            Self::Http2Batch => "http2batch",
            Self::Lifecycle => "lifecycle",
            Self::Observer => "observer",
            Self::Backend => "backend",
            Self::Bench => "bench",
            Self::BenchGrpc => "benchgrpc",
            Self::HalfTraced => "halftraced",
            Self::Datadog => "datadog",
            Self::Untold => "untold",
            Self::Join => "join",
            Self::Propagation => "propagation",
            Self::PropagationHttp2 => "propagationhttp2",
            Self::PropagationGrpc => "propagationgrpc",
            Self::TraceContext => "tracecontext",
            Self::TraceContextSdk => "tracecontextsdk",
            Self::Demo => "demo",
            Self::Layouts => "layouts",
            Self::Interfaces => "interfaces",
            Self::Hostile => "hostile",
            Self::HostileGrpc => "hostilegrpc",
        }
    }

    /// Where its sources are.
    pub fn folder(self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("targets").join(self.name())
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
