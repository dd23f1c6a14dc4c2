//! The counters that name lost spans.

use lightfoot::counters::{self, Counter as DeliveryCounter, SessionCounter};
use lightfoot_probes_abi::Counter as KernelCounter;

use super::Outcome;

/// All counters by name, each with whether it says of itself that it counts spans that are lost.
pub fn loss_counters() -> Vec<(String, bool)> {
    let is_loss = |help: &str| help.trim_start().starts_with("Lost: ");
    let kernel = KernelCounter::ALL.iter().map(|counter| is_loss(counter.help()));
    let session = SessionCounter::ALL.into_iter().map(|counter| is_loss(counter.help()));
    let delivery = DeliveryCounter::ALL.into_iter().map(DeliveryCounter::is_loss);
    let names = counters::names().into_iter().map(|(name, _)| name);
    names.zip(kernel.chain(session).chain(delivery)).collect()
}

impl Outcome {
    /// What was counted as lost, by the name of the counter.
    pub fn losses(&self) -> Vec<(String, u64)> {
        let lost = loss_counters().into_iter().filter(|(_, is_loss)| *is_loss).map(|(name, _)| name);
        lost.map(|name| (self.count(&name), name))
            .filter(|(count, _)| *count > 0)
            .map(|(count, name)| (name, count))
            .collect()
    }
}
