//! Where a grammar begins to hold: behind a mark in the answer's text, like `<tool_call>`.
//!
//! Before it anything may be said, but no token that has the end of a mark and more behind it: what
//! is behind a mark is the grammar's. In marks a control token is its text behind a byte 0xff, which
//! no text has.
use llguidance::toktrie::{TokEnv, TokTrie};

#[derive(Clone)]
pub struct Mark {
    pub text: Vec<u8>,
    /// Only as the first of an answer, but for blanks; then the grammar begins with it.
    pub first: bool,
}

#[derive(Clone)]
pub struct Wait {
    env: TokEnv,
    marks: Vec<Mark>,
    /// The end of what was said, shorter than the longest mark.
    tail: Vec<u8>,
    /// `tail` is all that was said, but for blanks in front.
    whole: bool,
    /// ... in these tokens.
    said: Vec<u32>,
    /// Thoughts may come first, or are under way: marks in them are none.
    thoughts: Option<Thoughts>,
}

#[derive(Clone)]
struct Thoughts {
    inside: bool,
}

const OPEN: &[u8] = b"<think>";
const CLOSE: &[u8] = b"</think>";

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|w| w == part)
}

impl Wait {
    /// `thoughts`: may come first; `inside`: they have begun.
    pub fn new(env: TokEnv, marks: Vec<Mark>, thoughts: bool, inside: bool) -> Wait {
        let thoughts = (thoughts || inside).then_some(Thoughts { inside });
        Wait { env, marks, tail: Vec::new(), whole: true, said: Vec::new(), thoughts }
    }

    fn trie(&self) -> &TokTrie {
        self.env.tok_trie()
    }

    /// What is missing of marks that may have begun.
    fn missing(&self) -> impl Iterator<Item = &[u8]> {
        let inside = self.thoughts.as_ref().is_some_and(|t| t.inside);
        let marks = if inside { &[][..] } else { &self.marks[..] };
        marks.iter().flat_map(move |m| {
            let t = &self.tail[..];
            let least = if m.first { t.len() } else { 1 };
            let most = if m.first && !self.whole { 0 } else { t.len().min(m.text.len() - 1) };
            (least..=most).filter(|&n| t.ends_with(&m.text[..n])).map(|n| &m.text[n..])
        })
    }

    /// Some token may not come next.
    pub fn holds(&self) -> bool {
        self.missing().any(|rest| self.trie().has_extensions(rest))
    }

    /// Clears the bits of these.
    pub fn mask(&self, bits: &mut [u32]) {
        let t = self.trie();
        for rest in self.missing().filter(|rest| t.has_extensions(rest)) {
            for id in 0..t.vocab_size().min(bits.len() * 32) {
                let token = t.token(id as u32);
                if token.len() > rest.len() && token.starts_with(rest) {
                    bits[id / 32] &= !(1 << (id % 32));
                }
            }
        }
    }

    fn think(&mut self) {
        let Some(thoughts) = &mut self.thoughts else { return };
        let plain: Vec<u8> = self.tail.iter().copied().filter(|&b| b != TokTrie::SPECIAL_TOKEN_MARKER).collect();
        if thoughts.inside {
            if let Some(at) = find(&plain, CLOSE) {
                self.tail = plain[at + CLOSE.len()..].to_vec();
                self.thoughts = None;
                self.said.clear();
                self.strip();
                self.whole = self.tail.is_empty(); // else `said` would lack its token
            }
        } else if plain.starts_with(OPEN) {
            thoughts.inside = true;
        } else if !OPEN.starts_with(&plain) {
            self.thoughts = None;
        }
    }

    fn strip(&mut self) {
        let blanks = self.tail.iter().take_while(|b| b.is_ascii_whitespace()).count();
        self.tail.drain(..blanks);
    }

    /// The token came. If it ends a mark: the tokens with which the grammar begins.
    pub fn take(&mut self, id: u32) -> Option<Vec<u32>> {
        let token = self.trie().token(id).to_vec();
        self.tail.extend_from_slice(&token);
        if self.whole {
            self.said.push(id);
            self.strip();
            if self.tail.is_empty() {
                self.said.clear(); // blanks, or a token without a text
            }
        }
        self.think();
        if !self.thoughts.as_ref().is_some_and(|t| t.inside) {
            let here = |m: &&Mark| {
                self.tail.ends_with(&m.text)
                    && (!m.first || self.whole && self.tail.len() == m.text.len())
            };
            if let Some(first) = self.marks.iter().find(here).map(|m| m.first) {
                let said = std::mem::take(&mut self.said);
                self.tail.clear();
                self.whole = false;
                self.thoughts = None;
                return Some(if first { said } else { Vec::new() });
            }
        }
        let longest = self.marks.iter().map(|m| m.text.len()).max().unwrap_or(0);
        let most = longest.max(CLOSE.len() + 1);
        if self.tail.len() >= most {
            self.tail.drain(..self.tail.len() + 1 - most);
            self.whole = false;
            self.said.clear();
        }
        None
    }
}
