//! Asking: one signed request within bounds.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use serde::de::DeserializeOwned;
use sparkway_metrics::{BackendMetrics, Hook, HookResult};
use sparkway_outbound::{Call, OutboundError, Target};
use tokio::sync::Semaphore;

use crate::HookSettings;
use crate::ask::{self, Question};
use crate::breaker::Breaker;
use crate::sign::{Secret, sign};

/// Names of the headers that carry the signature.
const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The hook has no URL.
    #[error("the hook is not set")]
    NotSet,
    /// The backend answered 401 or 403: no.
    #[error("the backend said no")]
    Denied,
    /// No answer in time.
    #[error("the backend did not answer in time")]
    Timeout,
    /// Not reached, or another status than 200.
    #[error("the backend cannot be reached, or failed")]
    Failed,
    /// The answer has not the form that it should have.
    #[error("the backend's answer is not understood")]
    Invalid,
    /// It failed too often lately and was not asked.
    #[error("the backend failed too often lately")]
    CircuitOpen,
    /// So many others ask the same that this one had no turn in time: not asked, and no failure of
    /// the backend.
    #[error("too many questions wait for the backend")]
    Busy,
}

/// The present, taken by the caller.
#[derive(Clone, Copy, Debug, Default)]
pub struct Present {
    /// Milliseconds of a clock that never goes back.
    pub mono_ms: u64,
    /// Unix milliseconds.
    pub unix_ms: u64,
}

/// One request.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// To which hook.
    pub hook: Hook,
    /// Its name; the same for a repeated one.
    pub id: &'a str,
    /// The body.
    pub body: Bytes,
    /// How long it may take.
    pub timeout: Duration,
    /// The present.
    pub now: Present,
}

#[derive(Debug)]
struct Door {
    target: Target,
    places: Semaphore,
    breaker: Mutex<Breaker>,
}

/// The application's backends, as one node asks them.
#[derive(Debug)]
pub struct Backends {
    client: sparkway_outbound::Client,
    secrets: Vec<Secret>,
    doors: Vec<Option<Door>>,
    metrics: BackendMetrics,
    timeout: Duration,
    call_timeout: Duration,
    events_timeout: Duration,
}

impl Backends {
    /// Backends as configured, asked through `client`.
    #[must_use]
    pub fn new(
        settings: &HookSettings,
        client: sparkway_outbound::Client,
        metrics: BackendMetrics,
    ) -> Self {
        let door = |hook: &Hook| {
            let target = settings.urls.of(*hook)?.clone();
            Some(Door {
                target,
                places: Semaphore::new(settings.concurrency),
                breaker: Mutex::default(),
            })
        };
        Self {
            client,
            secrets: [&settings.secret, &settings.previous_secret]
                .into_iter()
                .flatten()
                .cloned()
                .collect(),
            doors: Hook::ALL.iter().map(door).collect(),
            metrics,
            timeout: settings.timeout,
            call_timeout: settings.call_timeout,
            events_timeout: settings.events_timeout,
        }
    }

    /// Whether a hook is set.
    #[must_use]
    pub fn has(&self, hook: Hook) -> bool {
        self.door(hook).is_some()
    }

    /// Whether the hook failed too often lately and is left alone.
    #[must_use]
    pub fn is_left_alone(&self, hook: Hook) -> bool {
        let breaker = self.door(hook).map(|door| &door.breaker);
        breaker.is_some_and(|breaker| {
            let breaker = breaker.lock().unwrap_or_else(PoisonError::into_inner);
            breaker.is_open()
        })
    }

    fn door(&self, hook: Hook) -> Option<&Door> {
        self.doors.get(hook as usize)?.as_ref()
    }

    /// Asks a question about a client and reads the answer. `id` names the question: the same one
    /// asked again has the same id.
    ///
    /// # Errors
    /// [`AskError`]: the caller does what the hook's policy says.
    ///
    /// # Cancel safety
    /// Dropped, the backend may have been asked.
    pub async fn ask<Q: Question, A: DeserializeOwned>(
        &self,
        (node, id): (&str, &str),
        client: &ask::Client,
        question: &Q,
        now: Present,
    ) -> Result<A, AskError> {
        let body = ask::body(node, now.unix_ms, client, question);
        let timeout = match Q::HOOK {
            Hook::Rpc => self.call_timeout,
            Hook::Events => self.events_timeout,
            Hook::Connect | Hook::Subscribe | Hook::Publish | Hook::Message | Hook::Refresh => {
                self.timeout
            }
        };
        let request = Request {
            hook: Q::HOOK,
            id,
            body,
            timeout,
            now,
        };
        self.ask_this(request).await
    }

    /// As [`Self::ask`] for a request made by the caller.
    ///
    /// # Errors
    /// [`AskError`].
    ///
    /// # Cancel safety
    /// Dropped, the backend may have been asked.
    pub async fn ask_this<A: DeserializeOwned>(&self, request: Request<'_>) -> Result<A, AskError> {
        self.exchange(request, |body| {
            let body: &[u8] = if body.is_empty() { b"{}" } else { body };
            serde_json::from_slice(body).map_err(|_| AskError::Invalid)
        })
        .await
    }

    /// Tells something; what is answered besides the status does not matter.
    ///
    /// # Errors
    /// [`AskError`]: it may have arrived; tell it again.
    ///
    /// # Cancel safety
    /// Dropped, it may have arrived.
    pub async fn tell(&self, request: Request<'_>) -> Result<(), AskError> {
        let hook = request.hook;
        self.exchange(request, |_| Ok(())).await?;
        self.answered(hook, true);
        Ok(())
    }

    /// How long the delivery of events may take.
    #[must_use]
    pub const fn events_timeout(&self) -> Duration {
        self.events_timeout
    }

    async fn exchange<A>(
        &self,
        request: Request<'_>,
        read: impl FnOnce(&[u8]) -> Result<A, AskError>,
    ) -> Result<A, AskError> {
        let Request {
            hook, timeout, now, ..
        } = request;
        let Some(door) = self.door(hook) else {
            return Err(AskError::NotSet);
        };
        let breaker = || door.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        let longest_ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        if !breaker().admits(now.mono_ms, longest_ms) {
            self.count(hook, HookResult::CircuitOpen);
            return Err(AskError::CircuitOpen);
        }
        let began = Instant::now();
        let asked = self.send(door, request).await;
        let took = began.elapsed();
        let read = asked.and_then(|body| read(&body));
        let failed = matches!(
            read,
            Err(AskError::Timeout | AskError::Failed | AskError::Invalid)
        );
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        if matches!(read, Err(AskError::Busy)) {
            breaker().not_asked();
        } else {
            breaker().ended(failed, now.mono_ms.saturating_add(took_ms));
        }
        let seconds = took.as_secs_f64();
        self.metrics.hook_duration.at(hook).observe(seconds);
        match &read {
            // Whether it is a yes or a no, the caller sees.
            Ok(_) => {}
            Err(error) => self.count(hook, result_of(*error)),
        }
        read
    }

    /// Counts an answer that was understood.
    pub fn answered(&self, hook: Hook, yes: bool) {
        self.count(
            hook,
            if yes {
                HookResult::Ok
            } else {
                HookResult::Denied
            },
        );
    }

    fn count(&self, hook: Hook, result: HookResult) {
        self.metrics.hook_requests.at((hook, result)).inc();
    }

    async fn send(&self, door: &Door, request: Request<'_>) -> Result<Bytes, AskError> {
        let Request {
            id,
            body,
            timeout,
            now,
            ..
        } = request;
        let began = Instant::now();
        let Ok(Ok(_place)) = tokio::time::timeout(timeout, door.places.acquire()).await else {
            return Err(AskError::Busy);
        };
        let waited = began.elapsed();
        let time_s = now.unix_ms / 1000 + waited.as_secs();
        let signature = sign(&self.secrets, id, time_s, &body);
        let value = |text: &str| HeaderValue::from_str(text).map_err(|_| AskError::Failed);
        let headers = vec![
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (ID, value(id)?),
            (TIMESTAMP, value(&signature.timestamp)?),
            (SIGNATURE, value(&signature.signature)?),
        ];
        let call = Call {
            method: Method::POST,
            target: &door.target,
            headers,
            body,
        };
        let rest = timeout.saturating_sub(waited);
        let answer = Box::pin(self.client.send(call, rest)).await;
        let answer = answer.map_err(|error| match error {
            OutboundError::Timeout(_) => AskError::Timeout,
            OutboundError::Busy => AskError::Busy,
            OutboundError::TooLong(_) => AskError::Invalid,
            OutboundError::Refused | OutboundError::Connect(_) | OutboundError::Broken(_) => {
                AskError::Failed
            }
        })?;
        match answer.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(AskError::Denied),
            status if status.is_success() => Ok(answer.body),
            _ => Err(AskError::Failed),
        }
    }
}

const fn result_of(error: AskError) -> HookResult {
    match error {
        AskError::Denied => HookResult::Denied,
        AskError::Timeout => HookResult::Timeout,
        AskError::NotSet | AskError::Failed => HookResult::Error,
        AskError::Invalid => HookResult::Invalid,
        AskError::CircuitOpen => HookResult::CircuitOpen,
        AskError::Busy => HookResult::Busy,
    }
}

#[cfg(test)]
mod tests {
    use serde::de::IgnoredAny;
    use sparkway_metrics::Metrics;
    use sparkway_outbound::{Client, OutboundSettings};
    use tokio::net::TcpListener;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    async fn call(backends: &Backends, timeout: Duration) -> Result<IgnoredAny, AskError> {
        let request = Request {
            hook: Hook::Rpc,
            id: "id",
            body: Bytes::from_static(b"{}"),
            timeout,
            now: Present::default(),
        };
        backends.ask_this(request).await
    }

    #[tokio::test]
    async fn a_question_without_a_place_is_no_failure_of_the_backend() {
        let slow = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = slow.local_addr().unwrap().port();
        let mut settings = HookSettings {
            concurrency: 1,
            ..HookSettings::default()
        };
        let target = Target::parse(&format!("http://localhost:{port}/hook")).unwrap();
        settings.urls.rpc = Some(target);
        let client = Client::new(&OutboundSettings::default()).unwrap();
        let backends = Backends::new(&settings, client, Metrics::new().backend.clone());
        let crowd = async {
            let _never_answered = slow.accept().await.unwrap();
            for _ in 0..30 {
                let answer = call(&backends, Duration::from_millis(5)).await;
                assert_eq!(answer.unwrap_err(), AskError::Busy);
            }
        };
        tokio::select! {
            called = call(&backends, LONG) => panic!("answered: {called:?}"),
            () = crowd => {}
        }
        assert!(!backends.is_left_alone(Hook::Rpc));
    }
}
