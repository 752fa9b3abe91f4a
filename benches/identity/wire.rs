//! As much HTTP/2 as it takes to put the same question again and again, at next to no cost: what
//! loads a server must not be what is measured.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use memchr::memmem::Finder;

/// A question, and what its answer must contain.
pub struct Question {
    /// The body.
    pub body: Vec<u8>,
    /// In the answer's body.
    pub needle: Finder<'static>,
}

/// What all questions have in common: the header fields after `:method: POST` and `:scheme: http`.
pub type Fields = Vec<(&'static str, String)>;

/// A connection.
pub struct Connection {
    socket: TcpStream,
    /// The header block of the first question, whose fields the server is to remember, and of all
    /// others, which name them by number.
    headers: [Vec<u8>; 2],
    next_stream: u32,
    asked: VecDeque<Asked>,
    /// What was read last, of which so much is the beginning of a frame.
    input: Vec<u8>,
    kept: usize,
    output: Vec<u8>,
    /// Bytes of bodies since the server was last given leave to send more.
    received: usize,
}

struct Asked {
    stream: u32,
    due: Instant,
    question: usize,
    answered: bool,
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
/// Room for what is read at once: longer frames than 16 KiB are not sent to whoever asks for none.
const INPUT: usize = 128 * 1024;
/// How much a connection may receive before it says so again.
const WINDOW: u32 = 0x7000_0000;

impl Connection {
    /// Connects.
    pub fn open(address: SocketAddr, fields: &Fields) -> Self {
        let socket = TcpStream::connect(address).expect("the server's port");
        socket.set_nodelay(true).expect("a socket option");
        let mut connection = Self {
            socket,
            headers: header_blocks(fields),
            next_stream: 1,
            asked: VecDeque::new(),
            input: vec![0; INPUT],
            kept: 0,
            output: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            received: 0,
        };
        connection.frame(SETTINGS, 0, 0, &[]);
        connection.frame(WINDOW_UPDATE, 0, 0, &WINDOW.to_be_bytes());
        connection
    }

    /// How many questions wait for an answer.
    pub fn waiting(&self) -> usize {
        self.asked.len()
    }

    /// Puts a question, the `question`th of all, which was due then.
    pub fn ask(&mut self, all: &[Question], question: usize, due: Instant) {
        let stream = self.next_stream;
        self.next_stream += 2;
        let block = std::mem::take(&mut self.headers[usize::from(stream > 1)]);
        self.frame(HEADERS, END_HEADERS, stream, &block);
        self.headers[usize::from(stream > 1)] = block;
        self.frame(DATA, END_STREAM, stream, &all[question].body);
        self.asked.push_back(Asked {
            stream,
            due,
            question,
            answered: false,
        });
    }

    /// Sends what was asked.
    pub fn flush(&mut self) {
        self.socket
            .write_all(&self.output)
            .expect("an open connection");
        self.output.clear();
    }

    /// Reads what is there: when each question that is answered now was due.
    pub fn read(&mut self, all: &[Question], mut answered: impl FnMut(Instant)) {
        let mut input = std::mem::take(&mut self.input);
        let read = self
            .socket
            .read(&mut input[self.kept..])
            .expect("an open connection");
        assert!(read > 0, "the server has closed the connection");
        let end = self.kept + read;
        let mut rest = &input[..end];
        while let Some((head, after)) = rest.split_at_checked(9) {
            let length =
                usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let Some((payload, after)) = after.split_at_checked(length) else {
                break;
            };
            rest = after;
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            self.take(all, (head[3], head[4], stream), payload, &mut answered);
        }
        self.kept = rest.len();
        input.copy_within(end - self.kept..end, 0);
        self.input = input;
    }

    fn take(
        &mut self,
        all: &[Question],
        (kind, flags, stream): (u8, u8, u32),
        payload: &[u8],
        answered: &mut impl FnMut(Instant),
    ) {
        match kind {
            DATA | HEADERS => {
                let place = self.asked.iter().position(|asked| asked.stream == stream);
                let asked = &mut self.asked[place.expect("an answer to a question")];
                if kind == DATA {
                    self.received += payload.len();
                    asked.answered |= all[asked.question].needle.find(payload).is_some();
                }
                if flags & END_STREAM != 0 {
                    assert!(asked.answered, "another answer than expected: {payload:?}");
                    answered(asked.due);
                    self.asked.remove(place.expect("found"));
                }
                if self.received > WINDOW as usize / 2 {
                    self.received = 0;
                    self.frame(WINDOW_UPDATE, 0, 0, &(WINDOW / 2).to_be_bytes());
                }
            }
            SETTINGS if flags & ACK == 0 => self.frame(SETTINGS, ACK, 0, &[]),
            PING if flags & ACK == 0 => self.frame(PING, ACK, 0, payload),
            SETTINGS | PING | WINDOW_UPDATE => {}
            other => panic!("a frame of type {other} for stream {stream}: {payload:?}"),
        }
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        self.output.extend_from_slice(&length[1..]);
        self.output.extend_from_slice(&[kind, flags]);
        self.output.extend_from_slice(&stream.to_be_bytes());
        self.output.extend_from_slice(payload);
    }
}

/// Waits for an answer, until then at most: which connections have something to read.
pub fn wait<const N: usize>(connections: &[Connection; N], until: Option<Instant>) -> [bool; N] {
    const PATIENCE: Duration = Duration::from_secs(20);
    let left = until.map_or(PATIENCE, |until| {
        until.saturating_duration_since(Instant::now())
    });
    let left = libc::timespec {
        tv_sec: left.as_secs().try_into().expect("seconds"),
        tv_nsec: left.subsec_nanos().into(),
    };
    let mut polled = connections.each_ref().map(|connection| libc::pollfd {
        fd: connection.socket.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    });
    // SAFETY: so many entries, and a time, that live until the call is over.
    let ready = unsafe {
        libc::ppoll(
            polled.as_mut_ptr(),
            N as libc::nfds_t,
            &raw const left,
            std::ptr::null(),
        )
    };
    assert!(ready > 0 || until.is_some(), "no answer in {PATIENCE:?}");
    polled.map(|polled| polled.revents != 0)
}

/// The header blocks (RFC 7541) of the first request and of all that follow.
fn header_blocks(fields: &Fields) -> [Vec<u8>; 2] {
    // :method: POST and :scheme: http are in the static table, the last entry of which is 61.
    let mut first = vec![0x83, 0x86];
    let mut again = first.clone();
    for (place, (name, value)) in fields.iter().enumerate() {
        // A literal that is remembered, with a new name. The newest entry is the first one.
        first.push(0x40);
        for text in [name, value.as_str()] {
            first.push(u8::try_from(text.len()).expect("short"));
            first.extend_from_slice(text.as_bytes());
        }
        let entry = 62 + fields.len() - 1 - place;
        again.push(0x80 | u8::try_from(entry).expect("few"));
    }
    [first, again]
}
