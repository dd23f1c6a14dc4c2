//! The values of the chart that are documented.

use std::fs;
use std::path::Path;

/// Each block of YAML in docs/install-kubernetes.md.
pub(crate) fn documented() -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/install-kubernetes.md");
    let text = fs::read_to_string(page).unwrap();
    let blocks = text.split("\n```").skip(1).step_by(2);
    blocks.filter_map(|block| Some(block.strip_prefix("yaml\n")?.to_owned() + "\n")).collect()
}
