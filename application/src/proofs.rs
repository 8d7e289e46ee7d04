//! What proves whose a client is: the token of a device, its own user name and password, a person's bearer token or password, in
//! whichever field a client puts it.

use pocket_domain::{DeviceLoginId, DeviceToken};
use pocket_ports::DeviceLogin;

use crate::credential_cache::Known;
use crate::gateway::{AccessDenied, ClientAccess, ClientCredentials, DeviceGateway, Proof};
use crate::passwords::Owner;
use crate::shown::Shown;
use crate::throttle::network_of;

impl DeviceGateway {
    /// A right token is heard however often others failed: it cannot be guessed, and whoever shows it is nobody who guesses. So is a
    /// password that was right a short time ago.
    pub(crate) async fn prove_although_throttled(
        &self,
        credentials: &ClientCredentials<'_>,
    ) -> Result<ClientAccess, AccessDenied> {
        // A few at a time, so that those who guess do not occupy the database; and addresses in turn, so that one that guesses
        // holds up nobody else.
        let source = network_of(credentials.source);
        let _place = self.throttled_proofs.enter(source).await.map_err(|_| AccessDenied::TooManyAttempts)?;
        let shown = Shown::of(credentials);
        let mut result = self.prove_token(&shown).await;
        if matches!(result, Err(AccessDenied::BadCredentials)) {
            result = self.prove_bearer(&shown).await;
        }
        if matches!(result, Err(AccessDenied::BadCredentials)) {
            result = self.recall_password(&shown).await;
        }
        result.map_err(|denied| match denied {
            AccessDenied::BadCredentials => AccessDenied::TooManyAttempts,
            denied => denied,
        })
    }

    pub(crate) async fn prove(&self, credentials: &ClientCredentials<'_>) -> Result<ClientAccess, AccessDenied> {
        let shown = Shown::of(credentials);
        match self.prove_token(&shown).await {
            Err(AccessDenied::BadCredentials) => {}
            judged => return judged,
        }
        match self.prove_bearer(&shown).await {
            Err(AccessDenied::BadCredentials) => {}
            judged => return judged,
        }
        let Some(password) = shown.password() else { return Err(AccessDenied::BadCredentials) };
        let owner = self.people.prove_password(&password, credentials.source, self.clock.now()).await?;
        self.access_of_owner(owner).await
    }

    /// A password that was right a short time ago, which costs no hash.
    async fn recall_password(&self, shown: &Shown<'_>) -> Result<ClientAccess, AccessDenied> {
        let password = shown.password().ok_or(AccessDenied::BadCredentials)?;
        let owner = self.people.recall_password(&password, self.clock.now()).await?;
        self.access_of_owner(owner).await
    }

    async fn access_of_owner(&self, owner: Owner) -> Result<ClientAccess, AccessDenied> {
        match owner {
            Owner::Person(pass) => self.access_of_person(pass).await,
            Owner::Device(login) => self.access_of_login(login).await,
        }
    }

    /// The access that a device's own log-in gives.
    async fn access_of_login(&self, login: DeviceLogin) -> Result<ClientAccess, AccessDenied> {
        let DeviceLogin { id, credential, .. } = login;
        let rules = self.rules_of(&credential).await?;
        self.judge(Proof::Login(id), Known { credential, rules })
    }

    /// Judges a connection of a device anew by the log-in that it was opened with.
    pub(crate) async fn recheck_login(
        &self,
        access: &ClientAccess,
        id: DeviceLoginId,
    ) -> Result<ClientAccess, AccessDenied> {
        let device = access.principal.device().ok_or(AccessDenied::BadCredentials)?;
        let login = self.people.device_logins.get(access.tenant_id, device).await?;
        let login = login.filter(|login| login.id == id).ok_or(AccessDenied::BadCredentials)?;
        self.access_of_login(login).await
    }

    /// The token of a device, as the password or the user name.
    async fn prove_token(&self, shown: &Shown<'_>) -> Result<ClientAccess, AccessDenied> {
        let (password, username) = (shown.token_in_password(), shown.token_in_username());
        let mut denied = AccessDenied::BadCredentials;
        for (token, other) in [(password.as_ref(), username.as_ref()), (username.as_ref(), None)] {
            let Some(token) = token else { continue };
            match self.access(self.token_hasher.hash(token)).await {
                Ok(access) => {
                    let is_of_another = shown.names_another(&access) || self.is_of_another(other, &access).await?;
                    return if is_of_another { Err(AccessDenied::BadCredentials) } else { Ok(access) };
                }
                Err(AccessDenied::BadCredentials) => {}
                Err(other) => denied = other,
            }
        }
        Err(denied)
    }

    /// Whether a second token is right as well, and another device's.
    async fn is_of_another(&self, token: Option<&DeviceToken>, access: &ClientAccess) -> Result<bool, AccessDenied> {
        let Some(token) = token else { return Ok(false) };
        match self.access(self.token_hasher.hash(token)).await {
            Ok(other) => Ok(other.principal != access.principal),
            Err(AccessDenied::Unavailable(cause)) => Err(AccessDenied::Unavailable(cause)),
            Err(_) => Ok(false),
        }
    }

    async fn prove_bearer(&self, shown: &Shown<'_>) -> Result<ClientAccess, AccessDenied> {
        let Some((username, token)) = shown.bearer() else { return Err(AccessDenied::BadCredentials) };
        let pass = self.people.prove(username, token, self.clock.now()).await?;
        self.access_of_person(pass).await
    }
}
