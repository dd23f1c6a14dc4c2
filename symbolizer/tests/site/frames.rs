//! What the DWARF call frame information says about the stack pointer.

use std::collections::HashMap;

use gimli::{BaseAddresses, CfaRule, CieOrFde, DebugFrame, LittleEndian, UnwindContext, UnwindSection};
use object::{Object, ObjectSection};

/// How far the stack pointer has moved since the entry, by the call frame information.
pub(crate) struct Frames {
    /// By the start of the function: ranges and movements.
    rows: HashMap<u64, Vec<(u64, u64, i64)>>,
}

impl Frames {
    pub(crate) fn parse(file: &object::File<'_>, at_entry: i64) -> Self {
        let section = file.section_by_name(".debug_frame").unwrap();
        let mut frame = DebugFrame::new(section.data().unwrap(), LittleEndian);
        frame.set_address_size(8);
        let bases = BaseAddresses::default();
        let mut context = UnwindContext::new();
        let mut rows = HashMap::new();
        let mut entries = frame.entries(&bases);
        while let Some(entry) = entries.next().unwrap() {
            let CieOrFde::Fde(partial) = entry else { continue };
            let fde = partial.parse(DebugFrame::cie_from_offset).unwrap();
            let mut table = fde.rows(&frame, &bases, &mut context).unwrap();
            let mut all = Vec::new();
            while let Some(row) = table.next_row().unwrap() {
                if let CfaRule::RegisterAndOffset { offset, .. } = row.cfa() {
                    all.push((row.start_address(), row.end_address(), at_entry - offset));
                }
            }
            rows.insert(fde.initial_address(), all);
        }
        Self { rows }
    }

    pub(crate) fn movement(&self, function: u64, address: u64) -> Option<i64> {
        let rows = self.rows.get(&function)?;
        rows.iter().find(|(start, end, _)| (*start..*end).contains(&address)).map(|row| row.2)
    }

    /// Whether this is Go's function: C compilers write another section.
    pub(crate) fn knows(&self, function: u64) -> bool {
        self.rows.contains_key(&function)
    }
}
