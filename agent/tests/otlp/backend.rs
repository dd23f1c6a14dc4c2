//! A real program that receives OTLP, and can be stopped and started again.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

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

        // Another process may take a port between our asking for a free one and the program's binding it.
        let start = |_| {
            // Held together, so that they differ.
            let listeners = [(); 4].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
            let [grpc, http, others @ ..] = listeners.map(|listener| listener.local_addr().unwrap().port());
            let (ports, folder) = (Ports { grpc, http, others }, tempfile::tempdir().unwrap());
            let configuration = configure(ports, folder.path()).to_string();
            fs::write(folder.path().join("configuration.json"), configuration).unwrap();
            let mut backend = Self { process: None, program: program.clone(), folder, ports };
            backend.try_start().then_some(backend)
        };
        (0..3).find_map(start).expect("it ended at once three times, see above")
    }

    /// Starts it again, at the same ports.
    pub(super) fn start_again(&mut self) {
        assert!(self.try_start(), "it ended at once, see above");
    }

    /// `false` if it ends before it listens.
    fn try_start(&mut self) -> bool {
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
            if process.try_wait().unwrap().is_some() {
                eprintln!("{}", self.log());
                return false;
            }
            sleep(Duration::from_millis(20));
        }
        self.process = Some(process);
        true
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
