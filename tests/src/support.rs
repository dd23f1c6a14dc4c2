//! What is supported, as a comparison of spans with the truth has found it: `docs/support.json` and the table that README.md
//! makes of it.
//!
//! The test `matrix` compares and leaves what it found; `make support-table` has it try everything, and puts that where it
//! belongs.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cache::FileError;
use crate::go::{Build, Mode, Program, VERSIONS};
use crate::readme::{self, ReadmeError};

/// Where README.md has the table.
const PLACE: &str = "support";

/// What the spans of an operation are beside the truth, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Found {
    /// One span for each, with all that there is to say, and no other span.
    Equal,
    /// The same, but for the routes of copied requests.
    WithoutRoutesOfCopies,
    /// The same, but for `http.route`.
    WithoutRoutes,
    /// Anything else.
    Wrong,
}

/// What was found of one kind of build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The Go release, as `1.MINOR`.
    pub go: String,
    /// [`Mode::name`].
    pub mode: String,
    /// Requests that are served over HTTP/1.
    pub http1_server: Found,
    /// Those over HTTP/2.
    pub http2_server: Found,
    /// Calls.
    pub http_client: Found,
}

impl Row {
    fn worst(&self) -> Found {
        self.http1_server.max(self.http2_server).max(self.http_client)
    }
}

/// What was found of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Support {
    rows: Vec<Row>,
}

impl Support {
    /// These rows, in the order of modes and versions.
    pub fn new(mut rows: Vec<Row>) -> Self {
        let place = |row: &Row| {
            let mode = Mode::ALL.iter().position(|mode| mode.name() == row.mode);
            let version = VERSIONS.iter().position(|version| version.language() == row.go);
            (mode, version)
        };
        rows.sort_by_key(place);
        Self { rows }
    }

    /// What is committed.
    pub fn committed() -> Result<Self, SupportError> {
        Self::read(&results())
    }

    /// What a test left.
    pub fn read(path: &Path) -> Result<Self, SupportError> {
        let rows = serde_json::from_str(&read(path)?);
        rows.map(Self::new).map_err(|source| SupportError::Json { path: path.to_owned(), source })
    }

    /// Leaves it there, one row a line.
    pub fn write(&self, path: &Path) -> Result<(), SupportError> {
        let lines: Result<Vec<_>, _> = self.rows.iter().map(serde_json::to_string).collect();
        let lines = lines.map_err(|source| SupportError::Json { path: path.to_owned(), source })?;
        write(path, &format!("[\n{}\n]\n", lines.join(",\n")))
    }

    /// Commits it: into `docs/support.json` and README.md. What was not tried this time stays as it was.
    pub fn document(&self) -> Result<(), SupportError> {
        let mut rows = Self::committed()?.rows;
        rows.retain(|old| self.rows.iter().all(|new| (&old.go, &old.mode) != (&new.go, &new.mode)));
        rows.extend(self.rows.iter().cloned());
        let all = Self::new(rows);
        all.write(&results())?;
        Ok(readme::show(PLACE, &all.table())?)
    }

    /// What README.md has of it.
    pub fn shown() -> Result<String, SupportError> {
        Ok(readme::shown(PLACE)?)
    }

    /// That of one kind of build.
    pub fn row(&self, go: &str, mode: Mode) -> Option<&Row> {
        self.rows.iter().find(|row| row.go == go && row.mode == mode.name())
    }

    /// Whether a row is among them.
    pub fn contains(&self, row: &Row) -> bool {
        self.rows.contains(row)
    }

    /// A row for each mode, a column for each version.
    pub fn table(&self) -> String {
        let mut table = String::from("| built with |");
        let languages: Vec<_> = VERSIONS.iter().map(|version| version.language()).collect();
        let mut notes = BTreeSet::new();
        let _ = writeln!(table, " {} |", languages.join(" | "));
        let _ = writeln!(table, "|---|{}", "---|".repeat(languages.len()));
        for mode in Mode::ALL {
            let _ = write!(table, "| {} |", built_with(mode));
            for version in VERSIONS {
                let found = self.row(&version.language(), mode).map(Row::worst);
                notes.extend(found.filter(|found| *found != Found::Equal));
                let exists = Build::here(Program::Truth, version, mode).unsupported().is_none();
                let otherwise = if exists { "" } else { "–" };
                let _ = write!(table, " {} |", found.map_or(otherwise, mark));
            }
            table.push('\n');
        }
        table.push_str("\n✓ HTTP/1 server, HTTP/2 server and HTTP client: each span equals the program's own truth, and there is no other.");
        for note in notes {
            let _ = write!(table, "\\\n{} {}", mark(note), note_of(note));
        }
        table.push_str("\\\n– no such build, or no profile for it; blank: not tried.\n");
        table
    }
}

fn mark(found: Found) -> &'static str {
    match found {
        Found::Equal => "✓",
        Found::WithoutRoutesOfCopies => "✓¹",
        Found::WithoutRoutes => "✓²",
        Found::Wrong => "✗",
    }
}

fn note_of(found: Found) -> &'static str {
    match found {
        Found::Equal => "",
        Found::WithoutRoutesOfCopies => "without the routes of requests that a middleware copied.",
        Found::WithoutRoutes => "without `http.route`: such a Go does not note what `ServeMux` has matched.",
        Found::Wrong => "spans differ from the truth, or are missing.",
    }
}

fn built_with(mode: Mode) -> &'static str {
    match mode {
        Mode::Plain => "`go build`",
        Mode::Stripped => "`-ldflags='-s -w'`",
        Mode::Pie => "`-buildmode=pie`",
        Mode::PieStripped => "`-buildmode=pie -ldflags='-s -w'`",
        Mode::StaticPie => "static PIE",
        Mode::CgoExternal => "cgo, linked externally",
        Mode::CgoExternalPie => "cgo, linked externally, PIE",
        Mode::RelrPie => "the same with packed relocations",
        Mode::ProfileGuided => "`-pgo`",
        Mode::Race => "`-race`",
        Mode::Debug => "`-gcflags='all=-N -l'`",
        Mode::Boringcrypto => "`GOEXPERIMENT=boringcrypto`",
        Mode::Fips => "`GOFIPS140=v1.0.0`",
        Mode::NoSections => "section headers removed",
        Mode::NoSectionsPie => "section headers removed, PIE",
        Mode::BinutilsStripped => "binutils' `strip`",
    }
}

fn results() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/support.json")
}

fn read(path: &Path) -> Result<String, SupportError> {
    Ok(fs::read_to_string(path).map_err(FileError::at(path))?)
}

fn write(path: &Path, text: &str) -> Result<(), SupportError> {
    Ok(fs::write(path, text).map_err(FileError::at(path))?)
}

/// Why it could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum SupportError {
    /// A file failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is not what [`Support::write`] writes.
    #[error("{path} does not hold rows")]
    Json {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// README.md failed.
    #[error(transparent)]
    Readme(#[from] ReadmeError),
}

#[cfg(test)]
mod tests {
    use super::{Found, Row, Support};

    #[test]
    fn a_cell_shows_the_worst_of_a_row_and_says_what_that_means() {
        let row = |go: &str, mode: &str, http1_server, http_client| Row {
            go: go.to_owned(),
            mode: mode.to_owned(),
            http1_server,
            http2_server: Found::Equal,
            http_client,
        };
        let support = Support::new(vec![
            row("1.27", "plain", Found::Equal, Found::Wrong),
            row("1.21", "plain", Found::WithoutRoutes, Found::Equal),
            row("1.22", "plain", Found::Equal, Found::Equal),
        ]);
        let table = support.table();
        assert!(table.contains("| `go build` | ✓² | ✓ |  |  |  |  | ✗ |\n"), "{table}");
        assert!(table.contains("\n✗ spans differ") && !table.contains("✓¹"), "{table}");
        assert_eq!(support.rows.first().map(|row| row.go.as_str()), Some("1.21"));
    }

    #[test]
    fn what_is_written_is_what_was_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("support.json");
        let support = Support::committed().unwrap();
        support.write(&path).unwrap();
        assert_eq!(Support::read(&path).unwrap(), support);
    }

    #[test]
    fn the_readme_shows_what_is_committed() {
        assert_eq!(
            Support::shown().unwrap(),
            Support::committed().unwrap().table(),
            "run `make support-table`"
        );
    }
}
