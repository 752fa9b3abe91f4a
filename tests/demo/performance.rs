//! What is sent, what comes of it, and whether it should have.

use bed::Reply;
use bed::Request;
use bed::scene::Scene;

use crate::cast::{Cast, User, endpoint};
use crate::table::{Style, Table};

/// How often each user asks a backend whose tokens are obtained, to show that one call serves them all.
const REQUESTS: usize = 10;

/// Those backends, and the token endpoints that each takes, by their names here.
const OBTAINED: [(&str, &[(&str, &str)]); 3] = [
    ("corporate-api", &[("its STS", endpoint::STS)]),
    ("graph-api", &[("Entra", endpoint::ENTRA)]),
    (
        "partner-app",
        &[
            ("the IdP", endpoint::IDP),
            ("the partner's server", endpoint::PARTNER),
        ],
    ),
];

/// One line of the table.
struct Act {
    user: &'static str,
    backend: &'static str,
    strategy: &'static str,
    status: u16,
    /// What the backend saw, or why it saw nothing.
    outcome: Outcome,
    /// What is wrong, if anything.
    flaw: Option<String>,
}

enum Outcome {
    Credential { header: &'static str, value: String },
    Refused { code: String },
}

/// Everything that was seen.
pub struct Performance {
    acts: Vec<Act>,
    counted: Vec<Counted>,
    challenge: Option<String>,
}

/// What the requests to a backend cost.
struct Counted {
    backend: &'static str,
    requests: usize,
    users: usize,
    /// Where its tokens come from, and how often that was asked.
    calls: Vec<(&'static str, usize)>,
    flaw: Option<String>,
}

/// Sends each user's request to each backend, then some more where tokens are obtained.
pub async fn perform(scene: &Scene, cast: &Cast) -> Performance {
    let client = scene.client();
    let mut acts = Vec::new();
    let mut challenge = None;
    for user in cast.users() {
        for part in parts(user, cast) {
            let request =
                Request::get(&format!("/{}/mcp", part.backend)).bearer(&user.identity_token);
            match client.try_send(request).await {
                Ok(reply) => {
                    if reply.status == 401 {
                        challenge = Some(reply.header("www-authenticate"));
                    }
                    acts.push(part.judge(user.name, &reply));
                }
                Err(error) => acts.push(part.failed(user.name, &error.to_string())),
            }
        }
    }
    let mut counted = Vec::new();
    for (backend, endpoints) in OBTAINED {
        counted.push(count(scene, cast, backend, endpoints).await);
    }
    Performance {
        acts,
        counted,
        challenge,
    }
}

/// What one backend should see of one user.
struct Part {
    backend: &'static str,
    strategy: &'static str,
    header: &'static str,
    /// The beginning of the expected value; `None`: the request must be refused.
    expected: Option<String>,
}

fn parts(user: &User, cast: &Cast) -> [Part; 6] {
    let bearer = |provider| Some(format!("Bearer {}", user.upstream_tokens.get(provider)?));
    let part = |backend, strategy, header, expected| Part {
        backend,
        strategy,
        header,
        expected,
    };
    [
        part(
            "github-tools",
            "upstream_inject",
            "authorization",
            bearer("github"),
        ),
        part(
            "atlassian-tools",
            "upstream_inject",
            "authorization",
            bearer("atlassian"),
        ),
        part(
            "corporate-api",
            "token_exchange",
            "authorization",
            Some(format!("Bearer corp_{}_", user.name)),
        ),
        part(
            "internal-api",
            "header_injection",
            "x-api-key",
            Some(cast.api_key().to_owned()),
        ),
        part(
            "graph-api",
            "obo",
            "authorization",
            Some(format!("Bearer graph_{}_", user.name)),
        ),
        part(
            "partner-app",
            "xaa",
            "authorization",
            Some(format!("Bearer partner_{}_", user.name)),
        ),
    ]
}

impl Part {
    fn judge(self, user: &'static str, reply: &Reply) -> Act {
        if !reply.is_from_backend() {
            let code = reply.json()["error"]
                .as_str()
                .unwrap_or("no error code")
                .to_owned();
            let expected = self.expected.is_none()
                && reply.status == 401
                && code == "upstream_token_not_found"
                && !reply.header("www-authenticate").is_empty();
            let flaw =
                (!expected).then(|| format!("refused with {}: {}", reply.status, reply.text()));
            return self.act(user, reply.status, Outcome::Refused { code }, flaw);
        }
        let seen = reply.seen(self.header);
        let as_expected = match (&self.expected, seen.as_slice()) {
            (Some(expected), [one]) => one.starts_with(expected.as_str()),
            _ => false,
        };
        // With a credential in another header, there must be no `authorization` at all.
        let stray = self.header != "authorization" && !reply.seen("authorization").is_empty();
        let flaw = (!as_expected || stray || reply.status != 200)
            .then(|| "the backend saw something else than its credential".to_owned());
        let value = seen.into_iter().next().unwrap_or_default();
        self.act_with_credential(user, reply.status, value, flaw)
    }

    fn failed(self, user: &'static str, error: &str) -> Act {
        let flaw = Some(format!("no answer: {error}"));
        self.act(
            user,
            0,
            Outcome::Refused {
                code: "no answer".to_owned(),
            },
            flaw,
        )
    }

    fn act_with_credential(
        self,
        user: &'static str,
        status: u16,
        value: String,
        flaw: Option<String>,
    ) -> Act {
        let header = self.header;
        self.act(user, status, Outcome::Credential { header, value }, flaw)
    }

    fn act(self, user: &'static str, status: u16, outcome: Outcome, flaw: Option<String>) -> Act {
        Act {
            user,
            backend: self.backend,
            strategy: self.strategy,
            status,
            outcome,
            flaw,
        }
    }
}

/// Each user asks the backend until it was [`REQUESTS`] times in all.
async fn count(
    scene: &Scene,
    cast: &Cast,
    backend: &'static str,
    endpoints: &[(&'static str, &str)],
) -> Counted {
    let client = scene.client();
    let mut not_served = 0;
    for user in cast.users() {
        for _ in 1..REQUESTS {
            let request = Request::get(&format!("/{backend}/mcp")).bearer(&user.identity_token);
            let reply = client.try_send(request).await;
            not_served += usize::from(!reply.is_ok_and(|reply| reply.status == 200));
        }
    }
    let users = cast.users().len();
    let made = scene.neighbours.sts.requests();
    let calls_at = |path: &str| {
        let line = format!("POST {path} ");
        made.iter()
            .filter(|call| call.line().starts_with(&line))
            .count()
    };
    let calls: Vec<_> = endpoints
        .iter()
        .map(|(name, path)| (*name, calls_at(path)))
        .collect();
    let flaw = if not_served > 0 {
        Some(format!(
            "{not_served} requests to {backend} were not served"
        ))
    } else {
        let too_many = calls.iter().find(|(_, calls)| *calls != users);
        too_many.map(|(name, calls)| format!("{users} users cost {calls} calls to {name}"))
    };
    Counted {
        backend,
        requests: users * REQUESTS,
        users,
        calls,
        flaw,
    }
}

impl Performance {
    /// Everything that is not as it should be.
    pub fn flaws(&self) -> Vec<String> {
        let mut flaws: Vec<String> = self
            .acts
            .iter()
            .filter_map(|act| {
                Some(format!(
                    "{} at {}: {}",
                    act.user,
                    act.backend,
                    act.flaw.as_ref()?
                ))
            })
            .collect();
        flaws.extend(self.counted.iter().filter_map(|it| it.flaw.clone()));
        if self.challenge.is_none() {
            flaws.push("nobody was asked to log in at Atlassian".to_owned());
        }
        flaws
    }

    /// The table, and what is worth saying below it.
    pub fn render(&self, style: &Style) -> String {
        let mut table = Table::new([
            "USER",
            "BACKEND",
            "STRATEGY",
            "STATUS",
            "WHAT THE BACKEND SAW",
        ]);
        for act in &self.acts {
            let status = act.status.to_string();
            table.row([
                (act.user.to_owned(), style.bold(act.user)),
                (act.backend.to_owned(), act.backend.to_owned()),
                (act.strategy.to_owned(), style.dim(act.strategy)),
                (
                    status.clone(),
                    if act.status == 200 {
                        style.good(&status)
                    } else {
                        style.warn(&status)
                    },
                ),
                act.outcome.cell(style),
            ]);
        }
        let mut text = table.render(style);
        text.push('\n');
        for counted in &self.counted {
            let calls = counted.calls.iter().map(|(name, calls)| {
                let calls = style.bold(&calls.to_string());
                format!("{calls} calls to {name}")
            });
            let calls = calls.collect::<Vec<_>>().join(" and ");
            let Counted {
                backend,
                requests,
                users,
                ..
            } = counted;
            text.push_str(&format!(
                "{requests} requests to {backend} by {users} users took {calls}.\n"
            ));
        }
        if let Some(challenge) = &self.challenge {
            text.push_str(&format!(
                "bob has not logged in at Atlassian; his client was told so:\n\n  {} {challenge}\n",
                style.dim("www-authenticate:")
            ));
        }
        text
    }
}

impl Outcome {
    fn cell(&self, style: &Style) -> (String, String) {
        match self {
            Self::Credential { header, value } => {
                let short = shorten(value);
                (
                    format!("{header}: {short}"),
                    format!("{} {short}", style.dim(&format!("{header}:"))),
                )
            }
            Self::Refused { code } => (
                format!("nothing ({code})"),
                format!(
                    "{} {}",
                    style.dim("nothing"),
                    style.warn(&format!("({code})"))
                ),
            ),
        }
    }
}

/// Enough of a credential to tell it from others: its beginning and its end.
pub(crate) fn shorten(value: &str) -> String {
    let (scheme, token) = value
        .split_once(' ')
        .map_or(("", value), |(scheme, token)| (scheme, token));
    let characters: Vec<char> = token.chars().collect();
    let short: String = if characters.len() > 18 {
        let start: String = characters.iter().take(12).collect();
        let end: String = characters.iter().skip(characters.len() - 4).collect();
        format!("{start}…{end}")
    } else {
        token.to_owned()
    };
    if scheme.is_empty() {
        short
    } else {
        format!("{scheme} {short}")
    }
}
