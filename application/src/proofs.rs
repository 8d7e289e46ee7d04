//! What proves whose a client is: the token of a device, a person's bearer token or password, in whichever field a client puts it.

use pocket_domain::DeviceToken;

use crate::gateway::{AccessDenied, ClientAccess, ClientCredentials, DeviceGateway};
use crate::shown::Shown;
use crate::throttle::network_of;

impl DeviceGateway {
    /// A right token is heard however often others failed: it cannot be guessed, and whoever shows it is nobody who guesses.
    pub(crate) async fn prove_although_throttled(
        &self,
        credentials: &ClientCredentials<'_>,
    ) -> Result<ClientAccess, AccessDenied> {
        // A few at a time, so that those who guess do not occupy the database; and addresses in turn, so that one that guesses
        // holds up nobody else.
        let source = network_of(credentials.source);
        let _place = self.throttled_proofs.enter(source).await.map_err(|_| AccessDenied::TooManyAttempts)?;
        let shown = Shown::of(credentials);
        let result = match self.prove_token(&shown).await {
            Err(AccessDenied::BadCredentials) => self.prove_bearer(&shown).await,
            judged => judged,
        };
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
        let Some(person) = shown.person() else { return Err(AccessDenied::BadCredentials) };
        let pass = self.people.prove_password(person, credentials.source, self.clock.now()).await?;
        self.access_of_person(pass).await
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
