//! Passwords: hashed with argon2id off the runtime's threads, few at a time.

use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use tokio::sync::Semaphore;

use crate::ChatError;

/// Hashes at once: each takes 19 MiB and a core for some 30 ms.
const AT_ONCE: usize = 2;
/// Hashes that wait; beyond, a login is refused instead of making all later ones late.
const WAITING: usize = 64;

/// Hashes passwords, bounded.
#[derive(Debug, Clone)]
pub(crate) struct Passwords {
    turns: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

impl Passwords {
    pub(crate) fn new() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            places: Arc::new(Semaphore::new(AT_ONCE + WAITING)),
        }
    }

    /// The hash of a new password.
    pub(crate) async fn hash(&self, password: String) -> Result<Box<str>, ChatError> {
        let hashed = self
            .run(move || {
                let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>()).ok()?;
                let hash = Argon2::default().hash_password(password.as_bytes(), &salt);
                hash.ok().map(|hash| hash.to_string().into_boxed_str())
            })
            .await?;
        hashed.ok_or(ChatError::Corrupt("a password"))
    }

    /// Whether a password belongs to a hash. Without a hash it takes as long, and is `false`.
    pub(crate) async fn is_right(
        &self,
        password: String,
        hash: Option<Box<str>>,
    ) -> Result<bool, ChatError> {
        self.run(move || {
            let known = hash.as_deref().unwrap_or(NOBODYS);
            let parsed = PasswordHash::new(known);
            let fits = parsed.is_ok_and(|parsed| {
                let verified = Argon2::default().verify_password(password.as_bytes(), &parsed);
                verified.is_ok()
            });
            fits && hash.is_some()
        })
        .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ChatError> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            return Err(ChatError::Busy);
        };
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let turn = turn.map_err(|_| ChatError::Busy)?;
        // The hash goes on when nobody waits for it any more, and counts for as long.
        let counted = move || {
            let done = work();
            drop((place, turn));
            done
        };
        let done = tokio::task::spawn_blocking(counted).await;
        done.map_err(|_| ChatError::Busy)
    }
}

/// A hash that no password has: so that an unknown user is refused after the same time.
const NOBODYS: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$\
    AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hash_counts_until_it_is_done_also_when_its_request_is_gone() {
        let passwords = Passwords::new();
        let (started, begun) = tokio::sync::oneshot::channel();
        let (finish, finished) = std::sync::mpsc::channel::<()>();
        let request = tokio::spawn({
            let passwords = passwords.clone();
            async move {
                let work = move || {
                    started.send(()).unwrap();
                    finished.recv().unwrap();
                };
                passwords.run(work).await
            }
        });
        begun.await.unwrap();
        request.abort();
        assert!(request.await.unwrap_err().is_cancelled());
        assert_eq!(passwords.turns.available_permits(), AT_ONCE - 1);
        finish.send(()).unwrap();
        let all = u32::try_from(AT_ONCE).unwrap();
        let _all = passwords.turns.acquire_many(all).await.unwrap();
    }

    #[tokio::test]
    async fn a_password_fits_its_own_hash_only() {
        let passwords = Passwords::new();
        let hash = passwords.hash("correct horse".to_owned()).await.unwrap();
        assert!(hash.starts_with("$argon2id$"), "{hash}");
        let other = passwords.hash("correct horse".to_owned()).await.unwrap();
        assert_ne!(hash, other, "each has a salt of its own");
        let fits = |word: &str, hash: Option<Box<str>>| passwords.is_right(word.to_owned(), hash);
        assert!(fits("correct horse", Some(hash.clone())).await.unwrap());
        assert!(!fits("battery staple", Some(hash)).await.unwrap());
        assert!(!fits("correct horse", None).await.unwrap());
        assert!(
            PasswordHash::new(NOBODYS).is_ok(),
            "it is compared like any other"
        );
    }
}
