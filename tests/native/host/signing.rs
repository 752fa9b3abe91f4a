//! The foreign function `sign`, as Envoy has it from 1.37 on.

use super::state::status;
use prost::Message;
use rcgen::{KeyPair, SigningKey};

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
    let key = [&rcgen::PKCS_RSA_SHA256, &rcgen::PKCS_ECDSA_P256_SHA256]
        .into_iter()
        .find_map(|algorithm| {
            let key = arguments.private_key.as_slice().into();
            KeyPair::from_pkcs8_der_and_sign_algo(&key, algorithm).ok()
        })?;
    (arguments.hash_function == "sha256").then_some(())?;
    key.sign(&arguments.text).ok()
}
