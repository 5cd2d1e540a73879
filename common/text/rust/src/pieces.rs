//! The bytes that each token stands for, so that a stream of tokens can be turned into text one by
//! one: what the decoder of a tokenizer.json does to one token, as far as it does it to each by
//! itself.
use crate::error::{unsupported, Failure};
use serde_json::Value;

#[derive(Default, Clone)]
pub struct Rule {
    steps: Vec<Step>,
}

#[derive(Clone)]
enum Step {
    ByteLevel,
    ByteFallback,
    Replace(String, String),
    /// tokens that do not go on a word have a blank in front
    WordPiece(String, bool),
    Blank,
}

/// GPT-2's alphabet: printable Latin-1 bytes stand for themselves, the other 68 are U+0100 onwards.
fn alphabet_byte(c: char) -> Option<u8> {
    let c = c as u32;
    match c {
        0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF => Some(c as u8),
        0x100..=0x120 => Some((c - 0x100) as u8),
        0x121..=0x142 => Some((c - 0x121 + 0x7F) as u8),
        0x143 => Some(0xAD),
        _ => None,
    }
}

/// The value of "<0xHH>".
pub fn byte_token(t: &str) -> Option<u8> {
    let hex = t.strip_prefix("<0x")?.strip_suffix('>')?;
    (hex.len() == 2).then(|| u8::from_str_radix(hex, 16).ok())?
}

impl Rule {
    pub fn byte_level() -> Rule {
        Rule { steps: vec![Step::ByteLevel] }
    }

    pub fn spm() -> Rule {
        Rule { steps: vec![Step::ByteFallback, Step::Replace("\u{2581}".into(), " ".into())] }
    }

    /// The "decoder" of a tokenizer.json. Steps that touch the beginning of the whole text only
    /// (Strip, and Metaspace's first blank) are left out: an answer goes on behind a prompt.
    pub fn from_json(decoder: &Value) -> Result<Rule, Failure> {
        let mut rule = Rule::default();
        if decoder.is_null() {
            rule.steps.push(Step::Blank);
            return Ok(rule);
        }
        let mut fused = false;
        rule.add(decoder, &mut fused)?;
        Ok(rule)
    }

    fn add(&mut self, d: &Value, fused: &mut bool) -> Result<(), Failure> {
        let text = |key: &str| d[key].as_str().map(str::to_string);
        let kind = text("type").unwrap_or_default();
        match kind.as_str() {
            "Sequence" => {
                for one in d["decoders"].as_array().into_iter().flatten() {
                    self.add(one, fused)?;
                }
            }
            "ByteLevel" => self.steps.push(Step::ByteLevel),
            "ByteFallback" => self.steps.push(Step::ByteFallback),
            "Fuse" => *fused = true,
            "Strip" if *fused && d["stop"].as_u64() == Some(0) => {}
            "Metaspace" => {
                let from = text("replacement").unwrap_or("\u{2581}".into());
                self.steps.push(Step::Replace(from, " ".into()))
            }
            "Replace" if d["pattern"]["String"].is_string() => {
                let from = d["pattern"]["String"].as_str().unwrap_or_default().to_string();
                self.steps.push(Step::Replace(from, text("content").unwrap_or_default()))
            }
            "WordPiece" => self.steps.push(Step::WordPiece(
                text("prefix").unwrap_or("##".into()),
                d["cleanup"].as_bool().unwrap_or(true),
            )),
            "BPEDecoder" => {
                let from = text("suffix").unwrap_or("</w>".into());
                self.steps.push(Step::Replace(from, " ".into()))
            }
            _ => {
                return unsupported(format!(
                    "tokenizer.json's decoder \"{kind}\" does not say the text of one token"
                ))
            }
        }
        Ok(())
    }

    pub fn bytes(&self, token: &str) -> Vec<u8> {
        let mut text = token.to_string();
        for step in &self.steps {
            match step {
                Step::ByteLevel => {
                    let bytes: Option<Vec<u8>> = text.chars().map(alphabet_byte).collect();
                    return bytes.unwrap_or_else(|| text.into_bytes());
                }
                Step::ByteFallback => {
                    if let Some(b) = byte_token(&text) {
                        return vec![b];
                    }
                }
                Step::Replace(from, to) if !from.is_empty() => text = text.replace(from, to),
                Step::Replace(..) => {}
                Step::WordPiece(prefix, cleanup) => {
                    text = match text.strip_prefix(prefix.as_str()) {
                        Some(rest) => rest.to_string(),
                        None => format!(" {text}"),
                    };
                    if *cleanup {
                        text = tokenizers::decoders::wordpiece::cleanup(&text);
                    }
                }
                Step::Blank => text.insert(0, ' '),
            }
        }
        text.into_bytes()
    }
}

/// Bytes by id; what has no token is empty and hidden.
#[derive(Default)]
pub struct Pieces {
    bytes: Vec<u8>,
    ends: Vec<u32>,
    pub hidden: Vec<bool>,
}

impl Pieces {
    pub fn push(&mut self, bytes: &[u8], hidden: bool) {
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len() as u32);
        self.hidden.push(hidden);
    }
    pub fn len(&self) -> usize {
        self.ends.len()
    }
    pub fn get(&self, id: usize) -> &[u8] {
        let from = if id == 0 { 0 } else { self.ends[id - 1] as usize };
        &self.bytes[from..self.ends[id] as usize]
    }
}
