//! Envoy's admin interface: just enough HTTP, and how to read what it answers.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::waiting::{Waiting, within};

/// How long an answer may take, from the connection to its last byte.
const LIMIT: Duration = Duration::from_secs(30);

pub(super) struct AdminReply {
    pub(super) status: u16,
    pub(super) body: String,
}

/// One `GET` on a connection of its own.
///
/// # Errors
/// Nothing answers in time, or something else than Envoy does.
pub(super) async fn get(admin: SocketAddr, path: &str) -> Result<AdminReply, String> {
    let what = format!("the admin interface's answer to {path}");
    let answer = within(LIMIT, what, exchange(admin, path)).await?;
    answer.map_err(|error| format!("admin {path}: {error}"))
}

async fn exchange(admin: SocketAddr, path: &str) -> std::io::Result<AdminReply> {
    let mut stream = TcpStream::connect(admin).await?;
    stream.write_all(request(path).as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await?;
    let invalid = || std::io::Error::new(std::io::ErrorKind::InvalidData, "not Envoy's answer");
    let split = bytes
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .ok_or_else(invalid)?;
    let head = String::from_utf8_lossy(&bytes[..split]).to_ascii_lowercase();
    // The port of an Envoy that has ended may have gone to somebody else.
    if !head.contains("\r\nserver: envoy") {
        return Err(invalid());
    }
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or_else(invalid)?;
    let mut body = bytes.split_off(split + 4);
    if head.contains("transfer-encoding: chunked") {
        body = dechunk(&body).ok_or_else(invalid)?;
    }
    Ok(AdminReply {
        status,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

/// One `GET` without a runtime; the answer as it came, head and chunk sizes included.
pub(super) fn get_blocking(admin: SocketAddr, path: &str) -> std::io::Result<Vec<u8>> {
    let _waiting = Waiting::new(format!("the admin interface's answer to {path}"));
    let limit = Duration::from_secs(10);
    let end = Instant::now() + limit;
    let mut stream = std::net::TcpStream::connect_timeout(&admin, limit)?;
    stream.set_write_timeout(Some(limit))?;
    stream.write_all(request(path).as_bytes())?;
    let mut answer = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        // A limit of nothing would be none.
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        match stream.read(&mut buffer)? {
            0 => return Ok(answer),
            length => answer.extend_from_slice(&buffer[..length]),
        }
    }
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n")
}

fn dechunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?, 16).ok()?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}

/// Finds a listener's address in `/listeners?format=json`.
pub(super) fn listener_address(listeners: &Value, name: &str) -> Option<SocketAddr> {
    let socket = listeners["listener_statuses"]
        .as_array()?
        .iter()
        .find(|listener| listener["name"] == name)?
        .pointer("/local_address/socket_address")?;
    let address = socket["address"].as_str()?.parse().ok()?;
    let port = u16::try_from(socket["port_value"].as_u64()?).ok()?;
    Some(SocketAddr::new(address, port))
}

/// Counters and gauges of `/stats?format=json`; histograms and texts are left out.
pub(super) fn numbers(stats: &Value) -> Vec<(String, u64)> {
    stats["stats"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|stat| Some((stat["name"].as_str()?.to_owned(), stat["value"].as_u64()?)))
        .collect()
}

pub(super) fn quote_regex(text: &str) -> String {
    text.replace('.', "\\.")
}

pub(crate) fn quote_query(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' => (byte as char).into(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
