//! The same ids, ten times as fast, for the pre-tokenizers that byte-level BPE has: a text is cut into
//! words in place, and the model is asked once for each different word of it.
//!
//! Everything that decides about ids is still the tokenizers crate's: added tokens, normalizer and
//! model. Of the pre-tokenizer this does what Split (Isolated), Digits and ByteLevel say, with the
//! same engine for regular expressions; whatever has another step takes the crate's own way.
use crate::core::Tok;
use ahash::AHashMap;
use regex_automata::{meta, Input};
use serde_json::Value;
use tokenizers::{Model, OffsetReferential, OffsetType, Result};

const GPT2: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
/// How nearly all such expressions end: blanks, of which the last belongs to the word behind them.
const BLANKS: &str = r"|\s+(?!\S)|\s+";

pub struct Fast {
    stages: Vec<Stage>,
}

enum Stage {
    /// What comes before BLANKS, and blanks: without looking ahead, so that no step is taken twice.
    Blanks(Box<meta::Regex>),
    Any(Box<fancy_regex::Regex>),
    Digits { each: bool },
}

/// The GPT-2 letter of each byte.
fn letters() -> [char; 256] {
    let mut out = ['\0'; 256];
    let mut other = 0x100;
    for b in 0..=255u8 {
        out[b as usize] = match b {
            0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF => b as char,
            _ => {
                other += 1;
                char::from_u32(other - 1).unwrap_or('\0')
            }
        };
    }
    out
}

fn expression(re: &str) -> Option<Stage> {
    let empty = |p: &str| regex_syntax::parse(p).map_or(true, |h| {
        h.properties().minimum_len().unwrap_or(0) == 0
    });
    // What gives nothing back is another thing to the faster engine: a repetition of a repetition.
    let possessive = ["?+", "*+", "++", "}+"].iter().any(|p| re.contains(p));
    if let Some(before) = re.strip_suffix(BLANKS) {
        if !possessive && !empty(before) {
            let both = meta::Regex::new_many(&[before, r"\s+"]);
            return Some(Stage::Blanks(Box::new(both.ok()?)));
        }
    }
    let re = fancy_regex::Regex::new(re).ok()?;
    (!re.is_match("").ok()?).then(|| Stage::Any(Box::new(re)))
}

impl Fast {
    /// None: the pre-tokenizer has a step that is not known here.
    pub fn new(pre_tokenizer: &Value) -> Option<Fast> {
        let one = [pre_tokenizer.clone()];
        let list = match pre_tokenizer["type"].as_str()? {
            "Sequence" => pre_tokenizer["pretokenizers"].as_array()?,
            _ => &one[..],
        };
        let (last, before) = list.split_last()?;
        if last["type"] != "ByteLevel" || last["add_prefix_space"] != false {
            return None;
        }
        let mut stages = Vec::new();
        for p in before {
            stages.push(match p["type"].as_str()? {
                "Digits" => Stage::Digits { each: p["individual_digits"].as_bool()? },
                "Split" if p["behavior"] == "Isolated" && p["invert"] == false => {
                    expression(p["pattern"]["Regex"].as_str()?)?
                }
                _ => return None,
            });
        }
        if last["use_regex"] != false {
            stages.push(expression(GPT2)?);
        }
        Some(Fast { stages })
    }

    /// The ids of a text; as encode_fast without special tokens.
    pub fn encode(&self, t: &Tok, text: &str, out: &mut Vec<u32>) -> Result<()> {
        let split = t.get_added_vocabulary().extract_and_normalize(t.get_normalizer(), text);
        let mut words = Words { t, letters: letters(), known: AHashMap::new(), all: Vec::new() };
        for (piece, _, tokens) in split.get_splits(OffsetReferential::Original, OffsetType::None) {
            match tokens {
                Some(tokens) => out.extend(tokens.iter().map(|t| t.id)),
                None => self.split(0, piece, &mut words, out)?,
            }
        }
        Ok(())
    }

    fn split<'a>(
        &self, stage: usize, text: &'a str, words: &mut Words<'a>, out: &mut Vec<u32>,
    ) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let Some(s) = self.stages.get(stage) else {
            return words.push(text, out);
        };
        let mut from = 0;
        while let Some((start, end)) = s.next(text, from) {
            self.split(stage + 1, &text[from..start], words, out)?;
            self.split(stage + 1, &text[start..end], words, out)?;
            from = end;
        }
        self.split(stage + 1, &text[from..], words, out)
    }
}

impl Stage {
    /// The next match at or behind `from`.
    fn next(&self, text: &str, from: usize) -> Option<(usize, usize)> {
        match self {
            Stage::Blanks(re) => {
                let m = re.find(Input::new(text).range(from..))?;
                let (start, mut end) = (m.start(), m.end());
                if m.pattern().as_usize() == 1 && end < text.len() {
                    let last = text[start..end].char_indices().next_back()?.0;
                    end = if last > 0 { start + last } else { end };
                }
                Some((start, end))
            }
            // An error (too many steps) leaves the rest of the text whole, as the crate does.
            Stage::Any(re) => {
                let m = re.find_from_pos(text, from).ok()??;
                Some((m.start(), m.end()))
            }
            Stage::Digits { each } => {
                let rest = &text[from..];
                let at = rest.find(char::is_numeric)?;
                let digits = &rest[at..];
                let len = match each {
                    true => digits.chars().next()?.len_utf8(),
                    false => digits.find(|c: char| !c.is_numeric()).unwrap_or(digits.len()),
                };
                Some((from + at, from + at + len))
            }
        }
    }
}

/// The words of one text, with what the model made of them.
struct Words<'a> {
    t: &'a Tok,
    letters: [char; 256],
    /// where in `all`, how many
    known: AHashMap<&'a str, (usize, usize)>,
    all: Vec<u32>,
}

impl<'a> Words<'a> {
    fn push(&mut self, word: &'a str, out: &mut Vec<u32>) -> Result<()> {
        let (at, n) = match self.known.get(word) {
            Some(&place) => place,
            None => {
                let text: String = word.bytes().map(|b| self.letters[b as usize]).collect();
                let at = self.all.len();
                self.all.extend(self.t.get_model().tokenize(&text)?.iter().map(|t| t.id));
                self.known.insert(word, (at, self.all.len() - at));
                (at, self.all.len() - at)
            }
        };
        out.extend_from_slice(&self.all[at..at + n]);
        Ok(())
    }
}
