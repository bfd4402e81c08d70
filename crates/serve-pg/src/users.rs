//! Who may connect: names and SCRAM-SHA-256 verifiers, with a decoy for every name that does not exist.

use std::collections::HashMap;
use std::fmt;

use async_trait::async_trait;
use pgwire::api::auth::sasl::scram::{SCRAM_ITERATIONS, gen_salted_password};
use pgwire::api::auth::{AuthSource, LoginInfo, Password};
use pgwire::error::PgWireResult;

use crate::ServeError;

/// A password that never shows itself.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Takes the password as written in the settings.
    pub fn new(password: impl Into<String>) -> Secret {
        Secret(password.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Someone who may connect.
#[derive(Debug, Clone)]
pub struct User {
    /// The role name given by the client, compared as it is written.
    pub name: String,
    /// Kept only until the server has derived a verifier from it.
    pub password: Secret,
}

/// Verifiers of all users; passwords themselves are not kept.
pub(crate) struct Verifiers {
    known: HashMap<String, Password>,
    decoy: [u8; 32],
}

impl Verifiers {
    pub(crate) fn new(users: &[User]) -> Result<Verifiers, ServeError> {
        if users.is_empty() {
            return Err(ServeError::Users(
                "no user is configured; name at least one with a password".into(),
            ));
        }
        let mut known = HashMap::new();
        for user in users {
            if user.name.is_empty() || user.password.0.is_empty() {
                return Err(ServeError::Users(format!(
                    "user {:?} needs a name and a password that is not empty",
                    user.name
                )));
            }
            let salt = rand::random::<[u8; 16]>();
            let salted = gen_salted_password(&user.password.0, &salt, SCRAM_ITERATIONS);
            if known
                .insert(
                    user.name.clone(),
                    Password::new(Some(salt.to_vec()), salted),
                )
                .is_some()
            {
                return Err(ServeError::Users(format!(
                    "user {:?} is named twice",
                    user.name
                )));
            }
        }
        Ok(Verifiers {
            known,
            decoy: rand::random(),
        })
    }
}

impl fmt::Debug for Verifiers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Verifiers({} users)", self.known.len())
    }
}

#[async_trait]
impl AuthSource for Verifiers {
    /// An unknown name gets a salt that is the same at every try and a verifier nobody can meet, so that neither the
    /// conversation nor its length tells whether the name exists.
    async fn get_password(&self, login: &LoginInfo) -> PgWireResult<Password> {
        let name = login.user().unwrap_or_default();
        let mut salt = gen_salted_password(name, &self.decoy, 1);
        salt.truncate(16);
        Ok(match self.known.get(name) {
            Some(password) => password.clone(),
            None => Password::new(Some(salt), rand::random::<[u8; 32]>().to_vec()),
        })
    }
}
