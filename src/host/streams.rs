//! The streams of this worker that are under way.

use crate::exchange::cache::Key;
use crate::exchange::results::Used;
use hashbrown::HashMap;
use std::cell::RefCell;
use std::hash::{BuildHasher, Hasher};

/// What is known of a stream.
pub struct Stream {
    /// The plugin that it belongs to.
    pub root: u32,
    /// Its part in an exchange.
    pub part: Part,
}

/// A stream's part in an exchange.
pub enum Part {
    /// None.
    None,
    /// It waits for this answer.
    Waiting(Key),
    /// It went on with this token.
    Used(Used),
}

impl Part {
    /// Whether the stream's end is nobody's business.
    pub fn is_none(&self) -> bool {
        matches!(self, Part::None)
    }
}

thread_local! {
    static STREAMS: RefCell<HashMap<u32, Stream, Spread>> =
        const { RefCell::new(HashMap::with_hasher(Spread(0))) };
}

/// Spreads the ids of streams over the table, with one multiplication (Fibonacci hashing): the host
/// counts them up, so that nobody can choose ones that collide.
#[derive(Clone, Copy)]
struct Spread(u64);

impl BuildHasher for Spread {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        *self
    }
}

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, id: u32) {
        self.0 = (self.0 ^ u64::from(id)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A stream of the plugin `root` begins.
pub fn begin(context: u32, root: u32) {
    let stream = Stream {
        root,
        part: Part::None,
    };
    STREAMS.with_borrow_mut(|streams| streams.insert(context, stream));
}

/// A stream ends; `None` if `context` is no stream.
pub fn end(context: u32) -> Option<Stream> {
    STREAMS.with_borrow_mut(|streams| streams.remove(&context))
}

/// The plugin that the stream belongs to.
pub fn root_of(context: u32) -> Option<u32> {
    STREAMS.with_borrow(|streams| streams.get(&context).map(|stream| stream.root))
}

/// Whether the stream has not ended.
pub fn is_under_way(context: u32) -> bool {
    STREAMS.with_borrow(|streams| streams.contains_key(&context))
}

/// The stream's part in an exchange changes.
pub fn set_part(context: u32, part: Part) {
    STREAMS.with_borrow_mut(|streams| {
        if let Some(stream) = streams.get_mut(&context) {
            stream.part = part;
        }
    });
}
