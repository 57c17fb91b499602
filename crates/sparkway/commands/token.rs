//! `sparkway token`: make and check credentials.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use secrecy::SecretString;
use serde_json::json;
use sparkway_auth::{Algorithm, AuthSettings, Key, MintError, NewToken, Verifier, mint};
use sparkway_protocol::UserId;

use crate::arguments::{duration, pair};
use crate::exit::{Exit, Failure, Outcome};

/// What to do with a token.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token signed with the shared secret (HS256)
    Create(CreateArgs),
    /// Check a token and show what it says
    Verify(VerifyArgs),
}

/// The shared secret.
#[derive(Debug, Args)]
pub(crate) struct SecretArgs {
    /// The shared secret of the gateway
    #[arg(
        long,
        value_name = "TEXT",
        env = "SPARKWAY__AUTH__HS256_SECRET",
        hide_env_values = true
    )]
    pub(crate) secret: Option<String>,
    /// File that holds it
    #[arg(
        long,
        value_name = "FILE",
        env = "SPARKWAY__AUTH__HS256_SECRET__FILE",
        conflicts_with = "secret"
    )]
    pub(crate) secret_file: Option<PathBuf>,
}

impl SecretArgs {
    fn read(&self) -> Result<Option<String>, Failure> {
        if let Some(path) = &self.secret_file {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
            return Ok(Some(text.trim_end_matches(['\n', '\r']).to_owned()));
        }
        Ok(self.secret.clone())
    }
}

/// What the token says.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sparkway token create --user ada --subscribe 'room:*' --publish 'room:*'\n  \
    sparkway token create --user ada --ttl 10m --claim name='Ada L.'")]
pub(crate) struct CreateArgs {
    /// The user
    #[arg(long, value_name = "ID")]
    pub(crate) user: String,
    /// How long it holds
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    pub(crate) ttl: Duration,
    /// Topics to subscribe to, * at the end for all that begin so; repeatable
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    pub(crate) subscribe: Vec<String>,
    /// Topics to publish to; repeatable
    #[arg(long, value_name = "PATTERN", value_delimiter = ',')]
    pub(crate) publish: Vec<String>,
    /// A further claim; repeatable
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) claims: Vec<(String, String)>,
    /// Who makes it (iss)
    #[arg(long, value_name = "TEXT")]
    pub(crate) issuer: Option<String>,
    /// For whom (aud)
    #[arg(long, value_name = "TEXT")]
    pub(crate) audience: Option<String>,
    /// Which key of the gateway verifies it (kid)
    #[arg(long, value_name = "ID")]
    pub(crate) key_id: Option<String>,
    /// Write it to a file that only its owner reads, instead of stdout
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) secret: SecretArgs,
}

/// What to check, and with which key.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    sparkway token verify eyJhbGciOi…\n  \
    sparkway token create --user ada | sparkway token verify -")]
pub(crate) struct VerifyArgs {
    /// The token; - reads it from stdin
    pub(crate) token: String,
    /// File with the gateway's public key (PEM) instead of the shared secret
    #[arg(long, value_name = "FILE", conflicts_with_all = ["secret", "secret_file"])]
    pub(crate) public_key: Option<PathBuf>,
    /// The only accepted iss
    #[arg(long, value_name = "TEXT")]
    pub(crate) issuer: Option<String>,
    /// An accepted aud; repeatable
    #[arg(long, value_name = "TEXT")]
    pub(crate) audience: Vec<String>,
    #[command(flatten)]
    pub(crate) secret: SecretArgs,
}

/// Carries out a token command.
///
/// # Errors
/// Usage when the key or an argument cannot be used; auth (4) when a token is not valid.
pub(crate) fn run(command: TokenCommand) -> Outcome {
    match command {
        TokenCommand::Create(args) => create(args),
        TokenCommand::Verify(args) => verify(args),
    }
}

fn create(args: CreateArgs) -> Outcome {
    let secret = args.secret.read()?.ok_or_else(no_key)?;
    let user =
        UserId::parse(&args.user).map_err(|error| Failure::usage(format!("--user {error}")))?;
    let mut token = NewToken::new(user, now_s()?).lasting(args.ttl.as_secs());
    token.subscribe = args.subscribe;
    token.publish = args.publish;
    token.claims = args.claims;
    token.issuer = args.issuer;
    token.audience = args.audience;
    token.key_id = args.key_id;
    let minted = mint(&token, &SecretString::from(secret)).map_err(|error| match error {
        MintError::Signing => Failure::failed(error),
        MintError::Key(_)
        | MintError::Pattern(_)
        | MintError::OwnOption(_)
        | MintError::TooLong(_) => Failure::usage(error),
    })?;
    match &args.out {
        Some(path) => keep(path, &minted)?,
        None => writeln!(std::io::stdout(), "{minted}")?,
    }
    Ok(Exit::Ok)
}

/// Writes a secret so that nobody else can read it, not even for a moment.
fn keep(path: &std::path::Path, text: &str) -> Result<(), Failure> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let failed =
        |error: std::io::Error| Failure::failed(format!("--out {}: {error}", path.display()));
    // A file that is there may be open to others: it is replaced, not filled.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    writeln!(file, "{text}").map_err(failed)
}

fn verify(args: VerifyArgs) -> Outcome {
    let token = if args.token == "-" {
        let mut text = String::new();
        std::io::stdin().take(64 * 1024).read_to_string(&mut text)?;
        text.trim().to_owned()
    } else {
        args.token
    };
    let key = match (&args.public_key, args.secret.read()?) {
        (Some(path), _) => {
            let pem = std::fs::read_to_string(path)
                .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
            let algorithm = Algorithm::of_public_key(&pem)
                .ok_or_else(|| Failure::usage(format!("{} holds no public key", path.display())))?;
            Key::new(algorithm, pem)
        }
        (None, Some(secret)) => Key::new(Algorithm::Hs256, secret),
        (None, None) => return Err(no_key()),
    };
    let settings = AuthSettings {
        keys: vec![key],
        issuer: args.issuer,
        audience: args.audience,
        ..AuthSettings::default()
    };
    let identity = Verifier::new(settings)
        .map_err(Failure::usage)?
        .verify(&token, now_s()?)
        .map_err(|error| Failure::new(Exit::Auth, error))?;
    let record = identity.grants.to_record();
    let (subscribe, publish) = record.split_once('\n').unwrap_or_default();
    let line = json!({
        "user": identity.user.as_str(),
        "expires_at": identity.expires_at_ms,
        "subscribe": patterns(subscribe),
        "publish": patterns(publish),
        "token_id": identity.token_id,
        "name": identity.profile.name,
    });
    writeln!(std::io::stdout(), "{line}")?;
    Ok(Exit::Ok)
}

/// The patterns of one line of a grants record.
fn patterns(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

fn no_key() -> Failure {
    Failure::usage("no key: give --secret, --secret-file or SPARKWAY__AUTH__HS256_SECRET")
}

fn now_s() -> Result<u64, Failure> {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map(|since| since.as_secs())
        .map_err(|_| Failure::failed("the clock stands before 1970"))
}
