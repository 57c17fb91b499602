//! The least that is needed to tell a Redis what to do.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    List(Vec<Self>),
    Nothing,
}

impl Value {
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::List(_) | Self::Nothing => "",
        }
    }

    pub(crate) fn texts(&self) -> Vec<String> {
        match self {
            Self::List(parts) => parts.iter().map(|part| part.text().to_owned()).collect(),
            Self::Text(_) | Self::Nothing => Vec::new(),
        }
    }
}

/// One command to the server at this port; five seconds at most.
pub(crate) async fn ask(port: u16, words: &[&str]) -> anyhow::Result<Value> {
    let asking = async {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let mut stream = BufReader::new(stream);
        let mut command = format!("*{}\r\n", words.len());
        for word in words {
            write!(command, "${}\r\n{word}\r\n", word.len())?;
        }
        stream.write_all(command.as_bytes()).await?;
        read(&mut stream).await
    };
    let asked = timeout(Duration::from_secs(5), asking).await;
    asked
        .context("no answer in time")
        .and_then(|answer| answer)
        .with_context(|| format!("{words:?} to {port}"))
}

async fn read(stream: &mut BufReader<TcpStream>) -> anyhow::Result<Value> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let line = line.trim_end();
    let (Some(kind), Some(rest)) = (line.chars().next(), line.get(1..)) else {
        bail!("no answer");
    };
    match kind {
        '+' | ':' => Ok(Value::Text(rest.to_owned())),
        '-' => bail!("refused: {rest}"),
        '$' => {
            let Ok(length) = rest.parse::<usize>() else {
                return Ok(Value::Nothing);
            };
            let mut text = vec![0; length + 2];
            stream.read_exact(&mut text).await?;
            text.truncate(length);
            Ok(Value::Text(String::from_utf8_lossy(&text).into_owned()))
        }
        '*' => {
            let mut parts = Vec::new();
            for _ in 0..rest.parse::<usize>().unwrap_or_default() {
                parts.push(Box::pin(read(stream)).await?);
            }
            Ok(Value::List(parts))
        }
        other => bail!("unknown answer {other}"),
    }
}
