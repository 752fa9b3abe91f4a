//! Scripted providers: token endpoints that do what a refresh token's name says, a discovery
//! document, the auth server's keys. Every redemption is written down.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::signer::unsigned;

/// A request to a token endpoint.
#[derive(Clone, Debug)]
pub struct Redemption {
    pub path: String,
    pub form: HashMap<String, String>,
    pub headers: HashMap<String, String>,
}

#[derive(Clone)]
pub struct Provider {
    pub address: SocketAddr,
    state: Arc<State>,
}

struct State {
    redemptions: Mutex<Vec<Redemption>>,
    documents: Mutex<HashMap<String, (u16, Value)>>,
    /// Answers by refresh token, used up one after the other; the last one stays.
    scripts: Mutex<HashMap<String, Vec<Script>>>,
    issued: Mutex<u64>,
    released: watch::Sender<bool>,
}

/// What a token endpoint does.
#[derive(Clone, Debug)]
pub enum Script {
    /// Answers with this.
    Answer(u16, &'static str, String),
    /// Issues tokens: seconds of life, whether the refresh token is rotated, the ID token's claims.
    Issue(u64, bool, Option<Value>),
    /// The same, after a while.
    Slow(Duration, u64, bool),
    /// The same, once it is told to.
    Held(u64, bool),
    /// Wants to be asked again after so many seconds.
    Later(u16, &'static str),
    /// Never answers.
    Hang,
    /// Leads elsewhere.
    Redirect(String),
}

impl Provider {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State {
            redemptions: Mutex::default(),
            documents: Mutex::default(),
            scripts: Mutex::default(),
            issued: Mutex::default(),
            released: watch::Sender::new(false),
        });
        let provider = Self {
            address,
            state: Arc::clone(&state),
        };
        provider.document(
            "/.well-known/openid-configuration",
            200,
            json!({"issuer": provider.url(""), "token_endpoint": provider.url("/token")}),
        );
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&state);
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let state = Arc::clone(&state);
                        async move { Ok::<_, Infallible>(state.answer(request).await) }
                    });
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        provider
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn document(&self, path: &str, status: u16, document: Value) {
        let mut documents = self.state.documents.lock().expect("no panic");
        documents.insert(path.to_owned(), (status, document));
    }

    pub fn script(&self, refresh_token: &str, scripts: impl IntoIterator<Item = Script>) {
        let mut all = self.state.scripts.lock().expect("no panic");
        all.insert(refresh_token.to_owned(), scripts.into_iter().collect());
    }

    pub fn redemptions(&self) -> Vec<Redemption> {
        self.state.redemptions.lock().expect("no panic").clone()
    }

    /// Lets every answer go that is held, or would be.
    pub fn release(&self) {
        self.state.released.send_replace(true);
    }

    /// Waits until this refresh token has been presented.
    pub async fn until_asked(&self, refresh_token: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.times(refresh_token) == 0 {
            assert!(Instant::now() < deadline, "nobody presents {refresh_token}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// How often this refresh token was presented.
    pub fn times(&self, refresh_token: &str) -> usize {
        self.redemptions()
            .iter()
            .filter(|redemption| {
                redemption.form.get("refresh_token").map(String::as_str) == Some(refresh_token)
            })
            .count()
    }
}

impl State {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        let document = self.documents.lock().expect("no panic").get(&path).cloned();
        if let Some((status, document)) = document {
            return respond(status, "application/json", document.to_string());
        }
        let headers = request
            .headers()
            .iter()
            .map(|(name, value)| {
                (
                    name.to_string(),
                    String::from_utf8_lossy(value.as_bytes()).into_owned(),
                )
            })
            .collect();
        let body = request
            .into_body()
            .collect()
            .await
            .expect("a body")
            .to_bytes();
        let form: HashMap<String, String> = form_urlencoded::parse(&body)
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        let token = form.get("refresh_token").cloned().unwrap_or_default();
        self.redemptions.lock().expect("no panic").push(Redemption {
            path,
            form,
            headers,
        });
        let script = {
            let mut scripts = self.scripts.lock().expect("no panic");
            match scripts.get_mut(&token) {
                Some(scripts) if scripts.len() > 1 => scripts.remove(0),
                Some(scripts) => scripts[0].clone(),
                // Issued here, or never heard of: both live an hour.
                None => Script::Issue(3600, true, None),
            }
        };
        self.play(script, &token).await
    }

    async fn play(&self, script: Script, token: &str) -> Response<Full<Bytes>> {
        match script {
            Script::Answer(status, kind, body) => respond(status, kind, body),
            Script::Issue(life, rotate, claims) => self.issue(life, rotate, claims),
            Script::Slow(time, life, rotate) => {
                tokio::time::sleep(time).await;
                self.issue(life, rotate, None)
            }
            Script::Held(life, rotate) => {
                let mut released = self.released.subscribe();
                released
                    .wait_for(|released| *released)
                    .await
                    .expect("it is there as long as this");
                self.issue(life, rotate, None)
            }
            Script::Later(status, seconds) => Response::builder()
                .status(status)
                .header("retry-after", seconds)
                .body(Full::default())
                .expect("an answer"),
            Script::Hang => {
                let _ = token;
                std::future::pending().await
            }
            Script::Redirect(to) => Response::builder()
                .status(302)
                .header("location", to)
                .body(Full::default())
                .expect("an answer"),
        }
    }

    fn issue(&self, life: u64, rotate: bool, claims: Option<Value>) -> Response<Full<Bytes>> {
        let number = {
            let mut issued = self.issued.lock().expect("no panic");
            *issued += 1;
            *issued
        };
        let mut answer = json!({
            "access_token": format!("issued-at-{number}"), "token_type": "Bearer", "expires_in": life,
        });
        if rotate {
            answer["refresh_token"] = json!(format!("issued-rt-{number}"));
        }
        if let Some(claims) = claims {
            answer["id_token"] = json!(unsigned(&claims));
        }
        respond(200, "application/json", answer.to_string())
    }
}

fn respond(status: u16, kind: &str, body: String) -> Response<Full<Bytes>> {
    Response::builder()
        .status(status)
        .header("content-type", kind)
        .header("cache-control", "max-age=3600")
        .body(Full::new(Bytes::from(body)))
        .expect("an answer")
}
