//! The foreign functions `sign`, as Envoy has it from 1.37 on, and `verify_signature`.

use super::state::{host, status};
use prost::Message;
use rcgen::{KeyPair, PublicKeyData, SigningKey};

#[derive(Clone, PartialEq, Message)]
struct SignArguments {
    #[prost(string, tag = "1")]
    hash_function: String,
    #[prost(bytes = "vec", tag = "2")]
    private_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    text: Vec<u8>,
    #[prost(string, tag = "4")]
    private_key_pem: String,
}

#[derive(Clone, PartialEq, Message)]
struct VerifySignatureArguments {
    #[prost(string, tag = "1")]
    hash_function: String,
    #[prost(bytes = "vec", tag = "2")]
    public_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    signature: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    text: Vec<u8>,
}

/// What `verify_signature` has to know of what `sign` has signed.
#[derive(Clone, PartialEq)]
pub struct Signed {
    /// The public half of the key, as `SubjectPublicKeyInfo`.
    public_key: Vec<u8>,
    signature: Vec<u8>,
    text: Vec<u8>,
}

/// What `sign` answers.
#[derive(Clone, PartialEq, Message)]
pub struct SignResult {
    #[prost(bool, tag = "1")]
    pub result: bool,
    #[prost(bytes = "vec", tag = "2")]
    pub signature: Vec<u8>,
    #[prost(string, tag = "3")]
    pub error: String,
}

/// Signs with a PKCS#8 key in DER: of that form it is that Envoy takes nothing else. What is no key is
/// a result, not a status.
pub fn sign(arguments: &[u8]) -> Result<Vec<u8>, u32> {
    let arguments = SignArguments::decode(arguments).map_err(|_| status::BAD_ARGUMENT)?;
    if !arguments.private_key_pem.is_empty() || arguments.private_key.is_empty() {
        return Err(status::BAD_ARGUMENT);
    }
    let result = match signature(&arguments) {
        Some(signature) => SignResult {
            result: true,
            signature,
            error: String::new(),
        },
        None => SignResult {
            result: false,
            signature: Vec::new(),
            error: "Failed to initialize digest sign.".to_owned(),
        },
    };
    Ok(result.encode_to_vec())
}

fn signature(arguments: &SignArguments) -> Option<Vec<u8>> {
    let read = |key: &[u8]| {
        let algorithms = [&rcgen::PKCS_RSA_SHA256, &rcgen::PKCS_ECDSA_P256_SHA256];
        let mut keys = algorithms
            .into_iter()
            .map(|algorithm| KeyPair::from_pkcs8_der_and_sign_algo(&key.into(), algorithm));
        keys.find_map(Result::ok)
    };
    let key = read(&arguments.private_key).or_else(|| {
        // Envoy's cryptography works the public half out, which the one here must be told.
        let number = number_of(&arguments.private_key)?;
        let whole = host(|host| host.keys.clone());
        read(whole.iter().find(|key| number_of(key) == Some(number))?)
    })?;
    (arguments.hash_function == "sha256").then_some(())?;
    let signature = key.sign(&arguments.text).ok()?;
    let signed = Signed {
        public_key: key.subject_public_key_info(),
        signature: signature.clone(),
        text: arguments.text.clone(),
    };
    host(|host| host.signed.push(signed));
    Some(signature)
}

/// The secret number in a P-256 key.
pub fn number_of(pkcs8: &[u8]) -> Option<&[u8]> {
    const OCTETS: &[u8] = &[4, 32];
    let start = pkcs8.windows(2).position(|bytes| bytes == OCTETS)? + 2;
    pkcs8.get(start..start + 32)
}

/// Verifies what has been signed here.
pub fn verify(arguments: &[u8]) -> Result<Vec<u8>, u32> {
    let arguments =
        VerifySignatureArguments::decode(arguments).map_err(|_| status::BAD_ARGUMENT)?;
    let signed = Signed {
        public_key: arguments.public_key,
        signature: arguments.signature,
        text: arguments.text,
    };
    let is_signed = host(|host| host.signed.contains(&signed));
    let result = SignResult {
        result: is_signed && arguments.hash_function == "sha256",
        ..SignResult::default()
    };
    Ok(result.encode_to_vec())
}
