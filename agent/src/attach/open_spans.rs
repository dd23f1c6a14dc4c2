//! What is open while others open and close spans.

use std::os::fd::AsFd as _;

use aya::maps::{HashMap, Map, MapData};
use lightfoot_probes_abi::in_flight::state;
use lightfoot_probes_abi::{InFlight, InFlightKey, RecordHeader};

use super::{AttachError, map_error};

/// The open spans of all processes.
pub struct OpenSpans {
    map: HashMap<MapData, InFlightKey, InFlight>,
    /// A walk begins again where an element is removed under it, and ends here at the latest.
    most: usize,
}

impl OpenSpans {
    pub(super) fn of(map: &Map, size: u32) -> Result<Self, AttachError> {
        let name = "IN_FLIGHT";
        let Map::HashMap(data) = map else { return Err(AttachError::Missing(name)) };
        let file = data.fd().as_fd().try_clone_to_owned().map_err(AttachError::SharedMap)?;
        let map = MapData::from_fd(file).and_then(|data| HashMap::try_from(Map::HashMap(data)));
        let most = usize::try_from(size).unwrap_or(usize::MAX).saturating_mul(2);
        Ok(Self { map: map.map_err(map_error(name))?, most })
    }

    /// Shows each span that is recorded and has started, with its record as if it ended at `end`. Some may be shown twice. False if
    /// some may not have been shown.
    pub fn each(&self, end: u64, mut show: impl FnMut(&RecordHeader, &[u8])) -> bool {
        let mut seen = 0;
        for key in self.map.keys() {
            seen += 1;
            let Ok(key) = key else { return false };
            if seen > self.most {
                return false;
            }
            // One that is gone has ended.
            let Ok(mut span) = self.map.get(&key, 0) else { continue };
            let header = span.record.header;
            if span.state & (state::UNSAMPLED | state::IDLE) == 0
                && header.span_id != 0
                && let Some(bytes) = span.record_until(end)
            {
                show(&header, bytes);
            }
        }
        true
    }
}
