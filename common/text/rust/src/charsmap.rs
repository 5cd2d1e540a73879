//! SentencePiece's normalizer, as its tokenizer.model has it (normalizer.cc there): the longest
//! beginning of the rest of a text that the map knows is replaced, else a character stays. The map
//! is a double array (Darts-clone) of the bytes of what is replaced, and the texts that replace it,
//! a NUL behind each.
//!
//! The tokenizers crate reads such maps too, but asks them for whole graphemes and single
//! characters, which is not what SentencePiece does with the longer ones.
use crate::error::{fail, Failure, FORMAT};
use std::sync::Arc;
use tokenizers::{NormalizedString, Normalizer, NormalizerWrapper, Result};

/// What a tokenizer does with a text first.
#[derive(Clone, Debug)]
pub enum Norm {
    Crate(NormalizerWrapper),
    /// The map, and what comes behind it
    Mapped(Arc<Charsmap>, NormalizerWrapper),
}

impl Normalizer for Norm {
    fn normalize(&self, text: &mut NormalizedString) -> Result<()> {
        match self {
            Norm::Crate(n) => n.normalize(text),
            Norm::Mapped(map, n) => {
                // Offsets into what it was before are asked for by nobody.
                *text = NormalizedString::from(map.apply(text.get()));
                n.normalize(text)
            }
        }
    }
}

#[derive(Debug)]
pub struct Charsmap {
    units: Vec<u32>,
    texts: Vec<u8>,
    /// Tokens of users, which are never replaced
    kept: Vec<String>,
    /// remove_extra_whitespaces: no blanks at the beginning of a piece behind a blank, or of a text
    squeeze: bool,
}

/// A unit of the double array.
#[derive(Clone, Copy)]
struct Unit(u32);

impl Unit {
    fn has_leaf(self) -> bool {
        self.0 >> 8 & 1 == 1
    }
    fn value(self) -> usize {
        (self.0 & 0x7FFF_FFFF) as usize
    }
    fn label(self) -> u32 {
        self.0 & 0x8000_00FF
    }
    fn offset(self) -> usize {
        ((self.0 >> 10) << ((self.0 & 1 << 9) >> 6)) as usize
    }
}

impl Charsmap {
    /// `bytes`: the double array's size in bytes (4, little-endian), itself, the texts.
    pub fn new(
        bytes: &[u8],
        mut kept: Vec<String>,
        squeeze: bool,
    ) -> std::result::Result<Charsmap, Failure> {
        let wrong = || fail(FORMAT, "its normalizer's map of characters is damaged");
        let Some((size, rest)) = bytes.split_first_chunk::<4>() else { return wrong() };
        let size = u32::from_le_bytes(*size) as usize;
        if size > rest.len() || size % 4 != 0 || size == 0 {
            return wrong();
        }
        let (array, texts) = rest.split_at(size);
        if texts.last() != Some(&0) || std::str::from_utf8(texts).is_err() {
            return wrong();
        }
        let unit = |b: &[u8]| u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        kept.sort_by_key(|k| std::cmp::Reverse(k.len()));
        let units = array.chunks_exact(4).map(unit).collect();
        Ok(Charsmap { units, texts: texts.to_vec(), kept, squeeze })
    }

    fn unit(&self, at: usize) -> Unit {
        Unit(self.units.get(at).copied().unwrap_or(0x8000_0000)) // the label of no byte
    }

    /// The longest beginning that is known: its length, and where its replacement begins.
    fn find(&self, text: &[u8]) -> Option<(usize, usize)> {
        let mut at = self.unit(0).offset();
        let mut found = None;
        for (i, &byte) in text.iter().enumerate() {
            at ^= byte as usize;
            let unit = self.unit(at);
            if byte == 0 || unit.label() != byte as u32 {
                break;
            }
            at ^= unit.offset();
            if unit.has_leaf() {
                found = Some((i + 1, self.unit(at).value()));
            }
        }
        found
    }

    /// The text from `at` to its NUL; nothing of a map that is damaged.
    fn text(&self, at: usize) -> &str {
        let rest = self.texts.get(at..).unwrap_or(&[]);
        let end = rest.iter().position(|&b| b == 0).unwrap_or(0);
        std::str::from_utf8(&rest[..end]).unwrap_or("")
    }

    pub fn apply(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let kept = self.kept.iter().find(|k| rest.starts_with(k.as_str())).map(String::len);
            let found = self.find(rest.as_bytes()).filter(|&(n, _)| rest.is_char_boundary(n));
            let (taken, mut piece) = match (kept, found) {
                (None, Some((n, at))) => (n, self.text(at)),
                _ => {
                    let n = kept.unwrap_or(c.len_utf8());
                    (n, &rest[..n])
                }
            };
            if self.squeeze && (out.is_empty() || out.ends_with(' ')) {
                piece = piece.trim_start_matches(' ');
            }
            out.push_str(piece);
            rest = &rest[taken..];
        }
        out
    }
}
