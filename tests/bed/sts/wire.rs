//! Requests as they come from the socket, kept byte for byte.

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// One request that reached the STS.
#[derive(Clone, Debug)]
pub struct StsRequest {
    /// The request line and the headers as they were sent, without the empty line.
    pub head: String,
    /// The body as it was sent (chunks joined).
    pub body: String,
}

impl StsRequest {
    /// The request line, such as `POST /token HTTP/1.1`.
    #[must_use]
    pub fn line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// All headers in order, names in lower case.
    #[must_use]
    pub fn headers(&self) -> Vec<(String, String)> {
        self.head
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect()
    }

    /// A header's first value; "" if there is none.
    #[must_use]
    pub fn header(&self, name: &str) -> String {
        self.headers()
            .into_iter()
            .find_map(|(found, value)| (found == name).then_some(value))
            .unwrap_or_default()
    }

    /// The form's parameters in order, decoded.
    #[must_use]
    pub fn form(&self) -> Vec<(String, String)> {
        decode_form(&self.body)
    }

    /// A parameter's first value; "" if there is none.
    #[must_use]
    pub fn parameter(&self, name: &str) -> String {
        self.form()
            .into_iter()
            .find_map(|(found, value)| (found == name).then_some(value))
            .unwrap_or_default()
    }
}

/// The pairs of a form or a query, decoded.
pub(crate) fn decode_form(form: &str) -> Vec<(String, String)> {
    form.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match (byte, hex.and_then(|two| u8::from_str_radix(two, 16).ok())) {
            (b'%', Some(decoded)) => {
                bytes.push(decoded);
                rest = &tail[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = tail;
            }
            _ => {
                bytes.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads the next request; `unread` keeps what came after it. `None` at the connection's end.
pub(super) async fn read_request(
    stream: &mut TcpStream,
    unread: &mut Vec<u8>,
) -> Option<StsRequest> {
    let head_end = read_until(stream, unread, b"\r\n\r\n").await?;
    let head = text(unread.drain(..head_end).as_slice());
    unread.drain(..4);
    let request = StsRequest {
        head,
        body: String::new(),
    };
    let body = if request
        .header("transfer-encoding")
        .eq_ignore_ascii_case("chunked")
    {
        read_chunks(stream, unread).await?
    } else {
        let length = request.header("content-length").parse().unwrap_or(0);
        read_length(stream, unread, length).await?
    };
    Some(StsRequest {
        body: text(&body),
        ..request
    })
}

async fn read_chunks(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line_end = read_until(stream, unread, b"\r\n").await?;
        let size = usize::from_str_radix(&text(&unread[..line_end]), 16).ok()?;
        unread.drain(..line_end + 2);
        let chunk = read_length(stream, unread, size + 2).await?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(&chunk[..size]);
    }
}

async fn read_until(stream: &mut TcpStream, unread: &mut Vec<u8>, end: &[u8]) -> Option<usize> {
    loop {
        if let Some(position) = unread.windows(end.len()).position(|window| window == end) {
            return Some(position);
        }
        read_more(stream, unread).await?;
    }
}

async fn read_length(
    stream: &mut TcpStream,
    unread: &mut Vec<u8>,
    length: usize,
) -> Option<Vec<u8>> {
    while unread.len() < length {
        read_more(stream, unread).await?;
    }
    Some(unread.drain(..length).collect())
}

async fn read_more(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Option<()> {
    match stream.read_buf(unread).await {
        Ok(length) if length > 0 => Some(()),
        _ => None,
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_decoded_pair_by_pair() {
        let request = StsRequest {
            head: "POST /token HTTP/1.1\r\nHost: sts\r\nX-A:  b ".to_owned(),
            body: "scope=read+write&audience=https%3A%2F%2Fa&audience=%zz&flag".to_owned(),
        };
        let form = request.form();
        let pairs: Vec<_> = form.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        assert_eq!(
            pairs,
            [
                ("scope", "read write"),
                ("audience", "https://a"),
                ("audience", "%zz"),
                ("flag", "")
            ]
        );
        assert_eq!(request.header("x-a"), "b");
        assert_eq!(request.line(), "POST /token HTTP/1.1");
    }
}
