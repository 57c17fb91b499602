//! Plain HTTP of the chat: `/api/auth`, `/api/users`, `/api/messages`.
//!
//! JSON both ways. Who asks shows his token as `Authorization: Bearer`; a refusal is
//! `{"message"}` with a status that says whose fault it is.

mod accounts;
mod attempts;
mod conversations;

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Method, Request, StatusCode};
use serde::Serialize;
use serde_json::json;
use sparkway_gateway::site::{Answer, RequestHead, Response, ResponseFuture, Site};
use sparkway_protocol::CloseReason;

use crate::users::User;
use crate::{Chat, ChatError};

pub(crate) use attempts::Attempts;

/// Answers requests under `/api` on the public listener of a node with a chat.
#[derive(Clone)]
pub struct ChatSite(pub Arc<Chat>);

impl fmt::Debug for ChatSite {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ChatSite")
    }
}

const PREFIXES: [&str; 3] = ["/api/auth", "/api/users", "/api/messages"];

impl Site for ChatSite {
    fn answer(&self, head: &RequestHead<'_>) -> Option<Answer> {
        let path = head.path();
        let is_ours = PREFIXES.iter().any(|prefix| {
            let rest = path.strip_prefix(prefix);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        if !is_ours {
            return None;
        }
        let chat = Arc::clone(&self.0);
        let from = chat.host.get().map(|host| host.network_of(head));
        let from = from.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
        Some(Answer::Serve(Box::new(move |request| {
            let answered: ResponseFuture = Box::pin(async move {
                chat.serve(from, &request)
                    .await
                    .unwrap_or_else(Refusal::answer)
            });
            answered
        })))
    }
}

/// Why a request is refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    message: &'static str,
    retry_after_s: Option<u64>,
}

pub(crate) const fn refuse(status: StatusCode, message: &'static str) -> Refusal {
    Refusal {
        status,
        message,
        retry_after_s: None,
    }
}

impl Refusal {
    fn answer(self) -> Response {
        let body = json!({ "message": self.message });
        let mut response = answer(self.status, &body);
        if let Some(seconds) = self.retry_after_s {
            let headers = response.headers_mut();
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<ChatError> for Refusal {
    fn from(error: ChatError) -> Self {
        match error {
            ChatError::Busy => refuse(StatusCode::SERVICE_UNAVAILABLE, "Too busy, try again"),
            error => {
                tracing::warn!(%error, "a request was not carried out");
                refuse(StatusCode::SERVICE_UNAVAILABLE, "Server error")
            }
        }
    }
}

/// A JSON answer.
pub(crate) fn answer(status: StatusCode, body: &impl Serialize) -> Response {
    // Texts and numbers cannot fail to be written.
    let text = serde_json::to_vec(body).unwrap_or_default();
    let mut response = Response::new(Bytes::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl Chat {
    async fn serve(
        self: &Arc<Self>,
        from: IpAddr,
        request: &Request<Bytes>,
    ) -> Result<Response, Refusal> {
        let path = request.uri().path().trim_end_matches('/');
        let segments: Vec<&str> = path.split('/').skip(2).collect();
        match (request.method(), segments.as_slice()) {
            (&Method::POST, ["auth", "register"]) => self.register(from, request.body()).await,
            (&Method::POST, ["auth", "login"]) => self.login(from, request.body()).await,
            (&Method::GET, ["users"]) => {
                let asker = self.asker(request).await?;
                self.list_users(&asker, request.uri().query()).await
            }
            (&Method::GET, ["users", id]) => {
                let asker = self.asker(request).await?;
                self.show_user(&asker, id).await
            }
            (&Method::GET, ["messages", other]) => {
                let asker = self.asker(request).await?;
                self.list_messages(&asker, other, request.uri().query())
                    .await
            }
            (&Method::POST, ["messages"]) => {
                let asker = self.asker(request).await?;
                self.may_send(&asker)?;
                self.post_message(&asker, request.body()).await
            }
            (_, ["auth", "register" | "login"] | ["users" | "messages", ..]) => {
                Err(refuse(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed"))
            }
            _ => Err(refuse(StatusCode::NOT_FOUND, "Not found")),
        }
    }

    /// Who asks.
    async fn asker(&self, request: &Request<Bytes>) -> Result<User, Refusal> {
        let header = request.headers().get(AUTHORIZATION);
        let token = header
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        let missing = refuse(StatusCode::UNAUTHORIZED, "Authentication required");
        let token = token.ok_or(missing)?;
        match self.identify(token).await {
            Ok((_, user)) => Ok(user),
            Err(CloseReason::UnknownUser) => {
                Err(refuse(StatusCode::UNAUTHORIZED, "User not found"))
            }
            Err(CloseReason::NotAdmitted) => {
                Err(refuse(StatusCode::SERVICE_UNAVAILABLE, "Server error"))
            }
            Err(_) => Err(refuse(StatusCode::UNAUTHORIZED, "Invalid token")),
        }
    }
}
