//! Which fields are secret, told by their names: `explain` hides them, and `check` warns of them in plain text.

/// Form fields, and parameters of a query, whose values are nobody's to see.
pub(crate) fn is_secret(name: &str) -> bool {
    const WORDS: [&str; 16] = [
        "auth",
        "bearer",
        "cookie",
        "hmac",
        "jwt",
        "otp",
        "pin",
        "sig",
        "token",
        "secret",
        "assertion",
        "pass",
        "pwd",
        "key",
        "code",
        "credential",
    ];
    let name = name.to_ascii_lowercase();
    let is_about = WORDS.iter().any(|word| name.contains(word));
    // What kind it is, or who handles it, is none itself.
    let kinds = ["_type", "_use", "_hash", "_handler"];
    is_about && !kinds.iter().any(|kind| name.ends_with(kind))
}
