//! Hashes of people's passwords: argon2id (RFC 9106), off the thread that asks.
//!
//! One hash takes 19 MiB and tens of milliseconds, so that trying passwords is dear. The same would make log-ins a way to
//! exhaust the machine: therefore only so many are computed at once, only so many wait, and the rest is told `Busy`.

use std::fmt;
use std::sync::Arc;
use std::thread::available_parallelism;

use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use async_trait::async_trait;
use pocket_domain::{Invalid, Password, PasswordHash};
use pocket_ports::{AuthError, PasswordHasher};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::stored_hash::StoredHash;

/// Memory in KiB, passes and lanes: the OWASP Password Storage Cheat Sheet's setting of argon2id that needs the fewest CPUs
/// (<https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html>).
const MEMORY_KIB: u32 = 19 * 1_024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
const HASH_BYTES: usize = 32;
/// RFC 9106, section 3.1, recommends 16 bytes.
const SALT_BYTES: usize = 16;

/// Blocks of 1 KiB that are reserved, though fewer are used. Up to 32 MiB glibc's malloc keeps freed memory for later, and a
/// process at rest would hold the memory of its last log-ins; beyond, it is mapped apart and given back. The part that is
/// not used is never touched and costs nothing.
const RESERVED_BLOCKS: usize = 33 * 1_024;

/// How much work the hasher takes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashingLimits {
    /// Passwords that are hashed at once; each takes a core and 19 MiB.
    pub at_once: usize,
    /// Passwords that wait beyond these; more are refused with [`AuthError::Busy`].
    pub waiting: usize,
}

impl Default for HashingLimits {
    /// One a core at once; as many waiting as a Raspberry Pi works off in about two seconds.
    fn default() -> Self {
        Self { at_once: available_parallelism().map_or(1, usize::from), waiting: 64 }
    }
}

/// Hashes passwords with argon2id on the blocking threads of a runtime.
pub struct Argon2PasswordHasher {
    runtime: Handle,
    /// A place in the hasher at all, and a place among those that are computed.
    admitted: Arc<Semaphore>,
    computing: Arc<Semaphore>,
}

impl Argon2PasswordHasher {
    /// A hasher that works on the blocking threads of `runtime`. It may be awaited from any other runtime.
    pub fn new(runtime: Handle, limits: HashingLimits) -> Self {
        let at_once = limits.at_once.clamp(1, Semaphore::MAX_PERMITS / 2);
        let waiting = limits.waiting.min(Semaphore::MAX_PERMITS / 2);
        Self {
            runtime,
            admitted: Arc::new(Semaphore::new(at_once + waiting)),
            computing: Arc::new(Semaphore::new(at_once)),
        }
    }

    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, AuthError> + Send + 'static,
    ) -> Result<T, AuthError> {
        let admitted = Arc::clone(&self.admitted).try_acquire_owned().map_err(|_| AuthError::Busy)?;
        let computing = Arc::clone(&self.computing).acquire_owned().await.map_err(|_| AuthError::Busy)?;
        let task = self.runtime.spawn_blocking(move || {
            // The places belong to the work: a caller that goes away does not end it, so it must not free them either.
            let _places = (admitted, computing);
            work()
        });
        task.await.map_err(|error| AuthError::Backend(error.to_string()))?
    }
}

#[async_trait]
impl PasswordHasher for Argon2PasswordHasher {
    async fn hash(&self, password: Password) -> Result<PasswordHash, AuthError> {
        self.compute(move || hash(password.expose())).await
    }

    async fn verify(&self, attempt: String, hash: Option<PasswordHash>) -> Result<bool, AuthError> {
        self.compute(move || match hash {
            Some(hash) => verify(&attempt, &hash),
            None => nobody(&attempt),
        })
        .await
    }

    fn adopt(&self, text: &str) -> Result<PasswordHash, Invalid> {
        StoredHash::parse(text).map_err(|wrong| Invalid::new("hash", wrong))?;
        Ok(PasswordHash::from_phc(text.to_owned()))
    }

    fn is_current(&self, hash: &PasswordHash) -> bool {
        StoredHash::parse(hash.expose()).is_ok_and(|hash| hash.is_current())
    }
}

impl fmt::Debug for Argon2PasswordHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Argon2PasswordHasher").field("free", &self.admitted.available_permits()).finish_non_exhaustive()
    }
}

pub(crate) fn current_params() -> Result<Params, AuthError> {
    Params::new(MEMORY_KIB, PASSES, LANES, Some(HASH_BYTES)).map_err(backend)
}

fn hash(password: &str) -> Result<PasswordHash, AuthError> {
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt).map_err(backend)?;
    let params = current_params()?;
    let output = argon2id(&params, password.as_bytes(), &salt, HASH_BYTES)?;
    let phc = phc::PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: phc::ParamsString::try_from(&params).map_err(backend)?,
        salt: Some(phc::Salt::new(&salt).map_err(backend)?),
        hash: Some(phc::Output::new(&output).map_err(backend)?),
    };
    Ok(PasswordHash::from_phc(phc.to_string()))
}

/// Compares in the way that the hash names, so that hashes from before a change of it, and from elsewhere, stay good.
fn verify(attempt: &str, hash: &PasswordHash) -> Result<bool, AuthError> {
    let stored = StoredHash::parse(hash.expose());
    let stored = stored.map_err(|wrong| AuthError::Backend(format!("a stored password hash {wrong}")))?;
    if stored.is_of(attempt.as_bytes())? {
        return Ok(true);
    }
    // A quick comparison would tell that the name exists.
    if stored.is_slow() { Ok(false) } else { nobody(attempt) }
}

/// As much work as a comparison, so that the time does not tell which names exist.
fn nobody(attempt: &str) -> Result<bool, AuthError> {
    std::hint::black_box(argon2id(&current_params()?, attempt.as_bytes(), &[0; SALT_BYTES], HASH_BYTES)?);
    Ok(false)
}

pub(crate) fn argon2id(params: &Params, password: &[u8], salt: &[u8], bytes: usize) -> Result<Vec<u8>, AuthError> {
    let blocks = params.block_count();
    let mut memory = Vec::new();
    memory.try_reserve_exact(blocks.max(RESERVED_BLOCKS)).map_err(backend)?;
    memory.resize(blocks, Block::new());
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    let mut output = vec![0; bytes];
    argon2.hash_password_into_with_memory(password, salt, &mut output, &mut memory[..]).map_err(backend)?;
    Ok(output)
}

fn backend(error: impl fmt::Display) -> AuthError {
    AuthError::Backend(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn password(text: &str) -> Password {
        Password::parse(text).unwrap()
    }

    fn hasher(at_once: usize, waiting: usize) -> Argon2PasswordHasher {
        Argon2PasswordHasher::new(Handle::current(), HashingLimits { at_once, waiting })
    }

    #[tokio::test]
    async fn a_password_is_found_again_and_no_other() {
        let hasher = hasher(2, 2);
        let hash = hasher.hash(password("correct horse battery")).await.unwrap();
        assert!(hasher.verify("correct horse battery".into(), Some(hash.clone())).await.unwrap());
        assert!(!hasher.verify("correct horse batterz".into(), Some(hash.clone())).await.unwrap());
        assert!(!hasher.verify(String::new(), Some(hash)).await.unwrap());
    }

    #[tokio::test]
    async fn the_hash_names_its_parameters_and_has_its_own_salt() {
        let hasher = hasher(2, 2);
        let one = hasher.hash(password("correct horse battery")).await.unwrap();
        let other = hasher.hash(password("correct horse battery")).await.unwrap();
        assert!(one.expose().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", one.expose());
        assert_ne!(one.expose(), other.expose());
    }

    #[tokio::test]
    async fn a_hash_of_another_implementation_and_other_parameters_is_understood() {
        // The reference implementation, by argon2-cffi: hash_secret(b"password1234", b"somesaltsomesalt", 3, 1024, 1, 32, Type.ID)
        let hash = PasswordHash::from_phc(
            "$argon2id$v=19$m=1024,t=3,p=1$c29tZXNhbHRzb21lc2FsdA$vN6pqxCTRdVw8hazfhM2+UIXhjeN902mfk7eDzYkr8A".into(),
        );
        assert!(hasher(1, 0).verify("password1234".into(), Some(hash)).await.unwrap());
    }

    #[tokio::test]
    async fn a_damaged_hash_is_an_error_and_no_match() {
        for damaged in
            ["", "plain", "$argon2id$v=19$m=19456,t=2,p=1", "$argon2i$v=19$m=1024,t=3,p=1$c29tZXNhbHQ$AAAA", "$7$"]
        {
            let answer = hasher(1, 0).verify("password1234".into(), Some(PasswordHash::from_phc(damaged.into()))).await;
            assert!(matches!(answer, Err(AuthError::Backend(_))), "{damaged}");
        }
    }

    #[tokio::test]
    async fn a_hash_of_another_program_is_adopted_and_known_as_weaker() {
        let hasher = hasher(1, 0);
        let sha512 = "$6$ZClonuUYDBsAl8F8$+Y2pwSPTTdfHMgweTfq7iv7HPNU3mfBsx5E/b6IdPgT2wNwsw2UHsCMETChh1YHGfI9XQW1sEkrwxbX5VTo1zw==";
        let adopted = hasher.adopt(sha512).unwrap();
        assert!(hasher.verify("secret".into(), Some(adopted.clone())).await.unwrap());
        assert!(!hasher.verify("Secret".into(), Some(adopted.clone())).await.unwrap());
        assert!(!hasher.is_current(&adopted));
        let own = hasher.hash(password("correct horse battery")).await.unwrap();
        assert!(hasher.is_current(&own));
        let refused = hasher.adopt("$2b$12$R9h/cIPz0gi.URNNX3kh2O").unwrap_err();
        assert!(!refused.to_string().contains("R9h"), "{refused}");
    }

    #[tokio::test]
    async fn nobody_has_a_password_and_it_takes_the_same_work() {
        assert!(!hasher(1, 0).verify("password1234".into(), None).await.unwrap());
    }

    #[tokio::test]
    async fn work_beyond_the_limits_is_refused_and_places_come_back() {
        let hasher = Arc::new(hasher(1, 1));
        let (release, gate) = mpsc::channel::<()>();
        let computing = tokio::spawn({
            let hasher = Arc::clone(&hasher);
            async move { hasher.compute(move || Ok(gate.recv().is_ok())).await }
        });
        let waiting = tokio::spawn({
            let hasher = Arc::clone(&hasher);
            async move { hasher.compute(|| Ok(())).await }
        });
        while hasher.admitted.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(hasher.compute(|| Ok(())).await, Err(AuthError::Busy));
        release.send(()).unwrap();
        assert_eq!(computing.await.unwrap(), Ok(true));
        assert_eq!(waiting.await.unwrap(), Ok(()));
        assert_eq!(hasher.compute(|| Ok(())).await, Ok(()));
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_does_not_free_the_place_of_its_work() {
        let hasher = Arc::new(hasher(1, 0));
        let (release, gate) = mpsc::channel::<()>();
        let (started, running) = mpsc::channel();
        let caller = tokio::spawn({
            let hasher = Arc::clone(&hasher);
            async move {
                hasher
                    .compute(move || {
                        started.send(()).unwrap();
                        Ok(gate.recv().is_ok())
                    })
                    .await
            }
        });
        tokio::task::spawn_blocking(move || running.recv().unwrap()).await.unwrap();
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        assert_eq!(hasher.compute(|| Ok(())).await, Err(AuthError::Busy));
        release.send(()).unwrap();
        while hasher.admitted.available_permits() == 0 {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn a_caller_on_another_runtime_is_served() {
        let owner = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let hasher = Argon2PasswordHasher::new(owner.handle().clone(), HashingLimits::default());
        let caller = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert!(!caller.block_on(hasher.verify("password1234".into(), None)).unwrap());
    }
}
