//! Payloads that are expensive to seal.
