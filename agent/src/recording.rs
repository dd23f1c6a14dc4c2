//! Recordings: what came out of the ring buffer, and what is needed to make spans of it elsewhere and later.
//!
//! `docs/recording.md` describes the file. In short: [`MAGIC`], the version, then frames of a length, a kind and a
//! content. The content is a record exactly as the kernel's programs wrote it, or a [`Fact`] in JSON, so that whoever is
//! about to send a recording to somebody can read what it says.
//!
//! A recording comes from anybody. Reading one never panics, never takes more memory than [`MAX_FRAME`] for a frame, and
//! shows all that stands before the first damage.

use std::collections::BTreeMap;
use std::io;

use opentelemetry::{Key, KeyValue, Value};
use opentelemetry_sdk::Resource;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::clock::Reading;
use crate::resource::{NamedBy, ProcessIdentity};

mod reader;
mod writer;

pub use lightfoot_probes_abi::record::VERSION as RECORD_VERSION;
pub use reader::Reader;
pub use writer::{Taken, Writer};

/// How a recording starts. No text starts so, and a transfer that takes it for text and changes its line ends shows.
pub const MAGIC: [u8; 8] = *b"\x89LFREC\r\n";
/// Grows with each change that older readers would misunderstand. New fields of facts are none: they are passed over.
pub const VERSION: u32 = 1;
/// The most bytes of a frame's content. The largest fact is a process with two variables of 16 KiB, escaped.
pub const MAX_FRAME: u32 = 1 << 20;

/// A piece of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// Something that was known.
    Fact(Fact),
    /// What the ring buffer held, byte by byte.
    Record(Vec<u8>),
}

/// Something that was known while recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fact {
    /// Who recorded; the first frame.
    Recorder(Recorder),
    /// Both clocks: at the start, and after each time that the time of day was set.
    Clock(Reading),
    /// A process is watched from now on.
    Process(Process),
    /// The name of a type that records of a process mention. It stands before the first of these that comes after
    /// [`Fact::Process`], or before that.
    TypeName(TypeName),
    /// No more records come from a process.
    Ended {
        /// The [`Process::id`].
        process: u32,
    },
    /// What was said on standard error.
    Notice {
        /// What it is about, such as `not watching`.
        what: String,
        /// The rest.
        text: String,
    },
    /// The last frame.
    End {
        /// What was counted, by the names that `lightfoot run` prints; without those that are 0.
        counts: BTreeMap<String, u64>,
    },
}

/// Who recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorder {
    /// The version of Lightfoot.
    pub agent: String,
    /// The version of the records, which belongs to one of Lightfoot: [`RECORD_VERSION`].
    pub records: u8,
    /// The processor, as Go calls it.
    pub architecture: String,
    /// The kernel's release, as `uname -r` has it.
    pub kernel: String,
}

/// A watched process and its Resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// What it is called in this recording. Numbers of processes are used again; these are not.
    pub id: u32,
    /// Its number.
    pub pid: u32,
    /// Its start, in clock ticks after boot.
    pub start_time: u64,
    /// Its network namespace, by its inode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<u64>,
    /// Nanoseconds of `CLOCK_BOOTTIME`: each of its spans starts later.
    pub since: u64,
    /// Its program's path.
    pub executable: String,
    /// What its spans come from.
    pub service_name: String,
    /// What gave it that name.
    pub named_by: NamedBy,
    /// The attributes of its Resource.
    pub attributes: BTreeMap<String, Attribute>,
    /// The schema of these attributes.
    pub schema_url: String,
}

/// The value of an attribute of a Resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Attribute {
    /// A whole number.
    Integer(i64),
    /// Anything else.
    Text(String),
}

/// The name of a type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeName {
    /// The [`Process::id`].
    pub process: u32,
    /// The virtual address of the type's descriptor.
    pub descriptor: u64,
    /// As `reflect` has it, such as `*net.OpError`; `None` if there is none to be told.
    pub name: Option<String>,
}

/// Why a recording cannot be read, or not further. Frames are counted from 1, bytes from the start of the file.
#[derive(Debug, Error)]
pub enum RecordingError {
    /// It does not start as one.
    #[error("it is no recording of Lightfoot")]
    Foreign,
    /// It was written by a newer Lightfoot.
    #[error(
        "it has version {0} of the format, and this Lightfoot reads up to {VERSION}: replay it with a newer one"
    )]
    Newer(u32),
    /// Its records are those of another Lightfoot.
    #[error(
        "its records have version {found}, and this Lightfoot knows {RECORD_VERSION}: replay it with the one that recorded it, \
         {agent}"
    )]
    Records {
        /// Their version.
        found: u8,
        /// Whose they are.
        agent: String,
    },
    /// It ends before its first frame.
    #[error("the file ends within its head, at byte {at}")]
    TruncatedHead {
        /// How long it is.
        at: u64,
    },
    /// It ends within a frame.
    #[error("the file ends within frame {frame}, which starts at byte {at}; what comes before it is whole")]
    Truncated {
        /// Which frame.
        frame: u64,
        /// Where it starts.
        at: u64,
    },
    /// It ends between two frames.
    #[error("the file ends within the recording, after frame {frame}; what was counted is not known")]
    Unfinished {
        /// The last frame.
        frame: u64,
    },
    /// A frame is none.
    #[error("frame {frame}, at byte {at}, is damaged: {what}")]
    Damaged {
        /// Which frame.
        frame: u64,
        /// Where it starts.
        at: u64,
        /// What is wrong.
        what: String,
    },
    /// The operating system refuses.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
}

impl Recorder {
    /// This Lightfoot on this host.
    pub fn here(architecture: &str) -> Self {
        Self {
            agent: env!("CARGO_PKG_VERSION").to_owned(),
            records: RECORD_VERSION,
            architecture: architecture.to_owned(),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        }
    }
}

impl Process {
    /// What is recorded of a process.
    pub fn new(id: u32, identity: &ProcessIdentity, since: u64, executable: String) -> Self {
        let attribute = |(key, value): (&Key, &Value)| {
            let value = match value {
                Value::I64(number) => Attribute::Integer(*number),
                other => Attribute::Text(other.as_str().into_owned()),
            };
            (key.as_str().to_owned(), value)
        };
        Self {
            id,
            pid: identity.pid,
            start_time: identity.start_time,
            network: identity.network,
            since,
            executable,
            service_name: identity.service_name.clone(),
            named_by: identity.named_by,
            attributes: identity.resource.iter().map(attribute).collect(),
            schema_url: identity.resource.schema_url().unwrap_or_default().to_owned(),
        }
    }

    /// The process as it was known.
    pub fn identity(&self) -> ProcessIdentity {
        let attribute = |(key, value): (&String, &Attribute)| match value {
            Attribute::Integer(number) => KeyValue::new(key.clone(), *number),
            Attribute::Text(text) => KeyValue::new(key.clone(), text.clone()),
        };
        let attributes = self.attributes.iter().map(attribute);
        let resource = Resource::builder_empty().with_schema_url(attributes, self.schema_url.clone()).build();
        ProcessIdentity {
            pid: self.pid,
            start_time: self.start_time,
            network: self.network,
            service_name: self.service_name.clone(),
            named_by: self.named_by,
            resource,
            problems: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
