//! Who decides what happens next in a run: every way one after the other, or chance.

/// Who decides what happens next.
pub(super) enum Choices {
    /// Every way, one after the other: what was chosen, of how many.
    Every {
        made: Vec<(usize, usize)>,
        next: usize,
    },
    /// Some ways.
    Random(u64),
}

impl Choices {
    /// Every way, from the first.
    pub(super) fn every() -> Self {
        Self::Every {
            made: Vec::new(),
            next: 0,
        }
    }

    pub(super) fn choose(&mut self, of: usize) -> usize {
        match self {
            Self::Every { made, next } => {
                if *next == made.len() {
                    made.push((0, of));
                }
                *next += 1;
                assert_eq!(made[*next - 1].1, of, "the run does not repeat itself");
                made[*next - 1].0
            }
            Self::Random(state) => {
                *state ^= *state << 13;
                *state ^= *state >> 7;
                *state ^= *state << 17;
                (*state >> 11) as usize % of
            }
        }
    }

    /// Turns to the next way; false if there is none.
    pub(super) fn turn(&mut self) -> bool {
        let Self::Every { made, next } = self else {
            return true;
        };
        *next = 0;
        while let Some((chosen, of)) = made.pop() {
            if chosen + 1 < of {
                made.push((chosen + 1, of));
                return true;
            }
        }
        false
    }
}
