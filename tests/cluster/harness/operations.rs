//! A backend: requests to the HTTP API, each answer held against the document of the API.

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::SOON;
use super::schema::check;

/// A key with all scopes, for nodes whose `api.keys` has it.
pub(crate) const KEY: &str = "swk_all_0123456789abcdefghij";

/// Somebody who calls the API of one node.
#[derive(Clone)]
pub(crate) struct Backend {
    port: u16,
    key: Option<String>,
    /// Further header lines.
    pub(crate) headers: String,
    document: Value,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Value,
}

impl Answer {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The body of a success.
    pub(crate) fn ok(self) -> Value {
        assert!((200..300).contains(&self.status), "{self:?}");
        self.body
    }

    /// The code of a refusal.
    pub(crate) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}

impl Backend {
    pub(crate) async fn new(port: u16, key: Option<&str>) -> Self {
        let mut backend = Self {
            port,
            key: key.map(str::to_owned),
            headers: String::new(),
            document: Value::Null,
        };
        backend.document = backend.send("GET", "/openapi.json", "").await.ok();
        backend
    }

    /// Somebody who asks wherever it is, without a document.
    pub(crate) fn at_all(port: u16, key: &str) -> Self {
        Self {
            port,
            key: Some(key.to_owned()),
            headers: String::new(),
            document: Value::Null,
        }
    }

    /// The document of the API.
    pub(crate) fn document(&self) -> &Value {
        &self.document
    }

    /// The same, with one more header line.
    pub(crate) fn with(&self, header: &str) -> Self {
        Self {
            headers: format!("{}{header}\r\n", self.headers),
            ..self.clone()
        }
    }

    /// The same, with another key.
    pub(crate) fn as_key(&self, key: Option<&str>) -> Self {
        Self {
            key: key.map(str::to_owned),
            ..self.clone()
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", path, &body.to_string()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.call("DELETE", path, "").await
    }

    /// Asks, and checks the answer against the document.
    pub(crate) async fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        let answer = self.send(method, path, body).await;
        check(&self.document, method, path, &answer);
        answer
    }

    /// Asks, without looking at the answer.
    pub(crate) async fn send(&self, method: &str, path: &str, body: &str) -> Answer {
        let key = self.key.as_ref();
        let key = key.map_or(String::new(), |key| {
            format!("Authorization: Bearer {key}\r\n")
        });
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost:{}\r\nConnection: close\r\n{key}{}Content-Length: {}\r\n\r\n{body}",
            self.port,
            self.headers,
            body.len()
        );
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))
            .await
            .expect("the node listens");
        // A node that refuses early may have closed before everything was sent.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut bytes = Vec::new();
        let _ = timeout(2 * SOON, stream.read_to_end(&mut bytes)).await;
        let text = String::from_utf8_lossy(&bytes);
        let (head, body) = text
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("no answer to {method} {path}"));
        let status = head
            .split_whitespace()
            .nth(1)
            .and_then(|code| code.parse().ok());
        Answer {
            status: status.expect("a status"),
            head: head.to_owned(),
            body: match body {
                "" => Value::Null,
                body => {
                    serde_json::from_str(body).unwrap_or_else(|_| Value::String(body.to_owned()))
                }
            },
        }
    }
}
