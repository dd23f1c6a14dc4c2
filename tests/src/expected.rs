//! What spans must say, told from the truth by the semantic conventions alone.

pub mod call;
pub mod request;
