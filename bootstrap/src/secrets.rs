//! The platform's own secrets: as configured, or generated on the first start and kept in the data directory.

use pocket_ports::Entropy;

use crate::Failure;
use crate::config::{AuthSettings, Secret};
use crate::data_dir::DataDir;

/// The platform's own secrets.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// Signs bearer tokens.
    pub jwt_secret: Secret,
    /// Keys the hashes of device tokens.
    pub token_key: Secret,
}

impl Secrets {
    /// Takes the secrets of the configuration, and for those that are absent the ones in the data directory.
    ///
    /// # Errors
    /// When a secret cannot be kept in the data directory or read from it.
    pub fn open(settings: &AuthSettings, data_dir: &DataDir, entropy: &dyn Entropy) -> Result<Self, Failure> {
        let secret = |given: &Option<Secret>, name: &str| match given {
            Some(secret) => Ok(secret.clone()),
            None => data_dir.secret(name, |bytes| entropy.fill(bytes)),
        };
        Ok(Self {
            jwt_secret: secret(&settings.jwt_secret, "jwt-secret")?,
            token_key: secret(&settings.token_key, "token-key")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;

    struct Sevens;

    impl Entropy for Sevens {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.fill(7);
        }
    }

    #[test]
    fn configured_secrets_win_and_are_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(dir.path()).unwrap();
        let given = "s".repeat(32);
        let settings = Settings::with([("auth.jwt_secret", &*given)]).unwrap();
        let secrets = Secrets::open(&settings.auth, &data_dir, &Sevens).unwrap();
        assert_eq!(secrets.jwt_secret.expose(), given);
        assert_eq!(secrets.token_key.expose(), "07".repeat(32));
        assert!(!data_dir.file("jwt-secret").exists() && data_dir.file("token-key").exists());
    }
}
