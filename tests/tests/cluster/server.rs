//! An etcd and an API server of Kubernetes on loopback. No controller runs: pods are made here, and what the kubelet says of them.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use lightfoot_tests::live::{Folder, wait_within};
use serde_json::{Value, json};

use crate::{PATIENCE, foreign, tools};

/// Who may do anything.
const ADMIN: &str = "secret";

/// The agent's account, as its name is in requests.
pub(crate) const ACCOUNT: &str = "system:serviceaccount:lightfoot:lightfoot";

/// What a user asked for: once it was answered, or a watch began.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Asked {
    pub(crate) verb: String,
    pub(crate) group: String,
    pub(crate) resource: String,
    /// Of what is asked for, in the words of the request.
    pub(crate) fields: String,
}

/// Both, killed in the end.
pub(crate) struct Server {
    folder: Folder,
    root: PathBuf,
    ports: [u16; 3],
    etcd: Child,
    api: Option<Child>,
}

impl Server {
    /// Starts them, and waits until they are ready.
    pub(crate) fn start(root: &Path, folder: Folder) -> Self {
        let path = folder.path();
        let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let ports = listeners.map(|listener| listener.local_addr().unwrap().port());
        let key = Command::new("openssl").args(["genrsa", "-out"]).arg(path.join("key")).output().unwrap();
        assert!(key.status.success(), "{}", String::from_utf8_lossy(&key.stderr));
        folder.say("tokens", &format!("{ADMIN},admin,admin,\"system:masters\"\n")).unwrap();
        let peers = format!("http://127.0.0.1:{}", ports[1]);
        let clients = format!("http://127.0.0.1:{}", ports[0]);
        let mut etcd = Command::new(foreign(root, "etcd"));
        etcd.arg("--data-dir").arg(path.join("etcd"));
        etcd.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
        etcd.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        etcd.args(["--initial-cluster", &format!("default={peers}")]);
        let etcd = etcd.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut all = Self { folder, root: root.to_owned(), ports, etcd, api: None };
        all.serve();
        all
    }

    /// Starts the API server, the first time or again.
    pub(crate) fn serve(&mut self) {
        let path = self.folder.path();
        let key = path.join("key");
        let log = fs::File::create(path.join("server.log")).unwrap();
        let mut server = Command::new(foreign(&self.root, "kube-apiserver"));
        server.arg(format!("--etcd-servers=http://127.0.0.1:{}", self.ports[0]));
        server.arg(format!("--secure-port={}", self.ports[2]));
        server.args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"]);
        server.args(["--service-cluster-ip-range=10.0.0.0/24", "--allow-privileged=true"]);
        server.args(["--authorization-mode=RBAC", "--endpoint-reconciler-type=none"]);
        server.arg("--service-account-issuer=https://kubernetes.local");
        server.arg("--cert-dir").arg(path.join("certificates"));
        server.arg("--service-account-key-file").arg(&key);
        server.arg("--service-account-signing-key-file").arg(&key);
        server.arg("--token-auth-file").arg(path.join("tokens"));
        let policy = json!({
            "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
            "rules": [{"level": "Metadata", "users": [ACCOUNT]}, {"level": "None"}],
        });
        server.arg("--audit-policy-file").arg(self.folder.say("audit.json", &policy.to_string()).unwrap());
        server.arg("--audit-log-path").arg(path.join("audit.log"));
        self.api = Some(server.stdout(Stdio::null()).stderr(log).spawn().unwrap());
        wait_within(PATIENCE, "the API server", || {
            let output = self.kubectl(&["get", "--raw", "/readyz"]).output().unwrap();
            (output.stdout == b"ok").then_some(())
        })
        .unwrap();
    }

    /// It is gone, as by a crash.
    pub(crate) fn stop(&mut self) {
        if let Some(mut server) = self.api.take() {
            // It may have ended by itself, and then its log says why.
            let _ = server.kill();
            let _ = server.wait();
        }
    }

    fn kubectl(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(tools(&self.root).join("kubectl"));
        let certificate = self.certificate();
        command.env("HOME", self.folder.path()).env("KUBECONFIG", "/dev/null");
        command.args(["--server", &format!("https://127.0.0.1:{}", self.ports[2]), "--token", ADMIN]);
        command.arg("--certificate-authority").arg(certificate).args(arguments);
        command
    }

    /// What kubectl prints, which has to succeed.
    pub(crate) fn ask(&self, arguments: &[&str]) -> String {
        let output = self.kubectl(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it prints, whether it succeeds or not.
    pub(crate) fn answer(&self, arguments: &[&str]) -> String {
        String::from_utf8(self.kubectl(arguments).output().unwrap().stdout).unwrap()
    }

    /// Makes objects, or changes them.
    pub(crate) fn apply(&self, name: &str, objects: &Value) {
        let file = self.folder.say(name, &objects.to_string()).unwrap();
        self.ask(&["apply", "--server-side", "--force-conflicts", "--filename", file.to_str().unwrap()]);
    }

    /// A kubeconfig that asks with the token of a file, as in a pod.
    pub(crate) fn kubeconfig(&self, token: &Path) -> PathBuf {
        let (port, folder) = (self.ports[2], self.folder.path().display());
        let text = format!(
            "{{apiVersion: v1, kind: Config, current-context: c, clusters: [{{name: c, cluster: {{server: 'https://127.0.0.1:{port}', \
             certificate-authority: {folder}/certificates/apiserver.crt}}}}], contexts: [{{name: c, context: {{cluster: c, user: u}}}}], \
             users: [{{name: u, user: {{tokenFile: {}}}}}]}}",
            token.display()
        );
        self.folder.say("kubeconfig", &text).unwrap()
    }

    /// All that the agent's account has asked for, by the server's audit log.
    pub(crate) fn asked(&self) -> BTreeSet<Asked> {
        let log = fs::read_to_string(self.folder.path().join("audit.log")).unwrap();
        let of = |line: &str| {
            let event: Value = serde_json::from_str(line).unwrap();
            let word =
                |path: &str| event.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
            let uri = word("/requestURI");
            let fields = uri.split(['?', '&']).find_map(|one| one.strip_prefix("fieldSelector="));
            Asked {
                verb: word("/verb"),
                group: word("/objectRef/apiGroup"),
                resource: word("/objectRef/resource"),
                fields: fields.unwrap_or_default().to_owned(),
            }
        };
        log.lines().map(of).collect()
    }

    /// The port at which the API server listens.
    pub(crate) fn port(&self) -> u16 {
        self.ports[2]
    }

    /// What it has to be trusted by.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificates/apiserver.crt")
    }

    pub(crate) fn folder(&self) -> &Folder {
        &self.folder
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        let _ = self.etcd.kill();
        let _ = self.etcd.wait();
    }
}
