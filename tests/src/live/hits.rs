//! Probes at every place that the planner would ever choose, and how often each is hit.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use aya::maps::{Array, MapData};
use aya::programs::UProbe;
use aya::programs::uprobe::{UProbeAttachLocation, UProbeAttachPoint, UProbeLink, UProbeScope};
use aya::{Ebpf, EbpfLoader};
use lightfoot::catalog::Role;
use lightfoot::inspect::Program as Facts;
use lightfoot::plan::Plan;

/// What the planner chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The operation that it is of, or the first of them.
    pub title: &'static str,
    /// What it marks.
    pub role: Role,
    /// The function that the catalogue names.
    pub function: &'static str,
    /// Its instruction.
    pub text: String,
    /// In the file.
    pub offset: u64,
}

/// The program that counts hits.
pub struct Hits {
    object: Ebpf,
    counts: Array<MapData, u64>,
}

/// Probes in place; dropping them takes them away.
#[derive(Debug)]
pub struct Probed {
    /// Where they are.
    pub sites: Vec<Site>,
    _link: UProbeLink,
}

/// All sites of all operations that can be watched in a binary, whatever they mark, each once.
pub fn sites(binary: &Path) -> io::Result<Vec<Site>> {
    let facts = Facts::inspect(binary).map_err(io::Error::other)?;
    let plan = Plan::new(&facts);
    let mut found: Vec<Site> = Vec::new();
    let operations = plan.libraries.iter().flat_map(|library| library.operations.iter().flatten());
    for operation in operations.filter(|operation| operation.can_be_watched()) {
        for point in &operation.points {
            let Some((function, sites)) = &point.chosen else { continue };
            for planned in sites {
                let offset = planned.offset.0;
                if found.iter().all(|site| site.offset != offset) {
                    let text = planned.site.text.clone();
                    found.push(Site {
                        title: operation.operation.title,
                        role: point.role,
                        function,
                        text,
                        offset,
                    });
                }
            }
        }
    }
    Ok(found)
}

/// The bytes of a file at some offsets.
pub fn bytes_of(file: &Path, offsets: &[u64]) -> io::Result<Vec<u8>> {
    let file = File::open(file)?;
    let mut bytes = vec![0; offsets.len()];
    for (byte, offset) in bytes.iter_mut().zip(offsets) {
        file.read_exact_at(std::slice::from_mut(byte), *offset)?;
    }
    Ok(bytes)
}

impl Hits {
    /// Loads it.
    pub fn load() -> io::Result<Self> {
        let object = lightfoot_probes::HITS.map_err(io::Error::other)?;
        let mut object = EbpfLoader::new().load(object).map_err(io::Error::other)?;
        let counts = object.take_map("HITS").ok_or(io::ErrorKind::NotFound)?;
        let counts = Array::try_from(counts).map_err(io::Error::other)?;
        program(&mut object)?.load().map_err(io::Error::other)?;
        Ok(Self { object, counts })
    }

    /// Places probes at all sites of a file at once, for whichever processes run it, and begins to count.
    pub fn place(&mut self, file: &Path, sites: Vec<Site>) -> io::Result<Probed> {
        for number in (0..).take(sites.len()) {
            self.counts.set(number, &0, 0).map_err(io::Error::other)?;
        }
        let points = sites.iter().enumerate().map(|(number, site)| UProbeAttachPoint {
            location: UProbeAttachLocation::AbsoluteOffset(site.offset),
            cookie: Some(number as u64),
        });
        let program = program(&mut self.object)?;
        let id = program.attach(points, PathBuf::from(file), UProbeScope::AllProcesses);
        let link = id.and_then(|id| program.take_link(id)).map_err(io::Error::other)?;
        Ok(Probed { sites, _link: link })
    }

    /// How often each site was hit, in their order.
    pub fn counts(&self, probed: &Probed) -> io::Result<Vec<u64>> {
        let numbers = (0..).take(probed.sites.len());
        numbers.map(|number| self.counts.get(&number, 0).map_err(io::Error::other)).collect()
    }
}

fn program(object: &mut Ebpf) -> io::Result<&mut UProbe> {
    object.program_mut("on_hit").ok_or(io::ErrorKind::NotFound)?.try_into().map_err(io::Error::other)
}
