use std::time::Duration;

use bytes::Bytes;
use http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::{Answer, Call, Client, OutboundError, OutboundSettings, Target};

const DEADLINE: Duration = Duration::from_secs(5);

async fn backend() -> (TcpListener, Target) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let target = Target::parse(&format!("http://localhost:{port}/hook")).unwrap();
    (listener, target)
}

fn client(settings: &OutboundSettings) -> Client {
    Client::new(settings).unwrap()
}

async fn post(
    client: &Client,
    target: &Target,
    deadline: Duration,
) -> Result<Answer, OutboundError> {
    let call = Call {
        method: Method::POST,
        target,
        headers: vec![],
        body: Bytes::from_static(b"{}"),
    };
    client.send(call, deadline).await
}

/// Reads one request with a body of two bytes and answers it.
async fn answer(stream: &mut TcpStream, response: &str) -> String {
    let mut seen = Vec::new();
    while !seen.ends_with(b"{}") {
        assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0, "closed early");
    }
    stream.write_all(response.as_bytes()).await.unwrap();
    String::from_utf8(seen).unwrap()
}

#[tokio::test]
async fn an_answer_comes_whole_and_the_connection_is_used_again() {
    let (listener, target) = backend().await;
    let client = client(&OutboundSettings::default());
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let ok = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        let head = answer(&mut stream, ok).await;
        answer(&mut stream, ok).await;
        head
    };
    let ask = async {
        let first = post(&client, &target, DEADLINE).await.unwrap();
        let second = post(&client, &target, DEADLINE).await.unwrap();
        (first.body, second.status)
    };
    let (head, (body, status)) = tokio::join!(serve, ask);
    assert!(head.starts_with("POST /hook HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("user-agent: sparkway/"), "{head}");
    assert_eq!((&*body, status.as_u16()), (&b"ok"[..], 200));
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let (listener, target) = backend().await;
    let client = client(&OutboundSettings::default());
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let text =
            "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n";
        answer(&mut stream, text).await;
    };
    let ((), answer) = tokio::join!(serve, post(&client, &target, DEADLINE));
    assert_eq!(answer.unwrap().status.as_u16(), 302);
}

#[tokio::test]
async fn a_silent_backend_costs_its_deadline_and_no_more() {
    let (_listener, target) = backend().await;
    let client = client(&OutboundSettings::default());
    let short = Duration::from_millis(50);
    let error = post(&client, &target, short).await.unwrap_err();
    assert!(matches!(error, OutboundError::Timeout(d) if d == short));
    assert!(!error.was_not_sent());
}

#[tokio::test]
async fn an_answer_over_the_bound_is_refused_with_and_without_a_length() {
    for head in ["content-length: 11\r\n", "connection: close\r\n"] {
        let (listener, target) = backend().await;
        let settings = OutboundSettings {
            response_bytes: 10,
            ..OutboundSettings::default()
        };
        let client = client(&settings);
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            answer(
                &mut stream,
                &format!("HTTP/1.1 200 OK\r\n{head}\r\n12345678901"),
            )
            .await;
        };
        let ((), error) = tokio::join!(serve, post(&client, &target, DEADLINE));
        assert!(
            matches!(error, Err(OutboundError::TooLong(10))),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_metadata_service_is_never_asked() {
    let client = client(&OutboundSettings::default());
    let target = Target::parse("http://169.254.169.254/latest/meta-data").unwrap();
    let error = post(&client, &target, DEADLINE).await.unwrap_err();
    assert!(matches!(error, OutboundError::Refused), "{error}");
    assert!(error.was_not_sent());
}

#[tokio::test]
async fn the_name_is_judged_by_what_it_resolves_to() {
    // 0 is refused; resolvers read it as 0.0.0.0 although it is no literal address here.
    let client = client(&OutboundSettings::default());
    let target = Target::parse("http://0/").unwrap();
    let error = post(&client, &target, DEADLINE).await.unwrap_err();
    assert!(matches!(error, OutboundError::Refused), "{error}");
}

#[tokio::test]
async fn requests_over_the_bound_wait_and_give_up_in_time() {
    let (_listener, target) = backend().await;
    let settings = OutboundSettings {
        requests: 1,
        ..OutboundSettings::default()
    };
    let client = client(&settings);
    let (first, second) = tokio::join!(
        post(&client, &target, Duration::from_millis(400)),
        post(&client, &target, Duration::from_millis(50)),
    );
    assert!(matches!(first, Err(OutboundError::Timeout(_))));
    assert!(matches!(second, Err(OutboundError::Busy)), "{second:?}");
}

#[tokio::test]
async fn a_closed_port_says_that_nothing_was_sent() {
    let (listener, target) = backend().await;
    drop(listener);
    let client = client(&OutboundSettings::default());
    let error = post(&client, &target, DEADLINE).await.unwrap_err();
    assert!(matches!(error, OutboundError::Connect(_)), "{error}");
}

#[test]
fn authorities_that_cannot_be_read_are_told_at_start() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let settings = OutboundSettings {
        ca_file: Some(file.path().to_owned()),
        ..OutboundSettings::default()
    };
    assert!(Client::new(&settings).is_err());
}
