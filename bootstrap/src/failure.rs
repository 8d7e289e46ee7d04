//! Why the binary stopped, and its exit code.

use pocket_domain::Invalid;

use crate::config::Problems;

/// Why the binary stopped.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line or the configuration is wrong. Exit code 2.
    #[error("{0}")]
    Usage(String),
    /// Something outside is not as it must be: a database, a port, a file. Exit code 1.
    #[error("{0}")]
    Other(String),
}

impl Failure {
    /// What was being done, and what came in its way.
    pub fn while_doing(what: impl std::fmt::Display, error: impl std::fmt::Display) -> Self {
        Self::Other(format!("{what}: {error}"))
    }

    /// The exit code of the process.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Other(_) => 1,
        }
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::Usage(problems.to_string())
    }
}

impl From<Invalid> for Failure {
    fn from(error: Invalid) -> Self {
        Self::Usage(error.to_string())
    }
}
