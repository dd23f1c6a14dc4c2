//! What is counted between the kernel's programs and delivery.

/// What can go wrong there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionCounter {
    /// Lost: open when their process ended or was no longer watched.
    OpenAtEnd,
    /// Processes that ended before anything was known of them.
    Unidentified,
    /// Lost: records of processes that nothing is known of.
    WithoutProcess,
    /// Lost: bytes of the ring buffer that are no record.
    Malformed,
    /// Types that hold a context and are not followed.
    ContextTypesLeftOut,
    /// Agents before this one that did not end as they should.
    UncleanStops,
    /// Lost: records for which a recording had no room.
    NotRecorded,
    /// Lines of standard error that nobody will see.
    LogLinesDropped,
    /// Spans of pieces of calls that were still open.
    Segments,
    /// Spans that a rule leaves out.
    LeftOut,
    /// Seconds in which watching was paused, or a part of it.
    PausedSeconds,
    /// Programs that are left alone, for a process died soon after probes were placed.
    Suspensions,
    /// Processes of pods that Kubernetes had not told of when they began to be watched.
    WithoutPod,
    /// Pods of this node that there was no room for.
    PodsLeftOut,
    /// Attributes that annotations of pods ask for and that there was no room for.
    PodAttributesLeftOut,
    /// Tries to learn of pods that failed.
    KubernetesFailures,
    /// Spans that got a link to that of the same call on its other side.
    Joined,
    /// Spans that could have had one of several.
    JoinAmbiguous,
    /// Calls whose other side was not seen.
    JoinUnmatched,
    /// Calls that were forgotten before it could be.
    JoinFull,
}

impl SessionCounter {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 20] = [
        Self::OpenAtEnd,
        Self::Unidentified,
        Self::WithoutProcess,
        Self::Malformed,
        Self::ContextTypesLeftOut,
        Self::UncleanStops,
        Self::NotRecorded,
        Self::LogLinesDropped,
        Self::Segments,
        Self::LeftOut,
        Self::PausedSeconds,
        Self::Suspensions,
        Self::WithoutPod,
        Self::PodsLeftOut,
        Self::PodAttributesLeftOut,
        Self::KubernetesFailures,
        Self::Joined,
        Self::JoinAmbiguous,
        Self::JoinUnmatched,
        Self::JoinFull,
    ];

    /// The name, as it is printed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OpenAtEnd => "spans_open_at_end",
            Self::Unidentified => "processes_unidentified",
            Self::WithoutProcess => "records_without_process",
            Self::Malformed => "records_malformed",
            Self::ContextTypesLeftOut => "context_types_left_out",
            Self::UncleanStops => "unclean_stops",
            Self::NotRecorded => "records_left_out",
            Self::LogLinesDropped => "log_lines_dropped",
            Self::Segments => "segments",
            Self::LeftOut => "spans_left_out",
            Self::PausedSeconds => "paused_seconds",
            Self::Suspensions => "programs_suspended",
            Self::WithoutPod => "processes_without_pod",
            Self::PodsLeftOut => "pods_left_out",
            Self::PodAttributesLeftOut => "pod_attributes_left_out",
            Self::KubernetesFailures => "kubernetes_failures",
            Self::Joined => "joined",
            Self::JoinAmbiguous => "join_ambiguous",
            Self::JoinUnmatched => "join_unmatched",
            Self::JoinFull => "join_full",
        }
    }

    /// One sentence for people.
    pub const fn help(self) -> &'static str {
        match self {
            Self::OpenAtEnd => "Lost: open when their process ended or we stopped watching it.",
            Self::Unidentified => "Processes that ended before anything was known of them.",
            Self::WithoutProcess => "Lost: records of processes that nothing is known of.",
            Self::Malformed => "Lost: records that could not be read.",
            Self::ContextTypesLeftOut => {
                "Types that hold a context and are not followed: parents may have been overlooked."
            }
            Self::UncleanStops => "Earlier agents that did not end as they should: spans may be missing.",
            Self::NotRecorded => {
                "Lost: records left out of the recording, which had its size, or could not be written."
            }
            Self::LogLinesDropped => {
                "Lines that standard error did not take: its reader was too slow, or had gone."
            }
            Self::Segments => "Spans of pieces of calls that were still open, beside those that have ended.",
            Self::LeftOut => "Spans that a rule of the configuration leaves out, as those of health checks.",
            Self::PausedSeconds => {
                "Seconds in which watching was paused, or a part of it: there are no spans of that."
            }
            Self::Suspensions => {
                "Programs left alone for ten minutes: a process of theirs died soon after probes were placed."
            }
            Self::WithoutPod => {
                "Processes of pods that Kubernetes had not told of when they began to be watched: until it did, their spans have no names of it."
            }
            Self::PodsLeftOut => "Pods of this node that there was no room for: spans have no names of them.",
            Self::PodAttributesLeftOut => {
                "Attributes that annotations of a pod ask for and that there was no room for."
            }
            Self::KubernetesFailures => {
                "Tries to learn of the pods of this node that failed: what was known before is used."
            }
            Self::Joined => "Spans that got a link to that of the same call on its other side.",
            Self::JoinAmbiguous => "Spans without such a link, for it could have been one of several.",
            Self::JoinUnmatched => {
                "Calls whose other side was not seen within a minute: the service is not watched here, or is behind something else."
            }
            Self::JoinFull => {
                "Calls that were forgotten before that, for too many wait for their other side."
            }
        }
    }
}
