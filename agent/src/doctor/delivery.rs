//! Where spans would go, and where the mark of a running agent would be.

use std::path::PathBuf;
use std::time::Duration;

use super::Check;
use crate::config::{Config, ConfigError};
use crate::deliver::{self, Flags, OtlpSettings, Settings};
use crate::logs;
use crate::sampler;
use crate::state::{Mark, default_folders};
use crate::variables::Variables;

/// So long an endpoint may take to answer.
pub(super) const ANSWER: Duration = Duration::from_secs(3);

pub(super) fn checks(flags: &Flags, config: Result<Config, ConfigError>) -> Vec<Check> {
    let mut checks = match config {
        Ok(config) => of_config(flags, &config),
        Err(error) => vec![refused(format!("{:#}", anyhow::Error::from(error)))],
    };
    checks.push(state_folder(&default_folders()));
    checks
}

fn refused(reasons: String) -> Check {
    Check::lost("settings", reasons, "`lightfoot run` refuses to start", "correct or unset them").fatal()
}

fn of_config(flags: &Flags, config: &Config) -> Vec<Check> {
    let mut variables =
        Variables::new(|name| std::env::var_os(name)).with_file(config.in_place_of_variables());
    let settings = Settings::read(&mut variables, flags);
    sampler::read(&mut variables);
    logs::level(&mut variables);
    match variables.finish(settings) {
        Err(error) => {
            let refused: Vec<_> =
                error.0.iter().map(|refused| format!("{}: {}", refused.name(), refused.reason)).collect();
            vec![self::refused(refused.join("; "))]
        }
        Ok(settings) if settings.is_disabled => {
            vec![Check::lost("settings", "OTEL_SDK_DISABLED is true", "nothing is watched", "unset it")]
        }
        Ok(settings) => vec![
            Check::good(
                "settings",
                match &config.path {
                    None => "what the environment says can be followed".to_owned(),
                    Some(path) => format!("what the environment and {} say can be followed", path.display()),
                },
            ),
            endpoint(settings.otlp),
        ],
    }
}

/// Sends a request without spans, as `run` sends those with.
fn endpoint(otlp: Option<OtlpSettings>) -> Check {
    let id = "endpoint";
    let Some(mut otlp) = otlp else {
        return Check::note(id, "no OTLP endpoint is set: spans are printed (sudo drops the variables)");
    };
    otlp.timeout = otlp.timeout.min(ANSWER);
    let shown = otlp.endpoint.to_string();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let answer = match runtime {
        Ok(runtime) => runtime.block_on(deliver::try_out(&otlp)),
        Err(error) => Err(error.to_string()),
    };
    match answer {
        Ok(()) => Check::good(id, format!("{shown} takes spans")),
        Err(error) => Check::lost(
            id,
            format!("{shown}: {error}"),
            "spans are kept as long as there is room, then lost",
            "see that a Collector listens there and speaks that protocol (--protocol), and that headers and certificates fit",
        ),
    }
}

fn state_folder(folders: &[PathBuf]) -> Check {
    let id = "state_dir";
    match Mark::try_out(folders) {
        Ok(folder) => Check::good(id, format!("{} can be written", folder.display())),
        Err(error) => Check::lost(
            id,
            error.to_string(),
            "when Lightfoot is killed, the next start does not tell that, nor since when spans are missing",
            "name a folder that can be written with --state-dir",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn a_folder_for_marks_is_tried_and_left_as_it_was() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("state");
        let file = root.path().join("file");
        std::fs::write(&file, "").unwrap();
        let check = state_folder(&[file.join("below"), folder.clone()]);
        assert_eq!(
            (check.status, check.found),
            (Status::Good, format!("{} can be written", folder.display()))
        );
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
        assert_eq!(state_folder(&[file]).status, Status::Lost);
    }
}
