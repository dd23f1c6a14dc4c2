//! `support`: puts what the test `matrix` has found into `docs/support.json` and README.md.

use std::env;
use std::error::Error;

use lightfoot_tests::support::Support;

fn main() -> Result<(), Box<dyn Error>> {
    let own = env::current_exe()?;
    // Cargo gives tests a folder beside that of its profile.
    let target = own.ancestors().nth(2).ok_or("it was not built by Cargo")?;
    Support::read(&target.join("tmp/support.json"))?.document()?;
    Ok(())
}
