//! Why bytes are not a chunk that can be read.

/// Why a chunk cannot be read. Nothing of it is to be trusted then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damaged {
    /// It does not begin as a chunk does, or is too short to be one.
    #[error("not a chunk")]
    NotAChunk,
    /// It is of a format this reader does not know, or its version byte is damaged.
    #[error("chunk format {0} is unknown")]
    UnknownVersion(u8),
    /// The checksum is not that of the content.
    #[error("the checksum is wrong")]
    Checksum,
    /// The checksum is right, but the content contradicts itself or the limits; the text says what.
    #[error("the content is wrong: {0}")]
    Content(&'static str),
}
