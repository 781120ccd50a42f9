//! Tokens: the ways to show one, the attacks on them, and their end.

mod support;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256, PublicKeyData, RsaKeySize};
use serde_json::{Value, json};
use support::{Peer, SECRET, Scratch, claims, hub, hub_with_secret, now, token, try_hub};
use taut::Error;
use taut_hub::serve::Running;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The status of the refusal; `None` if the token was taken.
async fn refusal(hub: &Running, token: &str) -> Option<u16> {
    match Peer::connect(hub, "", &[("Authorization", &format!("Bearer {token}"))]).await {
        Ok(_) => None,
        Err(Error::Refused(response)) => Some(response.status()),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_token_may_come_in_five_ways() {
    let hub = hub_with_secret(&[]).await;
    let token = token(claims("ana"));
    let offer = format!("taut.hub.v1, token.{token}");
    let ways: [(String, Vec<(&str, String)>); 3] = [
        (String::new(), vec![("Authorization", format!("Bearer {token}"))]),
        (String::new(), vec![("Cookie", format!("a=b; taut_token={token}"))]),
        (format!("?token={token}"), vec![]),
    ];
    for (query, fields) in ways {
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut peer = Peer::connect(&hub, &query, &fields).await.unwrap();
        assert_eq!(peer.next("system_message").await["data"]["user_id"], "ana");
    }
    let client =
        offer.split(", ").fold(taut::tokio::Client::new(), |client, name| client.subprotocol(name).unwrap());
    let mut peer = Peer(client.connect(&format!("ws://{}/ws", hub.address().unwrap())).await.unwrap());
    assert_eq!(peer.0.subprotocol(), Some("taut.hub.v1"));
    assert_eq!(peer.next("system_message").await["data"]["user_id"], "ana");
    let mut peer = Peer::connect(&hub, "", &[]).await.unwrap();
    peer.send(json!({ "message_type": "auth", "data": { "token": token } })).await;
    assert_eq!(peer.next("system_message").await["data"]["user_id"], "ana");
}

#[tokio::test]
async fn who_shows_none_in_time_or_a_wrong_one_gets_4401() {
    let hub = hub_with_secret(&[("auth.timeout", "100ms")]).await;
    let mut silent = Peer::connect(&hub, "", &[]).await.unwrap();
    assert_eq!(silent.end().await, 4401);
    assert!(silent.0.close_status().unwrap().reason.starts_with("no token came in time"));
    for first in
        [json!({ "message_type": "text" }), json!({ "message_type": "auth", "data": { "token": "x" } })]
    {
        let mut peer = Peer::connect(&hub, "", &[]).await.unwrap();
        peer.send(first).await;
        assert_eq!(peer.end().await, 4401);
    }
    let expired = json!({ "token": token(json!({ "sub": "ana", "exp": now() - 60 })) });
    let mut late = Peer::connect(&hub, "", &[]).await.unwrap();
    late.send(json!({ "message_type": "auth", "data": expired })).await;
    assert_eq!(late.end().await, 4402);
}

#[tokio::test]
async fn a_page_whose_name_leads_here_does_not_come_in_without_a_token() {
    let hub = hub(&[("auth.development", "true")]).await;
    let address = hub.address().unwrap();
    for (host, status) in [
        (address.to_string(), 101),
        (format!("localhost:{}", address.port()), 101),
        ("[::1]".to_owned(), 101),
        ("evil.example".to_owned(), 421),
        (format!("evil.example:{}", address.port()), 421),
        ("127.0.0.1.evil.example".to_owned(), 421),
    ] {
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&head), format!("HTTP/1.1 {status}"), "{host}");
    }
}

#[tokio::test]
async fn claims_are_checked() {
    let hub = hub_with_secret(&[("auth.audience", "hub, other"), ("auth.issuer", "us")]).await;
    let good = json!({ "sub": "ana", "exp": now() + 60, "aud": "hub", "iss": "us" });
    assert_eq!(refusal(&hub, &token(good.clone())).await, None);
    let mut fraction = good.clone();
    fraction["exp"] = json!(now() as f64 + 60.5);
    assert_eq!(refusal(&hub, &token(fraction)).await, None);
    let bad = [
        ("exp", json!(now() - 60)),
        ("exp", Value::Null),
        ("exp", json!("never")),
        ("nbf", json!(now() + 60)),
        ("aud", json!("elsewhere")),
        ("aud", Value::Null),
        ("iss", json!("them")),
        ("iss", Value::Null),
        ("sub", json!("")),
        ("sub", json!("a\nb")),
        ("sub", Value::Null),
    ];
    for (claim, value) in bad {
        let mut claims = good.clone();
        claims[claim] = value.clone();
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(claim);
        }
        assert_eq!(refusal(&hub, &token(claims)).await, Some(401), "{claim}: {value}");
    }
}

#[tokio::test]
async fn a_token_for_somebody_else_is_refused_where_no_audience_is_set() {
    let hub = hub_with_secret(&[]).await;
    let claims = json!({ "sub": "ana", "exp": now() + 60, "aud": "elsewhere" });
    assert_eq!(refusal(&hub, &token(claims)).await, Some(401));
}

#[tokio::test]
async fn a_token_does_not_choose_its_algorithm() {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let public = key.public_key_pem();
    let file = Scratch::new(public.as_bytes());
    let hub = hub(&[("auth.algorithms", "ES256"), ("auth.key_file", file.path())]).await;
    let signing = EncodingKey::from_ec_pem(key.serialize_pem().as_bytes()).unwrap();
    let good = encode(&Header::new(Algorithm::ES256), &claims("ana"), &signing).unwrap();
    assert_eq!(refusal(&hub, &good).await, None);

    // The public key, which everybody has, as the secret.
    for secret in [public.as_bytes(), public.trim().as_bytes(), key.der_bytes()] {
        let forged =
            encode(&Header::new(Algorithm::HS256), &claims("eve"), &EncodingKey::from_secret(secret))
                .unwrap();
        assert_eq!(refusal(&hub, &forged).await, Some(401));
    }
    // Nothing signed at all, with and without what is left of a signature.
    let body = good.split('.').nth(1).unwrap();
    let signature = good.split('.').nth(2).unwrap();
    for header in [r#"{"alg":"none"}"#, r#"{"alg":"None","typ":"JWT"}"#, r#"{"typ":"JWT"}"#, r#"{"alg":""}"#]
    {
        let header = base64_url(header.as_bytes());
        for end in ["", signature] {
            assert_eq!(refusal(&hub, &format!("{header}.{body}.{end}")).await, Some(401));
        }
    }
    // Cut, joined, or of another body.
    let eve = base64_url(claims("eve").to_string().as_bytes());
    let header = good.split('.').next().unwrap();
    for broken in [
        format!("{header}.{body}"),
        format!("{good}.{signature}"),
        format!("{header}.{eve}.{signature}"),
        "..".into(),
    ] {
        assert_eq!(refusal(&hub, &broken).await, Some(401), "{broken}");
    }
}

/// A key of an algorithm that has two halves.
struct Pair {
    name: &'static str,
    algorithm: Algorithm,
    private: EncodingKey,
    public: String,
    /// The public half as a member of a set, named as the algorithm.
    member: Value,
}

fn pairs() -> [Pair; 3] {
    let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let ec = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let ed = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let pem = |key: &KeyPair| key.serialize_pem().into_bytes();
    let private = EncodingKey::from_ed_pem(&pem(&ed)).unwrap();
    let member = serde_json::from_str::<Value>(&set(&[("EdDSA", &ed)])).unwrap()["keys"][0].take();
    let public = ed.public_key_pem();
    let ed = Pair { name: "EdDSA", algorithm: Algorithm::EdDSA, private, public, member };
    let pair = |name, algorithm, private: EncodingKey, public| {
        let mut member = serde_json::to_value(Jwk::from_encoding_key(&private, algorithm).unwrap()).unwrap();
        member["kid"] = json!(name);
        Pair { name, algorithm, private, public, member }
    };
    let rsa_key = EncodingKey::from_rsa_pem(&pem(&rsa)).unwrap();
    let ec_key = EncodingKey::from_ec_pem(&pem(&ec)).unwrap();
    [
        pair("RS256", Algorithm::RS256, rsa_key, rsa.public_key_pem()),
        pair("ES256", Algorithm::ES256, ec_key, ec.public_key_pem()),
        ed,
    ]
}

fn signed(algorithm: Algorithm, kid: Option<&str>, key: &EncodingKey) -> String {
    let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
    encode(&header, &claims("ana"), key).unwrap()
}

#[tokio::test]
async fn each_algorithm_is_taken_by_its_own_key_alone() {
    let pairs = pairs();
    for Pair { name, algorithm, private, public, .. } in &pairs {
        let file = Scratch::new(public.as_bytes());
        let hub = hub(&[("auth.algorithms", name), ("auth.key_file", file.path())]).await;
        assert_eq!(refusal(&hub, &signed(*algorithm, None, private)).await, None, "{name}");
        for other in pairs.iter().filter(|other| other.name != *name) {
            let token = signed(other.algorithm, None, &other.private);
            assert_eq!(refusal(&hub, &token).await, Some(401), "{name} {}", other.name);
        }
        let secret = EncodingKey::from_secret(public.as_bytes());
        assert_eq!(refusal(&hub, &signed(Algorithm::HS256, None, &secret)).await, Some(401), "{name}");
    }
    let rsa = &pairs[0];
    let file = Scratch::new(rsa.public.as_bytes());
    let hub = hub(&[("auth.algorithms", "RS256"), ("auth.key_file", file.path())]).await;
    for near in [Algorithm::RS384, Algorithm::RS512, Algorithm::PS256] {
        assert_eq!(refusal(&hub, &signed(near, None, &rsa.private)).await, Some(401), "{near:?}");
    }
}

#[tokio::test]
async fn in_a_set_a_kid_names_one_key_and_what_it_is_for() {
    let pairs = pairs();
    let mut keys: Vec<_> = pairs.iter().map(|pair| pair.member.clone()).collect();
    // A secret in a set is none: whoever may read the public keys would be able to sign.
    let secret = json!({ "kty": "oct", "alg": "HS256", "kid": "oct", "k": base64_url(SECRET.as_bytes()) });
    keys.push(secret);
    let file = Scratch::new(json!({ "keys": keys }).to_string().as_bytes());
    let names = ("auth.algorithms", "HS256, RS256, ES256, EdDSA");
    let hub = hub(&[names, ("auth.key_set", file.path())]).await;
    for Pair { name, algorithm, private, public, .. } in &pairs {
        for kid in pairs.iter().map(|pair| pair.name) {
            let expected = if kid == *name { None } else { Some(401) };
            assert_eq!(
                refusal(&hub, &signed(*algorithm, Some(kid), private)).await,
                expected,
                "{name} as {kid}"
            );
        }
        let public = EncodingKey::from_secret(public.as_bytes());
        assert_eq!(refusal(&hub, &signed(Algorithm::HS256, Some(name), &public)).await, Some(401), "{name}");
    }
    let secret = EncodingKey::from_secret(SECRET.as_bytes());
    for kid in [Some("oct"), None] {
        assert_eq!(refusal(&hub, &signed(Algorithm::HS256, kid, &secret)).await, Some(401), "{kid:?}");
    }
}

#[tokio::test]
async fn pages_of_other_origins_are_refused() {
    let hub = hub_with_secret(&[("server.allowed_origins", "https://app.example")]).await;
    let token = format!("?token={}", token(claims("ana")));
    for (origin, expected) in [
        ("https://app.example", None),
        ("http://app.example", Some(403)),
        ("https://app.example:8443", Some(403)),
        ("https://app.example.evil.test", Some(403)),
        ("https://evil.test/https://app.example", Some(403)),
        ("https://app.example@evil.test", Some(403)),
        ("https://evil-app.example", Some(403)),
        ("null", Some(403)),
    ] {
        let status = match Peer::connect(&hub, &token, &[("Origin", origin)]).await {
            Ok(_) => None,
            Err(Error::Refused(response)) => Some(response.status()),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(status, expected, "{origin}");
    }
}

#[tokio::test]
async fn a_public_key_is_no_secret() {
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let file = Scratch::new(key.public_key_pem().as_bytes());
    assert!(try_hub(&[("auth.algorithms", "HS256"), ("auth.key_file", file.path())]).await.is_err());
    let short = Scratch::new(b"a short secret");
    assert!(try_hub(&[("auth.algorithms", "HS256"), ("auth.key_file", short.path())]).await.is_err());
    let both = Scratch::new(SECRET.as_bytes());
    assert!(try_hub(&[("auth.algorithms", "HS256, ES256"), ("auth.key_file", both.path())]).await.is_err());
}

#[tokio::test]
async fn keys_are_found_by_their_kid_in_the_set_alone_and_rotate() {
    let (old, new) =
        (KeyPair::generate_for(&PKCS_ED25519).unwrap(), KeyPair::generate_for(&PKCS_ED25519).unwrap());
    let signed = |key: &KeyPair, header: Header| {
        let key = EncodingKey::from_ed_pem(key.serialize_pem().as_bytes()).unwrap();
        encode(&header, &claims("ana"), &key).unwrap()
    };
    let named = |kid: &str| Header { kid: Some(kid.into()), ..Header::new(Algorithm::EdDSA) };
    let file = Scratch::new(set(&[("old", &old)]).as_bytes());
    let hub = hub(&[("auth.algorithms", "EdDSA"), ("auth.key_set", file.path())]).await;
    assert_eq!(refusal(&hub, &signed(&old, named("old"))).await, None);

    for kid in ["new", "", "../old", "/dev/null", "old'--", "OLD"] {
        assert_eq!(refusal(&hub, &signed(&old, named(kid))).await, Some(401), "{kid}");
    }
    assert_eq!(refusal(&hub, &signed(&old, Header::new(Algorithm::EdDSA))).await, Some(401), "no kid");
    assert_eq!(refusal(&hub, &signed(&new, named("old"))).await, Some(401), "another key");
    // A key that the token brings along, or says where to fetch.
    let own =
        serde_json::from_str::<jsonwebtoken::jwk::JwkSet>(&set(&[("own", &new)])).unwrap().keys.remove(0);
    let brings = Header { jwk: Some(own), jku: Some("http://127.0.0.1:1/".into()), ..named("own") };
    assert_eq!(refusal(&hub, &signed(&new, brings)).await, Some(401));
    let critical = Header { crit: Some(vec!["b64".into()]), ..named("old") };
    assert_eq!(refusal(&hub, &signed(&old, critical)).await, Some(401));

    let verifier = hub.verifier().unwrap();
    file.write(b"{ broken");
    assert!(verifier.reload().is_err());
    assert_eq!(refusal(&hub, &signed(&old, named("old"))).await, None, "those of before stay");
    file.write(set(&[("new", &new)]).as_bytes());
    verifier.reload().unwrap();
    assert_eq!(refusal(&hub, &signed(&new, named("new"))).await, None);
    assert_eq!(refusal(&hub, &signed(&old, named("old"))).await, Some(401));
}

#[tokio::test]
async fn a_connection_ends_with_its_token_unless_it_is_refreshed() {
    let hub = hub_with_secret(&[("auth.expiry_warning", "1h")]).await;
    let short = |user: &str| token(json!({ "sub": user, "exp": now() + 2 }));
    let mut ends = Peer::connect(&hub, &format!("?token={}", short("ana")), &[]).await.unwrap();
    let mut lives = Peer::connect(&hub, &format!("?token={}", short("bob")), &[]).await.unwrap();
    for peer in [&mut ends, &mut lives] {
        while peer.next("system_message").await["data"]["code"] != "token_expiring" {}
    }
    let refresh =
        |id: &str, token: String| json!({ "id": id, "message_type": "refresh", "data": { "token": token } });
    let other = lives.ask(refresh("1", token(claims("ana")))).await;
    assert_eq!((&other["message_type"], &other["data"]["code"]), (&json!("error"), &json!("token_invalid")));
    assert_eq!(lives.ask(refresh("2", token(claims("bob")))).await["message_type"], "ack");
    assert_eq!(ends.end().await, 4402);
    // The other has outlived the same second.
    assert_eq!(lives.ask(json!({ "id": "3", "message_type": "ping" })).await["message_type"], "pong");
}

#[tokio::test]
async fn a_token_names_the_rooms_that_may_be_joined_and_who_may_speak_to_all() {
    let hub = hub_with_secret(&[]).await;
    let mut claims = claims("ana");
    claims["rooms"] = json!(["a"]);
    let mut peer = Peer::connect(&hub, &format!("?token={}", token(claims)), &[]).await.unwrap();
    let join = |id: &str, room: &str| json!({ "id": id, "message_type": "join", "room": room });
    assert_eq!(peer.ask(join("1", "a")).await["data"]["joined"], true);
    for (id, room) in [("2", "b"), ("3", "@bob")] {
        assert_eq!(peer.ask(join(id, room)).await["message_type"], "error", "{room}");
    }
    let all = peer.ask(json!({ "id": "4", "message_type": "text", "data": "x" })).await;
    assert_eq!(all["data"]["code"], "not_allowed");
}

fn set(keys: &[(&str, &KeyPair)]) -> String {
    let keys: Vec<_> = keys
        .iter()
        .map(|(kid, key)| json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": kid, "x": base64_url(key.der_bytes()) }))
        .collect();
    json!({ "keys": keys }).to_string()
}

/// RFC 4648 §5, without padding.
fn base64_url(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let groups = bytes.chunks(3).flat_map(|group| {
        let bits =
            group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        (0..=group.len()).map(move |at| char::from(LETTERS[(bits >> (18 - 6 * at) & 63) as usize]))
    });
    groups.collect()
}
