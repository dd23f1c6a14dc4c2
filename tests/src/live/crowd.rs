//! Ten processes of three programs.

use super::{Client, Driven, Folder, LiveError, Server, Target, binary};
use crate::go::Program;

/// As a host may have them: one program that runs several times, servers, and programs that call.
#[derive(Debug)]
pub struct Crowd {
    plain: Vec<Target>,
    servers: Vec<Server>,
    clients: Vec<Driven>,
    _folder: Folder,
}

impl Crowd {
    /// Starts all of them.
    pub fn start() -> Result<Self, LiveError> {
        let folder = Folder::new()?;
        let lifecycle = folder.copy_of(Program::Lifecycle, "lifecycle")?;
        let (truth, calling) = (binary(Program::Truth)?, binary(Program::Clients)?);
        Ok(Self {
            plain: (0..4).map(|_| Target::start(&lifecycle)).collect::<Result<_, _>>()?,
            servers: (0..3).map(|_| Server::start(&truth)).collect::<Result<_, _>>()?,
            clients: (0..3).map(|_| Driven::start(&calling)).collect::<Result<_, _>>()?,
            _folder: folder,
        })
    }

    /// The processes.
    pub fn pids(&self) -> Vec<u32> {
        let servers = self.plain.iter().map(Target::pid).chain(self.servers.iter().map(Server::pid));
        servers.chain(self.clients.iter().map(Driven::pid)).collect()
    }

    /// So many requests to each of the four, one after the other; how many that makes.
    pub fn ask(&self, each: u64) -> Result<u64, LiveError> {
        for target in &self.plain {
            let mut client = Client::tcp(target.address()?);
            for _ in 0..each {
                match client.status("/asked", "") {
                    Ok(200) => {}
                    other => return Err(LiveError::line("a request", &format!("answered by {other:?}"))),
                }
            }
        }
        Ok(each * self.plain.len() as u64)
    }
}
