//! Which kernels are known to work, as virtual machines have found it: `docs/kernels.json` and the table that README.md makes of
//! it. `make vm-all` makes both anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cache::FileError;
use crate::readme::{self, ReadmeError};

/// Where README.md has the table.
const PLACE: &str = "kernels";

/// What was found on one kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// The machine, as Rust names it.
    pub machine: String,
    /// What the kernel's version begins with.
    pub version: String,
    /// What was added to its command line.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub parameters: String,
    /// What the kernel calls itself.
    pub release: String,
    /// How the agent places probes there, in the words of `lightfoot doctor`; empty if it says that it cannot.
    pub method: String,
    /// What ran there, and whether it succeeded.
    pub trials: BTreeMap<String, bool>,
}

/// What was found on each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kernels {
    rows: Vec<Row>,
}

impl Row {
    /// Whether all succeeded.
    pub fn is_well(&self) -> bool {
        self.trials.values().all(|succeeded| *succeeded)
    }

    fn key(&self) -> (Vec<u32>, &str, &str) {
        let numbers = self.version.split('.').map(|number| number.parse().unwrap_or_default());
        (numbers.collect(), &self.machine, &self.parameters)
    }
}

impl Kernels {
    /// What is committed.
    pub fn committed() -> Result<Self, KernelsError> {
        let text = fs::read_to_string(results()).map_err(FileError::at(&results()))?;
        Ok(Self { rows: serde_json::from_str(&text)? })
    }

    /// Commits what was found of a kernel, in `docs/kernels.json` and README.md, in place of what was known of it; less does not
    /// replace more, unless it failed.
    pub fn document(row: Row) -> Result<(), KernelsError> {
        let mut all = Self::committed()?;
        let is_more = |old: &Row| old.key() == row.key() && old.trials.len() > row.trials.len();
        if row.is_well() && all.rows.iter().any(is_more) {
            return Ok(());
        }
        all.rows.retain(|old| old.key() != row.key());
        all.rows.push(row);
        all.rows.sort_by(|a, b| a.key().cmp(&b.key()));
        let lines: Vec<String> = all.rows.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
        let text = format!("[\n{}\n]\n", lines.join(",\n"));
        fs::write(results(), text).map_err(FileError::at(&results()))?;
        Ok(readme::show(PLACE, &all.table())?)
    }

    /// A row for each kernel, a column for each machine; then what was added to command lines.
    pub fn table(&self) -> String {
        const MACHINES: [(&str, &str); 2] = [("x86_64", "x86-64"), ("aarch64", "arm64")];
        let mut keys: Vec<(&str, &str)> = Vec::new();
        for row in &self.rows {
            let key = (row.version.as_str(), row.parameters.as_str());
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        // As they are, kernels come first.
        keys.sort_by_key(|(_, parameters)| !parameters.is_empty());
        let names = MACHINES.map(|(_, name)| name).join(" | ");
        let mut table = format!("| Linux | {names} |\n|---|{}\n", "---|".repeat(MACHINES.len()));
        for (version, parameters) in keys {
            let with = if parameters.is_empty() { String::new() } else { format!(" with `{parameters}`") };
            let _ = write!(table, "| {version}{with} |");
            for (machine, _) in MACHINES {
                let is_it = |row: &&Row| {
                    (row.version.as_str(), row.parameters.as_str(), row.machine.as_str())
                        == (version, parameters, machine)
                };
                let cell = self.rows.iter().find(is_it).map(cell).unwrap_or_default();
                let _ = write!(table, " {cell} |");
            }
            table.push('\n');
        }
        table
    }
}

fn cell(row: &Row) -> String {
    let failed = row.trials.iter().filter(|(_, succeeded)| !**succeeded).map(|(name, _)| name.as_str());
    match (row.is_well(), row.method.as_str()) {
        (true, "") => "refused, with the reason".to_owned(),
        (true, method) if row.trials.keys().all(|name| name == "doctor") => format!("(✓) {method}"),
        (true, method) => format!("✓ {method}"),
        (false, _) => format!("✗ {}", failed.collect::<Vec<_>>().join(", ")),
    }
}

fn results() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/kernels.json")
}

/// Why it could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KernelsError {
    /// A file failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is not what is written there.
    #[error("docs/kernels.json does not hold rows")]
    Json(#[from] serde_json::Error),
    /// README.md failed.
    #[error(transparent)]
    Readme(#[from] ReadmeError),
}

#[cfg(test)]
mod tests {
    use super::{Kernels, PLACE, Row};
    use crate::readme;

    fn row(machine: &str, version: &str, parameters: &str, works: bool) -> Row {
        Row {
            machine: machine.to_owned(),
            version: version.to_owned(),
            parameters: parameters.to_owned(),
            release: String::new(),
            method: "uprobe_multi".to_owned(),
            trials: [("grpc".to_owned(), works), ("doctor".to_owned(), true)].into(),
        }
    }

    #[test]
    fn a_cell_says_how_it_works_or_what_does_not() {
        let rows = vec![
            row("aarch64", "6.1", "", true),
            row("x86_64", "6.1", "", false),
            row("x86_64", "6.1", "preempt=full", true),
            row("x86_64", "6.12", "", true),
            Row { trials: [("doctor".to_owned(), true)].into(), ..row("aarch64", "6.12", "", true) },
        ];
        let table = Kernels { rows }.table();
        let lines: Vec<_> = table.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "| 6.1 | ✗ grpc | ✓ uprobe_multi |",
                "| 6.12 | ✓ uprobe_multi | (✓) uprobe_multi |",
                "| 6.1 with `preempt=full` | ✓ uprobe_multi |  |",
            ]
        );
    }

    #[test]
    fn the_readme_shows_what_is_committed() {
        let committed = Kernels::committed().unwrap();
        assert_eq!(readme::shown(PLACE).unwrap(), committed.table(), "run `make vm-all`");
        assert!(committed.rows.iter().all(Row::is_well), "{:#?}", committed.rows);
    }
}
