//! Connections to the endpoint: TCP, through a proxy if there is one, and TLS if it is asked for.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::Intercept;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tower_service::Service;

use super::super::settings::{OtlpSettings, Protocol};

/// Bytes that nobody acknowledges for so long mean that the connection is dead: without it a peer that vanished would
/// hold up each try until its time-out, over the same dead connection.
const MAX_SILENCE: Duration = Duration::from_secs(20);
/// An idle connection says something so often, for middleboxes forget silent ones.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

type BoxError = Box<dyn Error + Send + Sync>;

/// Makes connections.
pub(super) type Connector = HttpsConnector<Plain>;

/// A connector for an endpoint with these settings.
pub(super) fn connector(settings: &OtlpSettings) -> Connector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(settings.timeout));
    tcp.set_keepalive(Some(KEEP_ALIVE));
    tcp.set_tcp_user_timeout(Some(MAX_SILENCE));
    let plain = Plain { tcp, proxy: settings.proxy.clone(), forwards: forwards(settings) };
    let builder =
        HttpsConnectorBuilder::new().with_tls_config(ClientConfig::clone(&settings.tls)).https_or_http();
    match settings.protocol {
        // Servers of gRPC insist on being asked for HTTP/2 in the TLS handshake (ALPN).
        Protocol::Grpc => builder.enable_http2().wrap_connector(plain),
        Protocol::HttpProtobuf | Protocol::HttpJson => builder.enable_http1().wrap_connector(plain),
    }
}

/// Whether the proxy gets the requests themselves. Otherwise it is asked for a tunnel.
pub(super) fn forwards(settings: &OtlpSettings) -> bool {
    settings.proxy.is_some()
        && settings.protocol != Protocol::Grpc
        && settings.endpoint.scheme_str() == Some("http")
}

/// Makes connections without TLS.
#[derive(Clone)]
pub(super) struct Plain {
    tcp: HttpConnector,
    proxy: Option<Intercept>,
    forwards: bool,
}

impl Service<Uri> for Plain {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, endpoint: Uri) -> Self::Future {
        // What is ready is this one, and not its clone.
        let clone = self.tcp.clone();
        let mut tcp = std::mem::replace(&mut self.tcp, clone);
        let (proxy, is_forwarded) = (self.proxy.clone(), self.forwards);
        Box::pin(async move {
            let io = match proxy {
                None => tcp.call(endpoint).await?,
                Some(proxy) if is_forwarded => tcp.call(proxy.uri().clone()).await?,
                Some(proxy) => {
                    let mut tunnel = Tunnel::new(proxy.uri().clone(), tcp);
                    if let Some(credentials) = proxy.basic_auth() {
                        tunnel = tunnel.with_auth(credentials.clone());
                    }
                    tunnel.call(with_port(endpoint)?).await?
                }
            };
            Ok(Stream { io, is_forwarded })
        })
    }
}

/// A tunnel's default is 443, for http too.
fn with_port(endpoint: Uri) -> Result<Uri, http::Error> {
    if endpoint.port().is_some() || endpoint.scheme_str() == Some("https") {
        return Ok(endpoint);
    }
    let authority = format!("{}:80", endpoint.host().unwrap_or_default());
    Uri::builder().scheme("http").authority(authority).path_and_query("/").build()
}

/// A connection that says whether it leads to a proxy which gets the requests: they name the whole URL then.
pub(super) struct Stream {
    io: TokioIo<TcpStream>,
    is_forwarded: bool,
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        self.io.inner().connected().proxy(self.is_forwarded)
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, buffers)
    }
}
