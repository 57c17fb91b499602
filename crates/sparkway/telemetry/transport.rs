//! Exports over the one client of outgoing requests: bounded, with deadlines, behind its guard.

use std::time::Duration;

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use sparkway_outbound::{Call, Client, Target};

/// Sends what the exporter of the SDK has encoded.
#[derive(Debug)]
pub(super) struct Transport {
    pub(super) client: Client,
    /// For one request with its answer.
    pub(super) deadline: Duration,
}

impl HttpClient for Transport {
    fn send_bytes<'life, 'a>(
        &'life self,
        request: Request<Bytes>,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>
    where
        'life: 'a,
        Self: 'a,
    {
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let target = Target::parse(&head.uri.to_string())?;
            let headers = head.headers.iter();
            let call = Call {
                method: head.method,
                target: &target,
                headers: headers
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect(),
                body,
            };
            let answer = self.client.send(call, self.deadline).await?;
            let mut response = Response::new(answer.body);
            *response.status_mut() = answer.status;
            *response.headers_mut() = answer.headers;
            Ok(response)
        })
    }
}
