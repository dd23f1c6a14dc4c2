//! What there is to say of a service, and where it runs.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lightfoot_tests::live::{Folder, text, unused_addresses};

use crate::driver::Driver;

/// A program that serves HTTP, what it does for its living, and what is true of it alone.
pub(crate) struct Service {
    /// As `scripts/foreign.sh` calls it.
    pub(crate) name: &'static str,
    /// The schemes of the servers that it has; each gets the port of the same index.
    pub(crate) fronts: &'static [&'static str],
    /// The front and the target that say 200 while all is well.
    pub(crate) health: (usize, &'static str),
    /// Whom it asks.
    pub(crate) behind: Behind,
    /// Writes its configuration, and says how it is started.
    pub(crate) prepare: fn(&Place, &mut Command),
    /// Its normal work.
    pub(crate) drive: fn(&mut Driver<'_>),
    /// Fronts and targets that always have the same answer; many clients ask for them at once.
    pub(crate) crowd: &'static [(usize, &'static str)],
    /// Files that it writes, below the place's folder, and that are equal as sets of lines.
    pub(crate) output: &'static [&'static str],
    /// The paths of what no observer sees, each with the reason.
    pub(crate) unobserved: &'static [(IsPath, &'static str)],
    /// What Lightfoot counts besides what is no loss, each with the reason.
    pub(crate) counted: &'static [(&'static str, &'static str)],
}

/// Tells paths of a kind.
pub(crate) type IsPath = fn(&str) -> bool;

/// Whom a service asks; an observer stands between the two.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behind {
    Nobody,
    /// `tests/targets/truth`, on behalf of its own clients: each call belongs to a request with the same path.
    Forwarded,
    /// A server of these files, names and contents, whenever it likes.
    Files(&'static [(&'static str, &'static str)]),
}

/// Where a service runs: the same place for each run, empty at its start.
pub(crate) struct Place {
    folder: Folder,
    program: PathBuf,
    /// Free on loopback; the first are those of the fronts.
    addresses: [SocketAddr; 8],
    /// Who is behind it.
    pub(crate) behind: Option<SocketAddr>,
}

impl Place {
    pub(crate) fn of(service: &Service, behind: Option<SocketAddr>) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/foreign.sh");
        let output = Command::new(script).arg(service.name).stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success(), "{} could not be built, see above", service.name);
        let built = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
        assert_documented(service.name, &built);
        let folder = Folder::new().unwrap();
        // A copy that nothing else runs.
        let program = folder.copy(&built, service.name).unwrap();
        Self { folder, program, addresses: unused_addresses(), behind }
    }

    /// Empties it and says how the service is started there.
    pub(crate) fn prepare(&self, service: &Service) -> Command {
        let folder = self.path("");
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        fs::create_dir_all(&folder).unwrap();
        let mut command = Command::new(&self.program);
        // Jaeger and the Collector trace themselves otherwise.
        command
            .env_clear()
            .env("OTEL_TRACES_SAMPLER", "always_off")
            .env("HOME", &folder)
            .current_dir(&folder);
        (service.prepare)(self, &mut command);
        let log = fs::File::create(self.path("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        command
    }

    /// A path in its folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("place").join(name)
    }

    /// Writes a file: its path.
    pub(crate) fn write(&self, name: &str, content: &str) -> String {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        text(&path).to_owned()
    }

    /// Where a port is; all are of one address.
    pub(crate) fn address(&self, port: usize) -> SocketAddr {
        self.addresses[port]
    }

    /// What the service has said.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

/// `docs/foreign.md` names the version that the folder `NAME-VERSION-DIGEST` has in its name.
fn assert_documented(name: &str, built: &Path) {
    let folder = built.parent().and_then(Path::file_name).and_then(|folder| folder.to_str()).unwrap();
    let version =
        folder.strip_prefix(name).and_then(|rest| rest.rsplit_once('-')).unwrap().0.trim_start_matches('-');
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/foreign.md");
    let text = fs::read_to_string(document).unwrap();
    let row = text.lines().find(|line| line.contains(&format!("(`{name}`)"))).unwrap();
    assert!(row.contains(version), "{name} is {version}: {row}");
}
