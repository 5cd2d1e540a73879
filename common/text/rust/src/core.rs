//! A tokenizer: one that recognises control tokens in a text, one that does not, and the bytes of
//! each token.
use crate::charsmap::{Charsmap, Norm};
use crate::chat::Chat;
use crate::error::{fail, format_error, unsupported, Failure, FORMAT, RANGE};
use crate::fast::Fast;
use crate::model::{Shared, Spm, Unigram};
use crate::pieces::{byte_token, Pieces, Rule};
use ahash::AHashMap;
use llguidance::ParserFactory;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::Value;
use std::sync::{Arc, OnceLock};
use tokenizers::models::bpe::BPE;
use tokenizers::models::ModelWrapper;
use tokenizers::normalizers::unicode::NFC;
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{Prepend, Replace, Sequence as Normalizers};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::normalizer::SplitDelimiterBehavior;
use tokenizers::{
    AddedToken, DecoderWrapper, Model, NormalizerWrapper, PostProcessorWrapper,
    PreTokenizerWrapper, TokenizerImpl,
};

pub type Tok = TokenizerImpl<
    Shared,
    Norm,
    PreTokenizerWrapper,
    PostProcessorWrapper,
    DecoderWrapper,
>;

/// Tokens that steer a conversation. Some files give them another kind; text of a message must not
/// become one all the same.
const STEERING: [&str; 10] = [
    "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
    "<|eom_id|>", "<|begin_of_text|>", "<|end_of_text|>", "<|endoftext|>", "<|python_tag|>",
];

/// Sentences about a file that is served all the same; the rest is counted.
const NOTES_MAX: usize = 8;

pub struct Core {
    pub full: Tok,
    pub plain: Tok,
    pub pieces: Pieces,
    /// Added tokens with their ids.
    pub added: Vec<(u32, AddedToken)>,
    pub prefix: Vec<u32>,
    pub suffix: Vec<u32>,
    pub notes: Vec<String>,
    pub chat: Option<Chat>,
    /// Made with the first grammar.
    pub grammars: OnceLock<Result<ParserFactory, String>>,
    fast: Option<Fast>,
    rows: u32,
    /// For bytes that are no UTF-8; -1: none
    byte_ids: [i32; 256],
}

// ---- tokenizer.json -----------------------------------------------------------------------------

#[derive(Deserialize)]
struct File<'a> {
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    added_tokens: Vec<Added>,
    #[serde(default)]
    normalizer: Option<NormalizerWrapper>,
    #[serde(default)]
    pre_tokenizer: Option<PreTokenizerWrapper>,
    #[serde(default)]
    post_processor: Option<PostProcessorWrapper>,
    #[serde(default)]
    decoder: Value,
    #[serde(borrow)]
    model: &'a RawValue,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    #[serde(flatten)]
    token: AddedToken,
}

/// What has to be known of a model before it is read.
#[derive(Deserialize)]
struct ModelHead {
    #[serde(rename = "type")]
    kind: Option<String>,
    dropout: Option<f64>,
    merges: Option<serde::de::IgnoredAny>,
}

/// BPE by itself: the crate's own way through an enum of all kinds takes three times as long.
fn read_model(json: &str) -> Result<ModelWrapper, Failure> {
    let head: ModelHead = serde_json::from_str(json).map_err(format_error)?;
    if head.dropout.unwrap_or(0.0) > 0.0 {
        return unsupported("tokenizer.json sets \"dropout\", which draws ids by lot");
    }
    let bpe = head.kind.as_deref() == Some("BPE") || (head.kind.is_none() && head.merges.is_some());
    if bpe {
        return Ok(ModelWrapper::BPE(serde_json::from_str::<BPE>(json).map_err(format_error)?));
    }
    serde_json::from_str(json).map_err(format_error)
}

fn is_steering(t: &AddedToken) -> bool {
    STEERING.contains(&t.content.as_str())
}

/// Tokens that tokenizer_config.json has besides, or describes anew: transformers adds them.
fn config_tokens(config: &Value, model: &Shared) -> Vec<Added> {
    let mut out = Vec::new();
    let token = |v: &Value, special: bool| {
        let content = v.as_str().or(v["content"].as_str())?.to_string();
        let flag = |key: &str, or: bool| v[key].as_bool().unwrap_or(or);
        let special = flag("special", special);
        Some(AddedToken {
            content,
            single_word: flag("single_word", false),
            lstrip: flag("lstrip", false),
            rstrip: flag("rstrip", false),
            normalized: flag("normalized", !special),
            special,
        })
    };
    for (id, v) in config["added_tokens_decoder"].as_object().into_iter().flatten() {
        if let (Ok(id), Some(token)) = (id.parse(), token(v, false)) {
            out.push(Added { id, token });
        }
    }
    out.sort_by_key(|a| a.id);
    let named = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token",
        "mask_token"].iter().map(|k| &config[k]);
    let lists = ["additional_special_tokens", "extra_special_tokens"]
        .iter()
        .flat_map(|k| config[k].as_array().into_iter().flatten());
    for t in named.chain(lists).filter_map(|v| token(v, true)) {
        if let Some(id) = model.token_to_id(&t.content) {
            out.push(Added { id, token: AddedToken { special: true, ..t } });
        }
    }
    out
}

/// What the file says and what the one beside it adds: that describes a token anew when it is in
/// added_tokens_decoder, and never when it only names it.
fn all_added(file: Vec<Added>, config: &Value, model: &Shared) -> Vec<Added> {
    let mut all = file;
    let described = config["added_tokens_decoder"].as_object();
    for a in config_tokens(config, model) {
        let old = all.iter().position(|o| o.token.content == a.token.content);
        match old {
            None => all.push(a),
            Some(i) if described.is_some_and(|d| d.contains_key(&a.id.to_string())) => {
                all[i].token = AddedToken { special: all[i].token.special || a.token.special,
                    ..a.token };
            }
            Some(_) => {}
        }
    }
    all
}

impl Core {
    pub fn from_json(json: &[u8], config: &[u8], rows: u32) -> Result<Core, Failure> {
        let text = std::str::from_utf8(json).map_err(format_error)?;
        let file: File = serde_json::from_str(text).map_err(format_error)?;
        let config: Value = serde_json::from_slice(config).unwrap_or_default();
        if file.version.as_deref().unwrap_or("1.0") != "1.0" {
            return unsupported(format!("tokenizer.json is of version {:?}", file.version));
        }
        let rule = Rule::from_json(&file.decoder)?;
        let model = Shared::Crate(Arc::new(read_model(file.model.get())?));
        let tokens = all_added(file.added_tokens, &config, &model);
        let mut full = Tok::new(model);
        if file.normalizer.is_some() {
            full.with_normalizer(file.normalizer.map(Norm::Crate)).map_err(format_error)?;
        }
        full.with_pre_tokenizer(file.pre_tokenizer);
        let mut notes = Vec::new();
        let mut added = Vec::new();
        for mut a in tokens {
            if a.id >= rows {
                notes.push(format!(
                    "added token {} ({:?}) has no row in the embedding of {rows}: its text is \
                     read as ordinary text",
                    a.id, a.token.content
                ));
                continue;
            }
            a.token.special |= is_steering(&a.token);
            added.push((a.id, a.token));
        }
        full.add_tokens(added.iter().map(|(_, t)| t.clone())).map_err(format_error)?;
        for (id, t) in &mut added {
            let real = full.token_to_id(&t.content).unwrap_or(*id); // the reference's, if they differ
            if real != *id {
                notes.push(format!("added token {id} ({:?}) gets id {real}", t.content));
            }
            *id = real;
        }
        let mut core = Core::new(full, rule, added, false, rows);
        core.notes.append(&mut notes);
        core.find_affixes(file.post_processor)?;
        core.notes.truncate(NOTES_MAX);
        Ok(core)
    }

    /// What the post-processor puts in front of a text and behind it.
    fn find_affixes(&mut self, p: Option<PostProcessorWrapper>) -> Result<(), Failure> {
        if p.is_none() {
            return Ok(());
        }
        let mut t = self.full.clone();
        t.with_post_processor(p);
        let with = t.encode_fast("a", true).map_err(format_error)?;
        let without = t.encode_fast("a", false).map_err(format_error)?;
        let (with, without) = (with.get_ids(), without.get_ids());
        let at = (0..=with.len().saturating_sub(without.len()))
            .find(|&i| with[i..].starts_with(without));
        let Some(at) = at else {
            return unsupported("tokenizer.json's post-processor changes the ids of a text");
        };
        self.prefix = with[..at].to_vec();
        self.suffix = with[at + without.len()..].to_vec();
        Ok(())
    }

    fn new(full: Tok, rule: Rule, added: Vec<(u32, AddedToken)>, raw_added: bool, rows: u32) -> Core {
        let pre = full.get_pre_tokenizer().and_then(|p| serde_json::to_value(p).ok());
        let fast = pre.and_then(|p| Fast::new(&p));
        let mut plain = full.clone();
        plain.set_encode_special_tokens(true);
        let mut core = Core {
            full, plain, added, rows,
            pieces: Pieces::default(),
            prefix: Vec::new(),
            suffix: Vec::new(),
            notes: Vec::new(),
            chat: None,
            grammars: OnceLock::new(),
            fast,
            byte_ids: [-1; 256],
        };
        core.fill_pieces(&rule, raw_added);
        core
    }

    fn fill_pieces(&mut self, rule: &Rule, raw_added: bool) {
        let by_id: AHashMap<u32, &AddedToken> = self.added.iter().map(|(i, t)| (*i, t)).collect();
        let model = self.full.get_model();
        let mut found = 0;
        let mut pending = 0;
        for id in 0..self.rows {
            let token = by_id.get(&id);
            let text = model.id_to_token(id);
            found += text.is_some() as usize;
            let Some(text) = self.full.id_to_token(id).or(text) else {
                pending += 1;
                continue;
            };
            for _ in 0..std::mem::take(&mut pending) {
                self.pieces.push(b"", true); // gaps, except behind the last token
            }
            let bytes = match token {
                Some(t) if raw_added => t.content.clone().into_bytes(),
                _ => rule.bytes(&text),
            };
            self.pieces.push(&bytes, token.is_some_and(|t| t.special));
            if let ([b], true) = (&bytes[..], token.is_none()) {
                let slot = &mut self.byte_ids[*b as usize];
                if *slot < 0 || byte_token(&text).is_some() {
                    *slot = id as i32;
                }
            }
        }
        if found < model.get_vocab_size() {
            self.notes.push(format!(
                "{} of the tokenizer's tokens have no row of their own in the embedding of {}: \
                 a text that needs one is refused",
                model.get_vocab_size() - found, self.rows
            ));
        }
    }

    pub fn rows(&self) -> u32 {
        self.rows
    }

    pub fn id_of(&self, text: &str) -> Option<u32> {
        self.full.token_to_id(text).filter(|&id| id < self.rows)
    }

    pub fn is_control(&self, id: u32) -> bool {
        self.pieces.hidden.get(id as usize).copied().unwrap_or(false)
    }

    // ---- Encoding -------------------------------------------------------------------------------

    /// The ids of a text that is UTF-8.
    pub fn encode_str(&self, t: &Tok, text: &str, out: &mut Vec<u32>) -> Result<(), Failure> {
        if text.is_empty() {
            return Ok(());
        }
        let all = match &self.fast {
            Some(f) => f.encode(t, text, out),
            None => t.encode_fast(text, false).map(|e| out.extend_from_slice(e.get_ids())),
        };
        all.map_err(|e| Failure {
            code: RANGE,
            text: format!("the text cannot be tokenized: {e}"),
        })
    }

    pub fn check_rows(&self, ids: &[u32]) -> Result<(), Failure> {
        match ids.iter().find(|&&id| id >= self.rows) {
            Some(id) => fail(
                RANGE,
                format!("the text has token {id}, and the model's embedding {} rows", self.rows),
            ),
            None => Ok(()),
        }
    }

    /// Any bytes: what is not UTF-8 becomes the tokens of single bytes.
    pub fn encode(&self, text: &[u8], special: bool) -> Result<Vec<u32>, Failure> {
        let t = if special { &self.full } else { &self.plain };
        let mut out = Vec::new();
        for chunk in text.utf8_chunks() {
            self.encode_str(t, chunk.valid(), &mut out)?;
            let bytes = chunk.invalid().iter().map(|&b| self.byte_ids[b as usize]);
            out.extend(bytes.filter(|&id| id >= 0).map(|id| id as u32));
        }
        self.check_rows(&out)?;
        Ok(out)
    }
}

// ---- From a vocabulary --------------------------------------------------------------------------

#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    Absent,
    Normal,
    Control,
    User,
    Unused,
    Byte,
}

pub struct Entry {
    pub text: String,
    pub kind: Kind,
    pub score: f32,
}

/// A vocabulary with what is done to a text before its merges.
pub struct Parts {
    pub entries: Vec<Entry>,
    pub merges: Vec<(String, String)>,
    pub patterns: Vec<String>,
    pub ignore_merges: bool,
    pub nfc: bool,
    /// By scores instead of merges by rank
    pub ranked: bool,
    /// SentencePiece by scores instead of merges by rank
    pub spm: bool,
    /// With spm: the likeliest way to cut a text instead of merges
    pub unigram: bool,
    /// With spm: no blanks at the ends, one instead of several
    pub squeeze: bool,
    /// With spm: its normalizer's map of characters; empty: none
    pub charsmap: Vec<u8>,
    pub add_space: bool,
    pub unk: i32,
    pub rows: u32,
}

impl Core {
    pub fn from_parts(p: Parts) -> Result<Core, Failure> {
        let mut ids = AHashMap::with_capacity(p.entries.len());
        let mut added = Vec::new();
        let mut notes = Vec::new();
        for (i, e) in p.entries.iter().enumerate() {
            let id = i as u32;
            if id >= p.rows {
                notes.push(format!(
                    "token {id} ({:?}) has no row in the embedding of {}: a text is never read \
                     as it", e.text, p.rows
                ));
                continue;
            }
            if e.kind == Kind::Absent || e.text.is_empty() {
                continue;
            }
            if let Some(other) = ids.insert(e.text.clone(), id) {
                return fail(FORMAT, format!("tokens {other} and {id} have the same text"));
            }
            let mut t = AddedToken::from(e.text.clone(), e.kind == Kind::Control).normalized(false);
            t.special |= is_steering(&t);
            if t.special || e.kind == Kind::User {
                added.push((id, t));
            }
        }
        let rule = if p.spm { Rule::spm() } else { Rule::byte_level() };
        let mut full = if p.spm { Self::spm(&p, ids)? } else { Self::byte_level(&p, ids)? };
        full.add_tokens(added.iter().map(|(_, t)| t.clone())).map_err(format_error)?;
        let rows = p.rows.min(p.entries.len() as u32);
        let mut core = Core::new(full, rule, added, true, rows);
        core.rows = p.rows;
        for (i, e) in p.entries.iter().take(rows as usize).enumerate() {
            if e.kind == Kind::Unused {
                core.pieces.hidden[i] = true;
            }
        }
        core.notes = notes;
        core.notes.truncate(NOTES_MAX);
        Ok(core)
    }

    fn ranks(p: &Parts, ids: AHashMap<String, u32>) -> Shared {
        Shared::Spm(Arc::new(Spm {
            ids,
            texts: p.entries.iter().map(|e| e.text.clone()).collect(),
            scores: p.entries.iter().map(|e| e.score).collect(),
            merged: p.entries.iter().map(|e| e.kind == Kind::Normal).collect(),
            bytes: [-1; 256],
            unk: -1,
            whole: p.ignore_merges,
            unigram: None,
        }))
    }

    fn merges(p: &Parts, ids: AHashMap<String, u32>) -> Result<Shared, Failure> {
        let mut b = BPE::builder()
            .vocab_and_merges(ids, p.merges.clone())
            .ignore_merges(p.ignore_merges);
        if let Some(e) = usize::try_from(p.unk).ok().and_then(|i| p.entries.get(i)) {
            b = b.unk_token(e.text.clone());
        }
        let bpe = b.build().map_err(format_error)?;
        Ok(Shared::Crate(Arc::new(ModelWrapper::BPE(bpe))))
    }

    fn byte_level(p: &Parts, ids: AHashMap<String, u32>) -> Result<Tok, Failure> {
        let mut t = Tok::new(if p.ranked { Self::ranks(p, ids) } else { Self::merges(p, ids)? });
        if p.nfc {
            t.with_normalizer(Some(Norm::Crate(NormalizerWrapper::NFC(NFC)))).map_err(format_error)?;
        }
        let mut stages = Vec::new();
        for re in &p.patterns {
            let pattern = SplitPattern::Regex(re.clone());
            let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false)
                .map_err(|e| Failure { code: FORMAT, text: format!("pattern {re:?}: {e}") })?;
            stages.push(PreTokenizerWrapper::Split(split));
        }
        stages.push(PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, false, false)));
        t.with_pre_tokenizer(Some(PreTokenizerWrapper::Sequence(Sequence::new(stages))));
        Ok(t)
    }

    fn spm(p: &Parts, ids: AHashMap<String, u32>) -> Result<Tok, Failure> {
        let mut bytes = [-1; 256];
        for (i, e) in p.entries.iter().enumerate() {
            if let (Kind::Byte, Some(b)) = (e.kind, byte_token(&e.text)) {
                bytes[b as usize] = i as i32;
            }
        }
        let merged = |e: &Entry| !matches!(e.kind, Kind::Absent | Kind::Control | Kind::Byte);
        let model = Spm {
            ids,
            texts: p.entries.iter().map(|e| e.text.clone()).collect(),
            scores: p.entries.iter().map(|e| e.score).collect(),
            merged: p.entries.iter().map(merged).collect(),
            bytes,
            unk: p.unk,
            whole: false,
            unigram: p.unigram.then(|| Unigram::new(&p.entries)),
        };
        let mut t = Tok::new(Shared::Spm(Arc::new(model)));
        let mut steps = Vec::new();
        let mapped = !p.charsmap.is_empty(); // the map squeezes what it makes
        let squeeze = [("^ +", "", !mapped), ("[ \u{2581}]+$", "", true), (" {2,}", " ", !mapped)];
        for (pattern, by, _) in squeeze.iter().filter(|s| p.squeeze && s.2) {
            if let Ok(r) = Replace::new(ReplacePattern::Regex(pattern.to_string()), *by) {
                steps.push(NormalizerWrapper::Replace(r));
            }
        }
        if p.add_space {
            steps.push(NormalizerWrapper::Prepend(Prepend::new("\u{2581}".into())));
        }
        if let Ok(r) = Replace::new(" ", "\u{2581}") {
            steps.push(NormalizerWrapper::Replace(r));
        }
        let then = NormalizerWrapper::Sequence(Normalizers::new(steps));
        let users = p.entries.iter().filter(|e| e.kind == Kind::User).map(|e| e.text.clone());
        let norm = if mapped {
            Norm::Mapped(Arc::new(Charsmap::new(&p.charsmap, users.collect(), p.squeeze)?), then)
        } else {
            Norm::Crate(then)
        };
        t.with_normalizer(Some(norm)).map_err(format_error)?;
        Ok(t)
    }
}
