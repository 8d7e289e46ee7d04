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
    /// The file of the secret that signs bearer tokens.
    pub const JWT_SECRET: &str = "jwt-secret";
    /// The file of the key of device tokens' hashes.
    pub const TOKEN_KEY: &str = "token-key";

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
            jwt_secret: secret(&settings.jwt_secret, Self::JWT_SECRET)?,
            token_key: secret(&settings.token_key, Self::TOKEN_KEY)?,
        })
    }

    /// Takes the secrets as [`open`](Self::open) does, but makes none.
    ///
    /// # Errors
    /// When one is neither configured nor in the data directory, or cannot be read.
    pub fn present(settings: &AuthSettings, data_dir: &DataDir) -> Result<Self, Failure> {
        let secret = |given: &Option<Secret>, name: &str, setting: &str| match given {
            Some(secret) => Ok(secret.clone()),
            None => data_dir.present_secret(name)?.ok_or_else(|| {
                let file = data_dir.file(name).display().to_string();
                Failure::Usage(format!(
                    "{setting} is not set and {file} does not exist; nothing is known of this secret"
                ))
            }),
        };
        Ok(Self {
            jwt_secret: secret(&settings.jwt_secret, Self::JWT_SECRET, "POCKET_JWT_SECRET")?,
            token_key: secret(&settings.token_key, Self::TOKEN_KEY, "POCKET_TOKEN_KEY")?,
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
