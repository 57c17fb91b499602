use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::EncodingKey;
use secrecy::SecretString;
use serde_json::json;
use sparkway_protocol::{Code, TopicName};

use super::*;
use crate::mint::sign;
use crate::{Claim, MintError, NewToken, mint};

const NOW: u64 = 1_800_000_000;
const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const OTHER: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";
const RSA_1024: &str = include_str!("../../../testdata/rsa1024.public.pem");
const P384: &str = include_str!("../../../testdata/p384.public.pem");

/// A private key and its public half.
struct Pair {
    signing: EncodingKey,
    public_pem: String,
    private_pem: String,
}

fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<&str> = body
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

fn pair(algorithm: Algorithm) -> Pair {
    let random = SystemRandom::new();
    let (private, public): (Vec<u8>, Vec<u8>) = match algorithm {
        Algorithm::Rs256 | Algorithm::Ps256 => {
            let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
            let private = AsDer::<Pkcs8V1Der<'_>>::as_der(&key).unwrap();
            let public = AsDer::<PublicKeyX509Der<'_>>::as_der(key.public_key()).unwrap();
            (private.as_ref().into(), public.as_ref().into())
        }
        Algorithm::Es256 => {
            let private =
                EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
            let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, private.as_ref())
                .unwrap();
            let public = AsDer::<PublicKeyX509Der<'_>>::as_der(key.public_key()).unwrap();
            (private.as_ref().into(), public.as_ref().into())
        }
        Algorithm::EdDsa => {
            let private = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
            let key = Ed25519KeyPair::from_pkcs8(private.as_ref()).unwrap();
            let public = AsDer::<PublicKeyX509Der<'_>>::as_der(key.public_key()).unwrap();
            (private.as_ref().into(), public.as_ref().into())
        }
        Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => panic!("no key pair"),
    };
    let private_pem = pem("PRIVATE KEY", &private);
    let signing = match algorithm {
        Algorithm::Es256 => EncodingKey::from_ec_pem(private_pem.as_bytes()),
        Algorithm::EdDsa => EncodingKey::from_ed_pem(private_pem.as_bytes()),
        _ => EncodingKey::from_rsa_pem(private_pem.as_bytes()),
    };
    Pair {
        signing: signing.unwrap(),
        public_pem: pem("PUBLIC KEY", &public),
        private_pem,
    }
}

fn with_keys(keys: Vec<Key>) -> AuthSettings {
    AuthSettings {
        keys,
        ..AuthSettings::default()
    }
}

fn hs256() -> AuthSettings {
    with_keys(vec![Key::new(Algorithm::Hs256, SECRET)])
}

fn verifier(settings: AuthSettings) -> Verifier {
    Verifier::new(settings).unwrap()
}

fn claims() -> Value {
    json!({"sub": "alice", "exp": NOW + 60})
}

/// A token signed with SECRET and any header and payload.
fn token(header: &Value, payload: &Value) -> String {
    raw(header, payload.to_string().as_bytes())
}

fn raw(header: &Value, payload: &[u8]) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    sign(header, payload, Algorithm::Hs256, &key).unwrap()
}

fn verdict(payload: &Value) -> Result<Identity, AuthError> {
    verdict_of(hs256(), payload)
}

fn verdict_of(settings: AuthSettings, payload: &Value) -> Result<Identity, AuthError> {
    verifier(settings).verify(&token(&json!({"alg": "HS256"}), payload), NOW)
}

fn refusal_of_header(header: &Value) -> Option<AuthError> {
    verifier(hs256())
        .verify(&token(header, &claims()), NOW)
        .err()
}

fn merged(mut base: Value, extra: &Value) -> Value {
    for (name, value) in extra.as_object().unwrap() {
        base[name] = value.clone();
    }
    base
}

#[test]
fn every_algorithm_verifies_its_own_tokens_and_nobody_elses() {
    for algorithm in Algorithm::ALL {
        let (own, other, key) = if algorithm.is_shared_secret() {
            let own = EncodingKey::from_secret(SECRET.as_bytes());
            let other = EncodingKey::from_secret(OTHER.as_bytes());
            (own, other, Key::new(algorithm, SECRET))
        } else {
            let own = pair(algorithm);
            let key = Key::new(algorithm, own.public_pem);
            (own.signing, pair(algorithm).signing, key)
        };
        let verifier = verifier(with_keys(vec![key]));
        let header = json!({"alg": algorithm.as_str(), "typ": "JWT"});
        let payload = claims().to_string();
        let good = sign(&header, payload.as_bytes(), algorithm, &own).unwrap();
        let identity = verifier.verify(&good, NOW).unwrap();
        assert_eq!(identity.user.as_str(), "alice", "{algorithm:?}");
        assert_eq!(identity.expires_at_ms, Some((NOW + 60) * 1000));
        let forged = sign(&header, payload.as_bytes(), algorithm, &other).unwrap();
        assert_eq!(verifier.verify(&forged, NOW), Err(AuthError::Signature));
        let (signed, _) = good.rsplit_once('.').unwrap();
        let stripped = format!("{signed}.");
        assert_eq!(verifier.verify(&stripped, NOW), Err(AuthError::Signature));
    }
}

#[test]
fn no_single_changed_character_of_a_token_is_accepted() {
    let verifier = verifier(hs256());
    let good = token(&json!({"alg": "HS256"}), &claims());
    assert!(verifier.verify(&good, NOW).is_ok());
    for at in 0..good.len() {
        for to in ["A", "b", "-", ".", "=", "\n", " "] {
            let mut bad = good.clone();
            bad.replace_range(at..=at, to);
            assert!(
                bad == good || verifier.verify(&bad, NOW).is_err(),
                "{at} {to:?}"
            );
        }
    }
}

#[test]
fn alg_none_is_refused_in_every_spelling() {
    for alg in [
        "none", "None", "NONE", "nOnE", "", "hs256", "HS256 ", "RS512", "ES384",
    ] {
        assert_eq!(
            refusal_of_header(&json!({"alg": alg})),
            Some(AuthError::Algorithm),
            "{alg}"
        );
        let unsigned = format!(
            "{}.{}.",
            URL_SAFE_NO_PAD.encode(json!({"alg": alg}).to_string()),
            URL_SAFE_NO_PAD.encode(claims().to_string())
        );
        assert_eq!(
            verifier(hs256()).verify(&unsigned, NOW),
            Err(AuthError::Algorithm)
        );
    }
    for header in [
        json!({}),
        json!({"alg": null}),
        json!({"alg": ["HS256"]}),
        json!({"alg": 1}),
    ] {
        assert_eq!(refusal_of_header(&header), Some(AuthError::Malformed));
    }
}

#[test]
fn public_key_is_never_taken_as_a_shared_secret() {
    let rsa = pair(Algorithm::Rs256);
    let as_secret = EncodingKey::from_secret(rsa.public_pem.as_bytes());
    let header = json!({"alg": "HS256"});
    let payload = claims().to_string();
    let forged = sign(&header, payload.as_bytes(), Algorithm::Hs256, &as_secret).unwrap();
    let only_rsa = with_keys(vec![Key::new(Algorithm::Rs256, rsa.public_pem.clone())]);
    assert_eq!(
        verifier(only_rsa).verify(&forged, NOW),
        Err(AuthError::Algorithm)
    );
    let both = with_keys(vec![
        Key::new(Algorithm::Rs256, rsa.public_pem.clone()),
        Key::new(Algorithm::Hs256, SECRET),
    ]);
    assert_eq!(
        verifier(both).verify(&forged, NOW),
        Err(AuthError::Signature)
    );
    let problem = |key| Verifier::new(with_keys(vec![key])).unwrap_err().problem;
    assert_eq!(
        problem(Key::new(Algorithm::Hs256, rsa.public_pem)),
        KeyProblem::PemAsSecret
    );
}

#[test]
fn key_verifies_only_the_algorithm_it_is_configured_for() {
    let rsa = pair(Algorithm::Rs256);
    let payload = claims().to_string();
    let header = json!({"alg": "PS256"});
    let pss = sign(&header, payload.as_bytes(), Algorithm::Ps256, &rsa.signing).unwrap();
    let rs256 = with_keys(vec![Key::new(Algorithm::Rs256, rsa.public_pem.clone())]);
    assert_eq!(verifier(rs256).verify(&pss, NOW), Err(AuthError::Algorithm));
    let ps256 = with_keys(vec![Key::new(Algorithm::Ps256, rsa.public_pem)]);
    assert!(verifier(ps256).verify(&pss, NOW).is_ok());
}

#[test]
fn expiry_holds_with_five_seconds_of_leeway() {
    let at = |exp: u64| verdict(&json!({"sub": "a", "exp": exp})).err();
    assert_eq!(at(NOW + 1), None);
    assert_eq!(at(NOW - 4), None);
    assert_eq!(at(NOW - 5), Some(AuthError::Expired));
    assert_eq!(at(NOW - 10), Some(AuthError::Expired));
    assert_eq!(at(0), Some(AuthError::Expired));
    assert_eq!(at(u64::MAX), None);
    assert_eq!(AuthError::Expired.code(), Code::TokenExpired);
    assert_eq!(AuthError::Signature.code(), Code::Unauthorized);
}

#[test]
fn token_from_the_future_is_refused() {
    let with = |extra: Value| verdict(&merged(claims(), &extra)).err();
    assert_eq!(with(json!({"nbf": NOW + 5})), None);
    assert_eq!(with(json!({"nbf": NOW + 6})), Some(AuthError::NotYetValid));
    assert_eq!(with(json!({"nbf": u64::MAX})), Some(AuthError::NotYetValid));
    assert_eq!(with(json!({"iat": NOW + 5})), None);
    assert_eq!(
        with(json!({"iat": NOW + 6})),
        Some(AuthError::IssuedInFuture)
    );
}

#[test]
fn times_that_are_no_numbers_are_refused() {
    for claim in [Claim::Expiry, Claim::NotBefore, Claim::IssuedAt] {
        for value in [
            json!(null),
            json!("1900000000"),
            json!(-1),
            json!(1e300),
            json!([1]),
            json!(true),
        ] {
            let payload = merged(claims(), &json!({claim.as_str(): value}));
            assert_eq!(
                verdict(&payload),
                Err(AuthError::BadClaim(claim)),
                "{claim} {value}"
            );
        }
    }
    let half = json!({"sub": "a", "exp": 1_800_000_060.5});
    assert_eq!(
        verdict(&half).unwrap().expires_at_ms,
        Some((NOW + 60) * 1000)
    );
}

#[test]
fn life_longer_than_the_maximum_is_refused() {
    let bounded = || AuthSettings {
        lifetime_max: Some(std::time::Duration::from_hours(1)),
        required_claims: Vec::new(),
        ..hs256()
    };
    let with = |payload: Value| verdict_of(bounded(), &payload).err();
    assert_eq!(with(json!({"sub": "a", "exp": NOW + 3600})), None);
    let long = Some(AuthError::LivesTooLong);
    assert_eq!(with(json!({"sub": "a", "exp": NOW + 3601})), long);
    assert_eq!(
        with(json!({"sub": "a", "iat": NOW - 60, "exp": NOW + 3600})),
        long
    );
    assert_eq!(with(json!({"sub": "a"})), long);
}

#[test]
fn missing_required_claims_are_named() {
    let missing = |claim| Err(AuthError::MissingClaim(claim));
    assert_eq!(verdict(&json!({"sub": "a"})), missing(Claim::Expiry));
    assert_eq!(verdict(&json!({"exp": NOW + 9})), missing(Claim::Subject));
    let strict = AuthSettings {
        required_claims: vec![Claim::TokenId, Claim::Expiry],
        ..hs256()
    };
    assert_eq!(verdict_of(strict, &claims()), missing(Claim::TokenId));
    let lenient = AuthSettings {
        required_claims: Vec::new(),
        ..hs256()
    };
    let endless = verdict_of(lenient, &json!({"sub": "a"})).unwrap();
    assert_eq!(endless.expires_at_ms, None);
}

#[test]
fn subject_must_be_a_user_id() {
    let long = "x".repeat(129);
    for sub in [
        json!(""),
        json!(long),
        json!("a\nb"),
        json!(7),
        json!(null),
        json!({}),
    ] {
        let payload = json!({"sub": sub, "exp": NOW + 60});
        assert_eq!(
            verdict(&payload),
            Err(AuthError::BadClaim(Claim::Subject)),
            "{sub}"
        );
    }
}

#[test]
fn issuer_and_audience_must_be_the_configured_ones() {
    let settings = || AuthSettings {
        issuer: Some("https://id.example".to_owned()),
        audience: vec!["sparkway".to_owned(), "other".to_owned()],
        ..hs256()
    };
    let with = |extra: Value| verdict_of(settings(), &merged(claims(), &extra)).err();
    let iss = "https://id.example";
    assert_eq!(with(json!({"iss": iss, "aud": "sparkway"})), None);
    assert_eq!(with(json!({"iss": iss, "aud": ["x", "other"]})), None);
    for aud in [
        json!("x"),
        json!(["x"]),
        json!([]),
        json!("Sparkway"),
        json!(""),
    ] {
        let refusal = with(json!({"iss": iss, "aud": aud}));
        assert_eq!(refusal, Some(AuthError::WrongAudience), "{aud}");
    }
    for aud in [json!(null), json!([1]), json!({"a": 1})] {
        let refusal = with(json!({"iss": iss, "aud": aud}));
        assert_eq!(refusal, Some(AuthError::BadClaim(Claim::Audience)), "{aud}");
    }
    assert_eq!(
        with(json!({"iss": iss})),
        Some(AuthError::MissingClaim(Claim::Audience))
    );
    assert_eq!(
        with(json!({"aud": "sparkway"})),
        Some(AuthError::MissingClaim(Claim::Issuer))
    );
    for iss in ["https://id.example/", "http://id.example", ""] {
        let refusal = with(json!({"iss": iss, "aud": "sparkway"}));
        assert_eq!(refusal, Some(AuthError::WrongIssuer));
    }
    assert_eq!(
        with(json!({"iss": [iss], "aud": "sparkway"})),
        Some(AuthError::BadClaim(Claim::Issuer))
    );
}

#[test]
fn token_for_a_named_audience_is_refused_where_none_is_configured() {
    let payload = merged(claims(), &json!({"aud": "somebody"}));
    assert_eq!(verdict(&payload), Err(AuthError::WrongAudience));
}

#[test]
fn critical_header_extensions_are_refused() {
    for crit in [json!(["exp"]), json!([]), json!(null), json!("b64")] {
        let header = json!({"alg": "HS256", "crit": crit, "b64": false});
        assert_eq!(
            refusal_of_header(&header),
            Some(AuthError::Critical),
            "{crit}"
        );
    }
}

#[test]
fn key_id_only_selects_among_configured_keys() {
    let keys = || {
        vec![
            Key::new(Algorithm::Hs256, OTHER).named("old"),
            Key::new(Algorithm::Hs256, SECRET).named("new"),
        ]
    };
    let with = |kid: Value| {
        let header = json!({"alg": "HS256", "kid": kid});
        verifier(with_keys(keys()))
            .verify(&token(&header, &claims()), NOW)
            .err()
    };
    assert_eq!(with(json!("new")), None);
    assert_eq!(with(json!("old")), Some(AuthError::Signature));
    for unknown in [
        "",
        "../../etc/passwd",
        "' OR 1=1 --",
        "NEW",
        "http://evil/key",
    ] {
        assert_eq!(with(json!(unknown)), None, "{unknown}: every key is tried");
    }
    for odd in [json!(1), json!(null), json!(["new"])] {
        assert_eq!(with(odd), Some(AuthError::Malformed));
    }
    let foreign_alg = with_keys(vec![
        Key::new(Algorithm::Hs384, SECRET).named("a"),
        Key::new(Algorithm::Hs256, SECRET).named("b"),
    ]);
    let header = json!({"alg": "HS256", "kid": "a"});
    assert_eq!(
        verifier(foreign_alg).verify(&token(&header, &claims()), NOW),
        Err(AuthError::Algorithm)
    );
}

#[test]
fn keys_that_a_token_brings_along_are_ignored() {
    let attacker = pair(Algorithm::EdDsa);
    let own = pair(Algorithm::EdDsa);
    let header = json!({
        "alg": "EdDSA", "jku": "https://evil.example/jwks", "x5u": "file:///etc/passwd",
        "jwk": {"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}, "x5c": ["AAAA"],
    });
    let payload = claims().to_string();
    let forged = sign(
        &header,
        payload.as_bytes(),
        Algorithm::EdDsa,
        &attacker.signing,
    )
    .unwrap();
    let verifier = verifier(with_keys(vec![Key::new(Algorithm::EdDsa, own.public_pem)]));
    assert_eq!(verifier.verify(&forged, NOW), Err(AuthError::Signature));
    let good = sign(&header, payload.as_bytes(), Algorithm::EdDsa, &own.signing).unwrap();
    assert!(verifier.verify(&good, NOW).is_ok());
}

#[test]
fn repeated_fields_are_refused_in_header_and_claims() {
    let verifier = verifier(hs256());
    let payload = format!(r#"{{"sub":"a","exp":1,"exp":{}}}"#, NOW + 60);
    let twice = raw(&json!({"alg": "HS256"}), payload.as_bytes());
    assert_eq!(verifier.verify(&twice, NOW), Err(AuthError::Malformed));
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","alg":"HS256"}"#);
    let good = token(&json!({"alg": "HS256"}), &claims());
    let (_, rest) = good.split_once('.').unwrap();
    assert_eq!(
        verifier.verify(&format!("{header}.{rest}"), NOW),
        Err(AuthError::Malformed)
    );
}

#[test]
fn token_over_the_limit_is_refused_before_it_is_decoded() {
    let verifier = verifier(hs256());
    let limit = sparkway_protocol::limits::TOKEN_BYTES;
    for size in [limit + 1, 1 << 20] {
        let huge = "A".repeat(size);
        assert_eq!(verifier.verify(&huge, NOW), Err(AuthError::TooLong(limit)));
    }
    let kid = "k".repeat(1 << 20);
    let header = json!({"alg": "HS256", "kid": kid});
    assert_eq!(
        verifier.verify(&token(&header, &claims()), NOW),
        Err(AuthError::TooLong(limit))
    );
}

#[test]
fn what_is_no_signed_jwt_is_refused() {
    let verifier = verifier(hs256());
    let good = token(&json!({"alg": "HS256"}), &claims());
    let mut bad: Vec<String> = ["", ".", "..", "...", "a.b.c", "e30.e30.", "\0", "ünï.cö.de"]
        .map(str::to_owned)
        .into();
    bad.push(format!("{good}="));
    bad.push(format!("{good}\n"));
    bad.push(format!(" {good}"));
    bad.push(format!("{good}.x"));
    bad.push(format!("x.{good}"));
    bad.push(good.replace('.', ".."));
    bad.push(raw(&json!({"alg": "HS256"}), b"[]"));
    bad.push(raw(&json!({"alg": "HS256"}), b"{\"sub\":\"a\""));
    bad.push(raw(&json!({"alg": "HS256"}), b"\xff{}"));
    bad.push(raw(&json!({"alg": "HS256"}), b"\xef\xbb\xbf{}"));
    bad.push(raw(&json!({"alg": "HS256"}), "[".repeat(4000).as_bytes()));
    bad.push(raw(&json!(["HS256"]), b"{}"));
    for token in bad {
        let refusal = verifier.verify(&token, NOW).unwrap_err();
        assert!(
            matches!(refusal, AuthError::Malformed | AuthError::Signature),
            "{token:?} {refusal:?}"
        );
    }
}

#[test]
fn errors_never_repeat_what_the_token_said() {
    let verifier = verifier(hs256());
    for header in [
        json!({"alg": "EVIL"}),
        json!({"alg": "HS256", "kid": ["EVIL"]}),
    ] {
        let error = verifier
            .verify(&token(&header, &claims()), NOW)
            .unwrap_err();
        assert!(!format!("{error} {error:?}").contains("EVIL"));
    }
    for payload in [
        json!({"sub": "EVIL\n", "exp": NOW + 9}),
        json!({"exp": "EVIL", "sub": "a"}),
    ] {
        let error = verdict(&payload).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("EVIL"));
    }
    assert!(!format!("{verifier:?}").contains(SECRET));
}

#[test]
fn claims_become_grants() {
    let grants = |extra: Value| verdict(&merged(claims(), &extra)).map(|found| found.grants);
    assert_eq!(grants(json!({})), Ok(Grants::none()));
    assert_eq!(
        grants(json!({"subscribe": ["room:*", "user:alice"], "publish": "room:*"})),
        Ok(Grants::new(&["room:*", "user:alice"], &["room:*"]).unwrap())
    );
    assert_eq!(
        grants(json!({"subscribe": "*", "publish": ["*"]})),
        Ok(Grants::all())
    );
    let many = vec!["a"; Grants::PATTERNS_MAX + 1];
    for bad in [
        json!(null),
        json!([1]),
        json!("$user:bob"),
        json!("a*b"),
        json!(""),
        json!(many),
    ] {
        let refusal = grants(json!({"subscribe": bad})).err();
        assert_eq!(
            refusal,
            Some(AuthError::BadClaim(Claim::Subscribe)),
            "{bad}"
        );
        let refusal = grants(json!({"publish": bad})).err();
        assert_eq!(refusal, Some(AuthError::BadClaim(Claim::Publish)), "{bad}");
    }
    let generous = AuthSettings {
        default_grants: Grants::all(),
        ..hs256()
    };
    let payload = merged(claims(), &json!({"publish": []}));
    let found = verdict_of(generous, &payload).unwrap().grants;
    let topic = TopicName::parse("a").unwrap();
    assert!(found.allows_subscribe(&topic) && !found.allows_publish(&topic));
}

#[test]
fn claims_become_a_profile() {
    let with = |extra: Value| verdict(&merged(claims(), &extra));
    let profile = with(json!({"name": "Alice", "username": "al", "avatar": "https://x/a.png"}))
        .unwrap()
        .profile;
    assert_eq!(profile.name.as_deref(), Some("Alice"));
    assert_eq!(profile.avatar.as_deref(), Some("https://x/a.png"));
    let identity = with(json!({"username": "al", "jti": "t1"})).unwrap();
    assert_eq!(identity.profile.name.as_deref(), Some("al"));
    assert_eq!(identity.token_id.as_deref(), Some("t1"));
    let long = "x".repeat(257);
    for bad in [json!(long), json!("a\u{7}"), json!(1)] {
        assert_eq!(
            with(json!({"name": bad})),
            Err(AuthError::BadClaim(Claim::Name))
        );
        assert_eq!(
            with(json!({"jti": bad})),
            Err(AuthError::BadClaim(Claim::TokenId))
        );
    }
}

#[test]
fn mode_says_who_is_let_in_without_a_token() {
    let verifier = verifier(hs256());
    assert_eq!(verifier.mode(), Mode::Required);
    let good = token(&json!({"alg": "HS256"}), &claims());
    let required = |token| verifier.admit(token, Mode::Required, NOW);
    assert_eq!(required(None), Err(AuthError::Missing));
    let admission = required(Some(&good)).unwrap();
    assert_eq!(admission.user().unwrap().as_str(), "alice");
    assert_eq!(admission.expires_at_ms(), Some((NOW + 60) * 1000));

    let optional = |token| verifier.admit(token, Mode::Optional, NOW);
    let admission = optional(None).unwrap();
    assert_eq!(
        (admission.user(), admission.grants()),
        (None, &Grants::none())
    );
    assert!(optional(Some(&good)).unwrap().user().is_some());
    assert_eq!(optional(Some("x")), Err(AuthError::Malformed));

    for token in [None, Some("x")] {
        let admission = verifier.admit(token, Mode::Off, NOW).unwrap();
        assert_eq!(admission.grants(), &Grants::all());
    }
}

#[test]
fn two_keys_of_one_id_are_refused_by_name() {
    let same = vec![Key::new(Algorithm::Hs256, SECRET).named("k"); 2];
    let error = Verifier::new(with_keys(same)).unwrap_err();
    assert_eq!(error.problem, KeyProblem::SameId);
    assert!(error.to_string().contains("`k`"));
}

#[test]
fn unusable_keys_are_refused_at_the_start() {
    let rsa = pair(Algorithm::Rs256);
    let p256 = pair(Algorithm::Es256);
    let problem = |keys: Vec<Key>| Verifier::new(with_keys(keys)).unwrap_err();
    assert_eq!(problem(Vec::new()).problem, KeyProblem::None);
    let off = AuthSettings {
        mode: Mode::Off,
        ..AuthSettings::default()
    };
    assert!(Verifier::new(off).is_ok());
    let many = vec![Key::new(Algorithm::Hs256, SECRET); AuthSettings::KEYS_MAX + 1];
    assert_eq!(
        problem(many).problem,
        KeyProblem::TooMany(AuthSettings::KEYS_MAX)
    );
    for (algorithm, material, expected) in [
        (
            Algorithm::Hs256,
            "x".repeat(31),
            KeyProblem::ShortSecret(32),
        ),
        (
            Algorithm::Hs384,
            "x".repeat(47),
            KeyProblem::ShortSecret(48),
        ),
        (
            Algorithm::Hs512,
            "x".repeat(63),
            KeyProblem::ShortSecret(64),
        ),
        (Algorithm::Rs256, rsa.private_pem, KeyProblem::PrivateKey),
        (Algorithm::Rs256, RSA_1024.to_owned(), KeyProblem::ShortRsa),
        (
            Algorithm::Es256,
            P384.to_owned(),
            KeyProblem::NotAKey("ES256"),
        ),
        (
            Algorithm::Es256,
            rsa.public_pem.clone(),
            KeyProblem::NotAKey("ES256"),
        ),
        (
            Algorithm::Rs256,
            p256.public_pem.clone(),
            KeyProblem::NotAKey("RS256"),
        ),
        (
            Algorithm::EdDsa,
            p256.public_pem.clone(),
            KeyProblem::NotAKey("EdDSA"),
        ),
        (
            Algorithm::EdDsa,
            "nonsense".to_owned(),
            KeyProblem::NotAKey("EdDSA"),
        ),
    ] {
        assert_eq!(
            problem(vec![Key::new(algorithm, material)]).problem,
            expected
        );
    }
}

#[test]
fn usual_algorithm_of_a_public_key_is_recognised() {
    let rsa = pair(Algorithm::Rs256);
    let p256 = pair(Algorithm::Es256);
    assert_eq!(
        Algorithm::of_public_key(&rsa.public_pem),
        Some(Algorithm::Rs256)
    );
    assert_eq!(
        Algorithm::of_public_key(&p256.public_pem),
        Some(Algorithm::Es256)
    );
    assert_eq!(Algorithm::of_public_key(P384), None);
}

#[test]
fn minted_token_is_accepted_with_what_it_was_made_for() {
    let secret = SecretString::from(SECRET);
    let user = UserId::parse("alice").unwrap();
    let mut wanted = NewToken::new(user, NOW)
        .lasting(3600)
        .subscribing(&["room:*"])
        .publishing(&["room:1"]);
    wanted.claims = vec![
        ("name".into(), "Alice".into()),
        ("level".into(), "7".into()),
    ];
    wanted.audience = Some("sparkway".into());
    wanted.key_id = Some("k1".into());
    let settings = AuthSettings {
        audience: vec!["sparkway".into()],
        keys: vec![Key::new(Algorithm::Hs256, SECRET).named("k1")],
        ..AuthSettings::default()
    };
    let made = mint(&wanted, &secret).unwrap();
    let identity = verifier(settings).verify(&made, NOW).unwrap();
    assert_eq!(identity.user.as_str(), "alice");
    assert_eq!(
        identity.grants,
        Grants::new(&["room:*"], &["room:1"]).unwrap()
    );
    assert_eq!(identity.profile.name.as_deref(), Some("Alice"));

    wanted.claims = vec![("exp".into(), "1".into())];
    assert_eq!(
        mint(&wanted, &secret),
        Err(MintError::OwnOption("exp".into()))
    );
    wanted.claims.clear();
    let short = SecretString::from("short");
    assert_eq!(
        mint(&wanted, &short),
        Err(MintError::Key(KeyProblem::ShortSecret(32)))
    );
    let bad = wanted.clone().publishing(&["$user:x"]);
    assert!(matches!(mint(&bad, &secret), Err(MintError::Pattern(_))));
    wanted.claims = vec![("blob".into(), "x".repeat(9000))];
    assert!(matches!(mint(&wanted, &secret), Err(MintError::TooLong(_))));
}

mod published;
