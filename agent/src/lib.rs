//! The Lightfoot agent.
