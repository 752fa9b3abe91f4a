use super::super::grant;
use super::*;
use crate::secret::Secret;
use proptest::collection::vec;
use proptest::prelude::*;

/// What is asked for.
struct Asked {
    requested_token_type: &'static str,
    audience: Vec<String>,
    resource: Vec<String>,
    scopes: Vec<String>,
    client: ClientAuth,
}

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

fn asked(client: ClientAuth) -> Asked {
    Asked {
        requested_token_type: JWT,
        audience: vec!["https://api.example.com".to_owned(), "other api".to_owned()],
        resource: vec!["https://api.example.com/v1?x=1&y".to_owned()],
        scopes: vec!["read".to_owned(), "write".to_owned()],
        client,
    }
}

impl Asked {
    fn call(&self) -> TokenCall {
        TokenCall {
            name: "",
            token_url: "https://sts.example.com/token?tenant=a%20b".to_owned(),
            cluster: "corp-sts".to_owned(),
            authority: "sts.example.com".to_owned(),
            path: "/token?tenant=a%20b".to_owned(),
            client: self.client.clone(),
            grant: grant::token_exchange(&grant::TokenExchange {
                subject_token_type: ACCESS_TOKEN,
                requested_token_type: Some(self.requested_token_type),
                audience: &self.audience,
                resource: &self.resource,
                scope: &self.scopes.join(" "),
                ..grant::TokenExchange::default()
            }),
            parameters: vec![],
            sts_errors: vec![],
            timeout: Duration::from_secs(5),
        }
    }
}

fn body(call: &TokenCall, subject: &[u8]) -> String {
    let tokens = Tokens {
        subject,
        ..Tokens::default()
    };
    String::from_utf8(TokenRequest::new(call).body(tokens)).unwrap()
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
        ("user-agent", USER_AGENT),
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
        let call = asked(client).call();
        let request = TokenRequest::new(&call);
        assert_eq!(request.cluster(), "corp-sts");
        assert_eq!(request.headers(), headers);
        assert_eq!(body(&call, b"ey.J+/=:"), format!("{COMMON}{tail}"));
    }
}

#[test]
fn what_is_not_configured_is_not_sent() {
    let bare = Asked {
        audience: vec![],
        resource: vec![],
        scopes: vec![],
        requested_token_type: "",
        client: ClientAuth::None { client_id: None },
    };
    assert_eq!(
        body(&bare.call(), b"t"),
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=t\
         &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token"
    );
}

#[test]
fn each_grant_has_its_own_form() {
    let call = |grant| TokenCall {
        grant,
        parameters: vec![("connection".to_owned(), "git hub".to_owned())],
        ..asked(ClientAuth::None {
            client_id: Some("id".to_owned()),
        })
        .call()
    };
    let texts = |texts: &[&str]| -> Vec<String> { texts.iter().map(|t| (*t).to_owned()).collect() };
    let bearer = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=t";
    let exchange =
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=t";
    let kind = "urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3A";
    let tail = "&connection=git%20hub&client_id=id";
    for (grant, form) in [
        (grant::jwt_bearer(&[], &[], ""), format!("{bearer}{tail}")),
        (
            grant::jwt_bearer(&texts(&["a"]), &texts(&["urn:r"]), "s t"),
            format!("{bearer}&audience=a&resource=urn%3Ar&scope=s%20t{tail}"),
        ),
        (
            grant::on_behalf_of("api://x/.default"),
            format!(
                "{bearer}&scope=api%3A%2F%2Fx%2F.default&requested_token_use=on_behalf_of{tail}"
            ),
        ),
        (
            grant::id_jag("https://as", Some("https://mcp"), "files.read"),
            format!(
                "{exchange}&subject_token_type={kind}id_token&requested_token_type={kind}id-jag\
                 &audience=https%3A%2F%2Fas&resource=https%3A%2F%2Fmcp&scope=files.read{tail}"
            ),
        ),
        (
            grant::identity("github", false),
            format!(
                "{exchange}&subject_token_type={kind}access_token\
                 &requested_token_type={kind}access_token&audience=github{tail}"
            ),
        ),
        (
            grant::identity("github", true),
            format!(
                "{exchange}&subject_token_type={kind}access_token\
                 &requested_token_type={kind}id_token&audience=github{tail}"
            ),
        ),
        (
            grant::token_exchange(&grant::TokenExchange {
                grant_type: Some("urn:vault"),
                subject_token_type: ACCESS_TOKEN,
                requested_token_type: Some(""),
                ..grant::TokenExchange::default()
            }),
            format!(
                "grant_type=urn%3Avault&subject_token=t&subject_token_type={kind}access_token{tail}"
            ),
        ),
    ] {
        assert_eq!(body(&call(grant), b"t"), form);
    }
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
        let asked = Asked {
            audience: audience.clone(),
            resource: resource.clone(),
            scopes: scopes.clone(),
            ..asked(ClientAuth::Post {
                client_id: id.clone(),
                client_secret: Secret::new(secret.clone()),
            })
        };
        let body = body(&asked.call(), subject.as_bytes());
        prop_assert!(body.bytes().all(|byte| byte.is_ascii_graphic()));
        let mut expected = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", &subject),
            ("subject_token_type", ACCESS_TOKEN),
            ("requested_token_type", JWT),
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
        let call = asked(ClientAuth::Basic {
            client_id: id.clone(),
            client_secret: Secret::new(secret.clone()),
        })
        .call();
        let request = TokenRequest::new(&call);
        let headers = request.headers();
        let (_, value) = headers.iter().find(|(name, _)| *name == "authorization").unwrap();
        let plain = STANDARD.decode(value.strip_prefix("Basic ").unwrap().as_bytes()).unwrap();
        let plain = String::from_utf8(plain).unwrap();
        // The first colon ends the id, so that an encoded id holds none.
        let (first, second) = plain.split_once(':').unwrap();
        let pair = decoded(&format!("{first}={second}"));
        prop_assert_eq!(pair, vec![(id, secret)]);
    }
}
