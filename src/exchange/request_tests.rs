use super::*;
use crate::secret::Secret;
use proptest::collection::vec;
use proptest::prelude::*;

fn exchange(client: ClientAuth) -> Exchange {
    Exchange {
        token_url: "https://sts.example.com/token?tenant=a%20b".to_owned(),
        cluster: "corp-sts".to_owned(),
        authority: "sts.example.com".to_owned(),
        path: "/token?tenant=a%20b".to_owned(),
        client,
        audience: vec!["https://api.example.com".to_owned(), "other api".to_owned()],
        resource: vec!["https://api.example.com/v1?x=1&y".to_owned()],
        scopes: vec!["read".to_owned(), "write".to_owned()],
        subject_token_type: "urn:ietf:params:oauth:token-type:access_token".to_owned(),
        requested_token_type: Some("urn:ietf:params:oauth:token-type:jwt".to_owned()),
        timeout: Duration::from_secs(5),
    }
}

fn body(exchange: &Exchange, subject: &[u8]) -> String {
    String::from_utf8(TokenRequest::new(exchange).body(subject)).unwrap()
}

const COMMON: &str = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange\
    &subject_token=ey.J%2B%2F%3D%3A\
    &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token\
    &requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt\
    &audience=https%3A%2F%2Fapi.example.com&audience=other%20api\
    &resource=https%3A%2F%2Fapi.example.com%2Fv1%3Fx%3D1%26y\
    &scope=read%20write";

#[test]
fn the_whole_request_byte_for_byte() {
    let (id, secret) = ("a b:c".to_owned(), Secret::new("p@ss wörd+/:%&".to_owned()));
    let head = [
        (":method", "POST"),
        (":path", "/token?tenant=a%20b"),
        (":authority", "sts.example.com"),
        ("content-type", "application/x-www-form-urlencoded"),
        ("accept", "application/json"),
    ];
    // base64 of a%20b%3Ac:p%40ss%20w%C3%B6rd%2B%2F%3A%25%26
    let basic = (
        "authorization",
        "Basic YSUyMGIlM0FjOnAlNDBzcyUyMHclQzMlQjZyZCUyQiUyRiUzQSUyNSUyNg==",
    );
    let with_basic: Vec<_> = head.into_iter().chain([basic]).collect();
    for (client, headers, tail) in [
        (ClientAuth::None { client_id: None }, head.to_vec(), ""),
        (
            ClientAuth::None {
                client_id: Some(id.clone()),
            },
            head.to_vec(),
            "&client_id=a%20b%3Ac",
        ),
        (
            ClientAuth::Basic {
                client_id: id.clone(),
                client_secret: secret.clone(),
            },
            with_basic,
            "",
        ),
        (
            ClientAuth::Post {
                client_id: id,
                client_secret: secret,
            },
            head.to_vec(),
            "&client_id=a%20b%3Ac&client_secret=p%40ss%20w%C3%B6rd%2B%2F%3A%25%26",
        ),
    ] {
        let exchange = exchange(client);
        let request = TokenRequest::new(&exchange);
        assert_eq!(request.cluster(), "corp-sts");
        assert_eq!(request.headers(), headers);
        assert_eq!(body(&exchange, b"ey.J+/=:"), format!("{COMMON}{tail}"));
    }
}

#[test]
fn what_is_not_configured_is_not_sent() {
    let bare = Exchange {
        audience: vec![],
        resource: vec![],
        scopes: vec![],
        requested_token_type: None,
        ..exchange(ClientAuth::None { client_id: None })
    };
    assert_eq!(
        body(&bare, b"t"),
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=t\
         &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token"
    );
}

/// A form, as a server decodes it.
fn decoded(form: &str) -> Vec<(String, String)> {
    let text = |part: &str| {
        let mut bytes = Vec::new();
        let mut rest = part.as_bytes();
        while let Some((first, after)) = rest.split_first() {
            rest = after;
            match first {
                b'+' => bytes.push(b' '),
                b'%' => {
                    let (hex, after) = rest.split_at(2);
                    let hex = std::str::from_utf8(hex).unwrap();
                    bytes.push(u8::from_str_radix(hex, 16).unwrap());
                    rest = after;
                }
                byte => bytes.push(*byte),
            }
        }
        String::from_utf8(bytes).unwrap()
    };
    form.split('&')
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}

proptest! {
    #[test]
    fn a_server_reads_what_was_meant(
        subject in "[!-~]{1,60}",
        audience in vec(any::<String>(), 0..3),
        resource in vec(any::<String>(), 0..3),
        scopes in vec("[!-~]{1,8}", 0..3),
        id in any::<String>(),
        secret in any::<String>(),
    ) {
        let exchange = Exchange {
            audience: audience.clone(),
            resource: resource.clone(),
            scopes: scopes.clone(),
            ..exchange(ClientAuth::Post {
                client_id: id.clone(),
                client_secret: Secret::new(secret.clone()),
            })
        };
        let body = body(&exchange, subject.as_bytes());
        prop_assert!(body.bytes().all(|byte| byte.is_ascii_graphic()));
        let mut expected = vec![
            ("grant_type", GRANT_TYPE),
            ("subject_token", &subject),
            ("subject_token_type", &exchange.subject_token_type),
            ("requested_token_type", exchange.requested_token_type.as_deref().unwrap()),
        ];
        expected.extend(audience.iter().map(|text| ("audience", text.as_str())));
        expected.extend(resource.iter().map(|text| ("resource", text.as_str())));
        let scope = scopes.join(" ");
        if !scope.is_empty() {
            expected.push(("scope", &scope));
        }
        expected.extend([("client_id", &*id), ("client_secret", &*secret)]);
        let expected: Vec<(String, String)> = expected
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        prop_assert_eq!(decoded(&body), expected);
    }

    #[test]
    fn a_server_reads_the_client_from_basic_credentials(
        id in any::<String>(),
        secret in any::<String>(),
    ) {
        let exchange = exchange(ClientAuth::Basic {
            client_id: id.clone(),
            client_secret: Secret::new(secret.clone()),
        });
        let request = TokenRequest::new(&exchange);
        let headers = request.headers();
        let (_, value) = headers.iter().find(|(name, _)| *name == "authorization").unwrap();
        let plain = STANDARD.decode(value.strip_prefix("Basic ").unwrap()).unwrap();
        let plain = String::from_utf8(plain).unwrap();
        // The first colon ends the id, so that an encoded id holds none.
        let (first, second) = plain.split_once(':').unwrap();
        let pair = decoded(&format!("{first}={second}"));
        prop_assert_eq!(pair, vec![(id, secret)]);
    }
}
