//! Keys that issuers publish: which of them verify which tokens.

use std::sync::Arc;

use super::*;
use crate::{Issuer, KeySet, KeySetError};

const HOME: &str = "https://id.example";
const AWAY: &str = "https://other.example";

/// A pair whose public half is published under an id.
fn published(algorithm: Algorithm, id: &str) -> (Pair, Value) {
    let pair = pair(algorithm);
    let mut jwk = if algorithm == Algorithm::EdDsa {
        let lines = pair.public_pem.lines();
        let body: String = lines.filter(|line| !line.starts_with('-')).collect();
        let der = STANDARD.decode(body).unwrap();
        let key = URL_SAFE_NO_PAD.encode(&der[der.len() - 32..]);
        json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": key})
    } else {
        let made = jsonwebtoken::jwk::Jwk::from_encoding_key(&pair.signing, foreign(algorithm));
        serde_json::to_value(made.unwrap()).unwrap()
    };
    jwk["kid"] = json!(id);
    (pair, jwk)
}

fn set(keys: &[Value]) -> Arc<KeySet> {
    Arc::new(KeySet::parse(json!({"keys": keys}).to_string().as_bytes()).unwrap())
}

fn issuer(name: &str) -> Issuer {
    Issuer {
        issuer: Some(name.to_owned()),
        audience: Vec::new(),
    }
}

fn of_issuers(issuers: Vec<Issuer>) -> Verifier {
    verifier(AuthSettings {
        issuers,
        ..AuthSettings::default()
    })
}

fn signed(pair: &Pair, algorithm: Algorithm, id: &str, issuer: &str) -> String {
    let header = json!({"alg": algorithm.as_str(), "kid": id});
    let payload = merged(claims(), &json!({"iss": issuer}));
    sign(
        &header,
        payload.to_string().as_bytes(),
        algorithm,
        &pair.signing,
    )
    .unwrap()
}

#[test]
fn a_published_key_of_every_kind_verifies_the_tokens_of_its_issuer() {
    for algorithm in [
        Algorithm::Rs256,
        Algorithm::Ps256,
        Algorithm::Es256,
        Algorithm::EdDsa,
    ] {
        let (pair, jwk) = published(algorithm, "one");
        let verifier = of_issuers(vec![issuer(HOME)]).with_key_set(0, set(&[jwk]));
        let token = signed(&pair, algorithm, "one", HOME);
        assert_eq!(verifier.verify(&token, NOW).unwrap().user.as_str(), "alice");
        // Not under another id, and not in the name of somebody else.
        let other = signed(&pair, algorithm, "two", HOME);
        assert_eq!(verifier.verify(&other, NOW), Err(AuthError::KeyUnknown(0)));
        let foreign = signed(&pair, algorithm, "one", AWAY);
        assert_eq!(verifier.verify(&foreign, NOW), Err(AuthError::WrongIssuer));
    }
}

#[test]
fn two_issuers_with_the_same_key_id_do_not_verify_each_others_tokens() {
    let (home, home_jwk) = published(Algorithm::Es256, "1");
    let (away, away_jwk) = published(Algorithm::Es256, "1");
    let verifier = of_issuers(vec![issuer(HOME), issuer(AWAY)])
        .with_key_set(0, set(&[home_jwk]))
        .with_key_set(1, set(&[away_jwk]));
    for (pair, issuer, verdict) in [
        (&home, HOME, None),
        (&away, AWAY, None),
        (&home, AWAY, Some(AuthError::Signature)),
        (&away, HOME, Some(AuthError::Signature)),
    ] {
        let token = signed(pair, Algorithm::Es256, "1", issuer);
        assert_eq!(verifier.verify(&token, NOW).err(), verdict);
    }
}

#[test]
fn keys_that_are_not_known_yet_are_no_fault_of_the_token() {
    let (pair, jwk) = published(Algorithm::EdDsa, "1");
    let verifier = of_issuers(vec![issuer(AWAY), issuer(HOME)]);
    let token = signed(&pair, Algorithm::EdDsa, "1", HOME);
    let refusal = verifier.verify(&token, NOW).unwrap_err();
    assert_eq!(refusal, AuthError::KeysUnknown(1));
    assert_eq!(refusal.code(), Code::Unavailable);
    assert!(
        verifier
            .with_key_set(1, set(&[jwk]))
            .verify(&token, NOW)
            .is_ok()
    );
}

#[test]
fn the_algorithm_is_the_published_keys_and_a_public_key_is_no_secret() {
    let (_, jwk) = published(Algorithm::Rs256, "1");
    let modulus = jwk["n"].as_str().unwrap().to_owned();
    let verifier = of_issuers(vec![issuer(HOME)]).with_key_set(0, set(&[jwk]));
    let header = json!({"alg": "HS256", "kid": "1"});
    let payload = merged(claims(), &json!({"iss": HOME})).to_string();
    let secret = EncodingKey::from_secret(modulus.as_bytes());
    let forged = sign(&header, payload.as_bytes(), Algorithm::Hs256, &secret).unwrap();
    assert_eq!(verifier.verify(&forged, NOW), Err(AuthError::Algorithm));
}

#[test]
fn configured_keys_and_published_ones_stand_side_by_side() {
    let (pair, jwk) = published(Algorithm::EdDsa, "1");
    let settings = AuthSettings {
        keys: vec![Key::new(Algorithm::Hs256, SECRET)],
        issuers: vec![issuer(HOME)],
        ..AuthSettings::default()
    };
    let verifier = verifier(settings).with_key_set(0, set(&[jwk]));
    assert!(
        verifier
            .verify(&token(&json!({"alg": "HS256"}), &claims()), NOW)
            .is_ok()
    );
    let published = signed(&pair, Algorithm::EdDsa, "1", HOME);
    assert!(verifier.verify(&published, NOW).is_ok());
    // The configured key does not speak for the issuer who publishes his own.
    let forged = merged(claims(), &json!({"iss": HOME}));
    let forged = token(&json!({"alg": "HS256"}), &forged);
    assert_eq!(verifier.verify(&forged, NOW), Err(AuthError::Algorithm));
}

#[test]
fn an_issuer_has_his_own_audience() {
    let (pair, jwk) = published(Algorithm::EdDsa, "1");
    let own = Issuer {
        audience: vec!["gateway".to_owned()],
        ..issuer(HOME)
    };
    let verifier = of_issuers(vec![own]).with_key_set(0, set(&[jwk]));
    let with = |audience: &str| {
        let payload = merged(claims(), &json!({"iss": HOME, "aud": audience}));
        let header = json!({"alg": "EdDSA", "kid": "1"});
        let payload = payload.to_string();
        let token = sign(&header, payload.as_bytes(), Algorithm::EdDsa, &pair.signing);
        verifier.verify(&token.unwrap(), NOW).err()
    };
    assert_eq!(with("gateway"), None);
    assert_eq!(with("shop"), Some(AuthError::WrongAudience));
}

#[test]
fn what_cannot_verify_is_left_out_of_a_set() {
    let (_, good) = published(Algorithm::Es256, "good");
    let mut private = published(Algorithm::EdDsa, "private").1;
    private["d"] = json!("AAAA");
    let mut encrypting = published(Algorithm::Rs256, "enc").1;
    encrypting["use"] = json!("enc");
    let mut signing = published(Algorithm::Rs256, "ops").1;
    signing["key_ops"] = json!(["sign"]);
    let mut confused = published(Algorithm::Rs256, "confused").1;
    confused["alg"] = json!("HS256");
    let odd = [
        json!({"kty": "oct", "kid": "secret", "k": "AAAA"}),
        json!({"kty": "RSA", "kid": "short", "n": "AQAB", "e": "AQAB"}),
        json!({"kty": "EC", "crv": "P-384", "kid": "p384", "x": "AA", "y": "AA"}),
        json!({"kty": "OKP", "crv": "Ed25519", "kid": 7, "x": "AA"}),
        json!({"kid": "nothing"}),
        json!("text"),
    ];
    let mut all = vec![good.clone(), private, encrypting, signing, confused];
    all.extend(odd.clone());
    assert_eq!(set(&all).count(), 1);
    let parse = |text: &str| KeySet::parse(text.as_bytes()).unwrap_err();
    assert_eq!(parse(&json!({"keys": odd}).to_string()), KeySetError::NoKey);
    for text in ["", "[]", "{}", "{\"keys\":1}", "<html>", "{\"keys\":[]"] {
        assert_eq!(parse(text), KeySetError::Malformed, "{text}");
    }
    assert_eq!(parse("{\"keys\":[]}"), KeySetError::NoKey);
    let many = json!({"keys": vec![good; KeySet::KEYS_MAX + 1]}).to_string();
    assert_eq!(parse(&many), KeySetError::TooMany(KeySet::KEYS_MAX));
}
