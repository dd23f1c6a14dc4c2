//! A real program that receives OTLP, and can be stopped and started again.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::certificates::Certificates;

/// The Collector, or what is built like it.
pub(super) struct Backend {
    process: Option<Child>,
    program: PathBuf,
    pub(super) folder: TempDir,
    pub(super) ports: Ports,
    _held: [Held; 4],
}

/// A port that nobody else is given meanwhile. Who is told of it can listen there, for both may share its address and this one does not
/// listen (`SO_REUSEADDR`, socket(7)).
struct Held {
    port: u16,
    _socket: OwnedFd,
}

impl Held {
    fn new() -> Self {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        set_socket_reuseaddr(&socket, true).unwrap();
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = SocketAddr::try_from(getsockname(&socket).unwrap()).unwrap();
        Self { port: address.port(), _socket: socket }
    }
}

/// On loopback.
#[derive(Clone, Copy)]
pub(super) struct Ports {
    pub(super) grpc: u16,
    pub(super) http: u16,
    /// For whatever else it has.
    pub(super) others: [u16; 2],
}

impl Backend {
    /// Starts what `scripts/foreign.sh` builds under that name, with what `configure` says for ports and a folder.
    pub(super) fn start(name: &str, configure: impl Fn(Ports, &Path) -> Value) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/foreign.sh");
        let output = Command::new(script).arg(name).stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success(), "{name} could not be built, see above");
        let program = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());

        let held = [(); 4].map(|()| Held::new());
        let [grpc, http, others @ ..] = held.each_ref().map(|held| held.port);
        let (ports, folder) = (Ports { grpc, http, others }, tempfile::tempdir().unwrap());
        let configuration = configure(ports, folder.path()).to_string();
        fs::write(folder.path().join("configuration.json"), configuration).unwrap();
        let mut backend = Self { process: None, program, folder, ports, _held: held };
        backend.start_again();
        backend
    }

    /// Starts it, always at the same ports.
    pub(super) fn start_again(&mut self) {
        let configuration = self.folder.path().join("configuration.json");
        let mut process = Command::new(&self.program)
            .arg(format!("--config=file:{}", configuration.display()))
            // Jaeger traces itself otherwise.
            .env("OTEL_TRACES_SAMPLER", "always_off")
            .stdout(Stdio::null())
            .stderr(fs::File::create(self.folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        let ports = [self.ports.grpc, self.ports.http];
        while ports.iter().any(|port| TcpStream::connect(("127.0.0.1", *port)).is_err()) {
            assert!(Instant::now() < deadline, "not up after a minute:\n{}", self.log());
            let has_ended = process.try_wait().unwrap().is_some();
            assert!(!has_ended, "it ended at once:\n{}", self.log());
            sleep(Duration::from_millis(20));
        }
        self.process = Some(process);
    }

    /// Ends it as an operator would. It waits for its clients, so they must not wait.
    pub(super) async fn stop(&mut self) {
        let mut process = self.process.take().unwrap();
        kill_process(Pid::from_child(&process), Signal::TERM).unwrap();
        while process.try_wait().unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // It may have ended already.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// Receivers at these ports. With certificates they speak TLS, and ask clients for one of the same authority.
pub(super) fn receivers(ports: Ports, certificates: Option<&Certificates>) -> Value {
    let receiver = |port: u16| {
        let mut receiver = json!({"endpoint": format!("127.0.0.1:{port}")});
        if let Some(Certificates { authority, server, server_key, .. }) = certificates {
            receiver["tls"] =
                json!({"cert_file": server, "key_file": server_key, "client_ca_file": authority});
        }
        receiver
    };
    json!({"otlp": {"protocols": {"grpc": receiver(ports.grpc), "http": receiver(ports.http)}}})
}
