//! The model inside a tokenizer, shared by the tokenizers that differ in their added tokens only;
//! and the one kind of model that the tokenizers crate does not have.
use crate::core::{Entry, Kind};
use ahash::AHashMap;
use std::collections::{BinaryHeap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokenizers::models::{ModelWrapper, TrainerWrapper};
use tokenizers::{Model, Result, Token};

#[derive(Clone, Debug)]
pub enum Shared {
    Crate(Arc<ModelWrapper>),
    Spm(Arc<Spm>),
}

impl Model for Shared {
    type Trainer = TrainerWrapper;

    fn tokenize(&self, sequence: &str) -> Result<Vec<Token>> {
        match self {
            Shared::Crate(m) => m.tokenize(sequence),
            Shared::Spm(m) => Ok(m.tokenize(sequence)),
        }
    }
    fn token_to_id(&self, token: &str) -> Option<u32> {
        match self {
            Shared::Crate(m) => m.token_to_id(token),
            Shared::Spm(m) => m.ids.get(token).copied(),
        }
    }
    fn id_to_token(&self, id: u32) -> Option<String> {
        match self {
            Shared::Crate(m) => m.id_to_token(id),
            Shared::Spm(m) => m.texts.get(id as usize).cloned(),
        }
    }
    fn get_vocab(&self) -> HashMap<String, u32> {
        match self {
            Shared::Crate(m) => m.get_vocab(),
            Shared::Spm(m) => m.ids.iter().map(|(k, v)| (k.clone(), *v)).collect(),
        }
    }
    fn get_vocab_size(&self) -> usize {
        match self {
            Shared::Crate(m) => m.get_vocab_size(),
            Shared::Spm(m) => m.texts.len(),
        }
    }
    fn save(&self, _: &Path, _: Option<&str>) -> Result<Vec<PathBuf>> {
        Err("not saved".into())
    }
    fn get_trainer(&self) -> TrainerWrapper {
        unreachable!("nothing is trained")
    }
}

/// BPE by scores: SentencePiece's, as a GGUF describes it (`llama`), and with ranks as scores that of
/// tiktoken. Characters are merged to the neighbour
/// pair whose token has the best score, the leftmost of equals; a character that is no token
/// becomes its bytes.
#[derive(Debug)]
pub struct Spm {
    pub ids: AHashMap<String, u32>,
    pub texts: Vec<String>,
    pub scores: Vec<f32>,
    /// Tokens that text can become by merges: all but control tokens and bytes.
    pub merged: Vec<bool>,
    /// -1: no such token
    pub bytes: [i32; 256],
    pub unk: i32,
    /// A text that is a token as a whole is not merged.
    pub whole: bool,
    /// Instead of merges
    pub unigram: Option<Unigram>,
}

/// SentencePiece's Unigram: of all ways to cut a text into tokens the one with the largest sum of
/// scores; of equals the one found first, from the left and with the shorter token.
#[derive(Debug)]
pub struct Unigram {
    longest: usize,
    /// What an unknown character costs.
    unknown: f32,
}

impl Unigram {
    pub fn new(entries: &[Entry]) -> Unigram {
        let normal = entries.iter().filter(|e| e.kind == Kind::Normal);
        let least = normal.map(|e| e.score).fold(f32::MAX, f32::min);
        let longest = entries.iter().map(|e| e.text.len()).max().unwrap_or(0);
        Unigram { longest, unknown: least - 10.0 }
    }

    /// Where the tokens of the best way begin and end.
    fn cut(&self, m: &Spm, text: &str) -> Vec<Symbol> {
        let mut best: Vec<Option<(f32, usize)>> = vec![None; text.len() + 1];
        best[0] = Some((0.0, 0));
        for (at, c) in text.char_indices() {
            let Some((before, _)) = best[at] else { continue };
            let mut put = |end: usize, score: f32| {
                if best[end].is_none_or(|(other, _)| before + score > other) {
                    best[end] = Some((before + score, at));
                }
            };
            let one = at + c.len_utf8();
            let mut alone = false;
            for end in (one..=text.len().min(at + self.longest)).filter(|&e| text.is_char_boundary(e)) {
                if let Some(id) = m.find(&text[at..end]) {
                    put(end, m.scores[id as usize]);
                    alone |= end == one;
                }
            }
            if !alone {
                put(one, self.unknown);
            }
        }
        let mut out = Vec::new();
        let mut end = text.len();
        while let Some((_, at)) = best[end].filter(|_| end > 0) {
            out.push(Symbol { at, len: end - at, prev: NONE, next: NONE });
            end = at;
        }
        out.reverse();
        out
    }
}

/// A pair of neighbours that are a token together: the best score first, then the leftmost.
struct Pair {
    score: f32,
    left: usize,
    right: usize,
    len: usize,
}

impl PartialEq for Pair {
    fn eq(&self, o: &Self) -> bool {
        self.cmp(o).is_eq()
    }
}
impl Eq for Pair {}
impl PartialOrd for Pair {
    fn partial_cmp(&self, o: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(o))
    }
}
impl Ord for Pair {
    fn cmp(&self, o: &Self) -> std::cmp::Ordering {
        self.score.total_cmp(&o.score).then(o.left.cmp(&self.left))
    }
}

const NONE: usize = usize::MAX;

/// A stretch of the text; `len` 0: merged into its left neighbour.
struct Symbol {
    at: usize,
    len: usize,
    prev: usize,
    next: usize,
}

impl Spm {
    fn find(&self, text: &str) -> Option<u32> {
        self.ids.get(text).copied().filter(|&id| self.merged[id as usize])
    }

    fn push(&self, heap: &mut BinaryHeap<Pair>, text: &str, s: &[Symbol], left: usize, right: usize) {
        if left == NONE || right == NONE {
            return;
        }
        let len = s[left].len + s[right].len;
        if let Some(id) = self.find(&text[s[left].at..s[left].at + len]) {
            heap.push(Pair { score: self.scores[id as usize], left, right, len });
        }
    }

    fn symbols(text: &str) -> Vec<Symbol> {
        let mut s: Vec<Symbol> = text
            .char_indices()
            .enumerate()
            .map(|(i, (at, c))| Symbol {
                at,
                len: c.len_utf8(),
                prev: i.wrapping_sub(1),
                next: i + 1,
            })
            .collect();
        if let Some(last) = s.last_mut() {
            last.next = NONE;
        }
        s
    }

    fn merge(&self, text: &str) -> Vec<Symbol> {
        let mut s = Self::symbols(text);
        let mut heap = BinaryHeap::new();
        for i in 1..s.len() {
            self.push(&mut heap, text, &s, i - 1, i);
        }
        while let Some(p) = heap.pop() {
            let (a, b) = (p.left, p.right);
            if s[a].len == 0 || s[b].len == 0 || s[a].len + s[b].len != p.len {
                continue; // of before another merge
            }
            s[a].len = p.len;
            s[b].len = 0;
            s[a].next = s[b].next;
            if s[a].next != NONE {
                let next = s[a].next;
                s[next].prev = a;
            }
            self.push(&mut heap, text, &s, s[a].prev, a);
            self.push(&mut heap, text, &s, a, s[a].next);
        }
        s
    }

    fn tokenize(&self, text: &str) -> Vec<Token> {
        if let Some(id) = self.find(text).filter(|_| self.whole) {
            return vec![Token::new(id, text.to_string(), (0, text.len()))];
        }
        let mut out: Vec<Token> = Vec::new();
        let symbols = match &self.unigram {
            Some(u) => u.cut(self, text),
            None => self.merge(text),
        };
        for s in symbols.iter().filter(|s| s.len > 0) {
            let range = (s.at, s.at + s.len);
            let piece = &text[range.0..range.1];
            if let Some(id) = self.find(piece) {
                out.push(Token::new(id, piece.to_string(), range));
                continue;
            }
            for b in piece.bytes() {
                let byte = self.bytes[b as usize];
                let id = if byte >= 0 { byte } else { self.unk };
                // Unknown characters side by side are one token, as SentencePiece has it.
                let again = byte < 0 && out.last().is_some_and(|t| t.id as i32 == self.unk);
                if id >= 0 && !again {
                    out.push(Token::new(id as u32, self.texts[id as usize].clone(), range));
                }
            }
        }
        out
    }
}
