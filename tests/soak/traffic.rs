//! Who sends what, and how the STS behaves meanwhile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bed::{Answer, Bed, Client, Reply, Request, Sts, StsRequest, canary};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::ledger::{Ended, Ledger};

/// The backends, one for each strategy and a second exchange.
pub const BACKENDS: [&str; 5] = ["inject", "exchange", "other", "key", "open"];
const USERS: usize = 3000;
/// How long the STS behaves in one way.
const MOOD: Duration = Duration::from_secs(2);

/// Users who are logged in.
pub struct Users(Vec<User>);

struct User {
    jwt: String,
    name: String,
}

impl Users {
    /// Logs them all in.
    pub fn log_in(bed: &Bed) -> Self {
        let log_in = |number: usize| {
            let name = format!("user-{number}");
            let tokens = json!({
                "corp": canary::token("corp_", &name), "github": canary::token("gho_", &name),
            });
            let jwt = bed.login(&name, tokens);
            User { jwt, name }
        };
        Self((0..USERS).map(log_in).collect())
    }
}

/// An STS in changing moods.
pub struct Faults(JoinHandle<()>);

impl Faults {
    /// From now on it is never in one mood for long.
    pub fn start(sts: &Sts) -> Self {
        let scripts = sts.scripting();
        Self(tokio::spawn(async move {
            for mood in (0..8).cycle() {
                scripts.set(move |request| in_mood(mood, request));
                tokio::time::sleep(MOOD).await;
            }
        }))
    }

    /// From now on it behaves.
    pub fn stop(self, sts: &Sts) {
        self.0.abort();
        sts.set_script(|request| token_of(request, 600));
    }
}

fn in_mood(mood: u32, request: &StsRequest) -> Answer {
    match mood {
        1 => token_of(request, 2),
        2 => Answer::error(503, "temporarily_unavailable"),
        3 => token_of(request, 60).after(Duration::from_millis(300)),
        4 => Answer::close_before_headers(),
        5 => Answer::raw(200, "no JSON"),
        6 => token_of(request, 60).after(Duration::from_millis(1500)),
        7 => Answer::reset_before_headers(),
        _ => token_of(request, 60),
    }
}

/// A token that tells whose it is, and what for.
fn token_of(request: &StsRequest, lifetime: u64) -> Answer {
    let subject = request.parameter("subject_token");
    let audience = request.parameter("audience");
    let audience = audience.split('-').next().unwrap_or_default();
    let token = format!("sts-{audience}-{subject}");
    Answer::json(200, &Answer::token_body(&token, json!(lifetime)))
}

/// One client after the other, until `end`.
pub fn client(
    seed: u64,
    end: Instant,
    bed: &Bed,
    users: &Arc<Users>,
    ledger: &Arc<Ledger>,
) -> impl Future<Output = ()> + Send + 'static {
    let client = if seed.is_multiple_of(2) {
        bed.http1()
    } else {
        bed.http2()
    };
    let (users, ledger) = (Arc::clone(users), Arc::clone(ledger));
    async move {
        let mut dice = Dice(seed + 1);
        while Instant::now() < end {
            one_request(&client, &users, &ledger, &mut dice).await;
            tokio::time::sleep(Duration::from_millis(dice.roll(30) as u64)).await;
        }
    }
}

async fn one_request(client: &Client, users: &Users, ledger: &Ledger, dice: &mut Dice) {
    let backend = BACKENDS[dice.roll(BACKENDS.len())];
    // Some users come all the time, most now and then.
    let many = dice.roll(3) == 0;
    let user = &users.0[dice.roll(if many { USERS } else { 50 })];
    let request =
        Request::post(&format!("/{backend}/soak"), vec![b'x'; dice.roll(3000)]).bearer(&user.jwt);
    ledger.sent(backend);
    let patience = match dice.roll(20) {
        0 => Duration::from_millis(1 + dice.roll(20) as u64),
        _ => bed::PATIENCE,
    };
    let ended = match tokio::time::timeout(patience, client.try_send(request)).await {
        Err(_) => Ended::Left,
        Ok(Err(_)) => Ended::Broken,
        Ok(Ok(reply)) => {
            if let Some(flaw) = flaw_of(backend, user, &reply) {
                ledger.flaw(flaw);
            }
            Ended::Answered(reply.status)
        }
    };
    ledger.ended(backend, &ended);
}

/// What is wrong with an answer.
fn flaw_of(backend: &str, user: &User, reply: &Reply) -> Option<String> {
    let name = &user.name;
    if !reply.is_from_backend() {
        let at_sts = matches!(backend, "exchange" | "other");
        let allowed = at_sts && matches!(reply.status, 502..=504);
        let text = reply.text();
        return (!allowed).then(|| format!("{name} at {backend}: {} {text}", reply.status));
    }
    let bearer = |token: String| vec![format!("Bearer {token}")];
    let expected = match backend {
        "inject" => bearer(canary::token("gho_", name)),
        "exchange" => bearer(format!("sts-one-{}", canary::token("corp_", name))),
        "other" => bearer(format!("sts-two-{}", canary::token("corp_", name))),
        _ => Vec::new(),
    };
    let seen = reply.seen("authorization");
    let key = reply.seen("x-api-key");
    if seen != expected || key.len() != usize::from(backend == "key") {
        return Some(format!(
            "{name} reached {backend} with {seen:?}, x-api-key {key:?}"
        ));
    }
    None
}

/// After the faults, when the breaker has closed again, every user is served by every backend.
pub async fn everybody_is_served(bed: &Bed, users: &Users) -> Vec<String> {
    let client = bed.http1();
    let ask = async |backend: &str, user: &User| {
        let request = Request::get(&format!("/{backend}/after")).bearer(&user.jwt);
        match client.try_send(request).await {
            Ok(reply) if reply.status == 200 => flaw_of(backend, user, &reply),
            Ok(reply) => Some(format!("{} at {backend}: {}", user.name, reply.status)),
            Err(error) => Some(format!("{} at {backend}: {error}", user.name)),
        }
    };
    let recovered = bed::wait_for("the STS to be asked again", || async {
        let mut well = true;
        for backend in BACKENDS {
            well &= ask(backend, &users.0[0]).await.is_none();
        }
        well.then_some(())
    });
    let mut flaws: Vec<String> = recovered.await.err().into_iter().collect();
    for user in users.0.iter().step_by(100) {
        for backend in BACKENDS {
            flaws.extend(ask(backend, user).await);
        }
    }
    flaws
}

/// Random enough (xorshift), and the same for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap_or(usize::MAX) % sides.max(1)
    }
}
