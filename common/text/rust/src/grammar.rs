//! Answers that must match a grammar: which tokens may come next, by llguidance.
//!
//! The mask is a function of the grammar, the vocabulary and the tokens so far: the same everywhere.
//! llguidance bounds what a grammar may cost, when it is read and for each token, in steps, not in
//! seconds.
use crate::core::Core;
use crate::error::{fail, Failure, FORMAT, LIMIT, RANGE};
use crate::gbnf;
use crate::wait::{Mark, Wait};
use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};
use std::sync::Arc;

pub enum Kind {
    JsonSchema,
    Regex,
    Lark,
}

/// A copy goes on by itself; what they have learnt of the grammar's lexer they share.
#[derive(Clone)]
pub struct Grammar {
    matcher: Matcher,
    lazy: Option<Lazy>,
}

/// It holds only behind a mark.
#[derive(Clone)]
struct Lazy {
    wait: Wait,
    /// `matcher` behind a mark.
    begin: Matcher,
    /// When it has been matched whole anything may be said again, and another mark come.
    again: bool,
    held: bool,
}

/// What all grammars of a vocabulary share. `stops`: the ids that end an answer.
pub fn factory(core: &Core, stops: &[u32]) -> Result<ParserFactory, Failure> {
    let (Some(&first), rows) = (stops.first(), core.rows()) else {
        return fail(RANGE, "the model has no token that ends an answer");
    };
    if stops.iter().any(|&id| id >= rows) {
        return fail(RANGE, "a token that ends an answer has no row in the embedding");
    }
    let word = |id: usize| -> Vec<u8> {
        if id >= core.pieces.len() {
            return Vec::new();
        }
        let hidden = core.pieces.hidden[id];
        let mark: &[u8] = if hidden { &[TokTrie::SPECIAL_TOKEN_MARKER] } else { &[] };
        [mark, core.pieces.get(id)].concat()
    };
    let words: Vec<Vec<u8>> = (0..rows as usize).map(word).collect();
    let trie = TokTrie::from(&TokRxInfo::new(rows, first), &words).with_eos_tokens(stops);
    let env: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
    let mut f = ParserFactory::new_simple(&env).map_err(broken)?;
    f.quiet();
    f.limits_mut().verbose_errors = false;
    Ok(f)
}

/// anyhow's text, one line of it.
fn broken(e: impl std::fmt::Display) -> Failure {
    let text = e.to_string();
    Failure { code: FORMAT, text: text.lines().next().unwrap_or_default().to_string() }
}

fn dear(e: impl std::fmt::Display) -> Failure {
    Failure { code: LIMIT, ..broken(e) }
}

impl Grammar {
    pub fn new(f: &ParserFactory, kind: Kind, text: &str) -> Result<Grammar, Failure> {
        let grammar = match kind {
            Kind::JsonSchema => {
                TopLevelGrammar::from_json_schema(serde_json::from_str(text).map_err(broken)?)
            }
            Kind::Regex => TopLevelGrammar::from_regex(text),
            Kind::Lark if gbnf::is_gbnf(text) => TopLevelGrammar::from_lark(gbnf::to_lark(text)?),
            Kind::Lark => TopLevelGrammar::from_lark(text.to_string()),
        };
        let mut matcher = Matcher::new(f.create_parser(grammar));
        match matcher.get_error() {
            Some(e) => Err(broken(e)),
            None => {
                matcher.compute_mask_or_eos().map_err(broken)?; // one that no text matches
                Ok(Grammar { matcher, lazy: None })
            }
        }
    }

    /// Let it hold behind one of `marks` only. `thoughts`, `inside`: of the answer (wait.rs).
    pub fn wait(
        &mut self, marks: Vec<Mark>, again: bool, thoughts: bool, inside: bool,
    ) -> Result<(), Failure> {
        if marks.iter().any(|m| m.text.is_empty()) {
            return fail(RANGE, "a mark is empty");
        }
        let env = self.matcher.tok_env().map_err(broken)?;
        let wait = Wait::new(env, marks, thoughts, inside);
        let begin = self.matcher.deep_clone();
        self.lazy = Some(Lazy { wait, begin, again, held: false });
        Ok(())
    }

    fn waits(&self) -> Option<&Wait> {
        self.lazy.as_ref().filter(|l| !l.held).map(|l| &l.wait)
    }

    /// Some token may not come next.
    pub fn holds(&self) -> bool {
        self.waits().is_none_or(Wait::holds)
    }

    /// A bit for each token that may come next; only those that end the answer when it is whole.
    pub fn mask(&mut self, bits: &mut [u32]) -> Result<(), Failure> {
        if let Some(wait) = self.waits() {
            bits.fill(!0);
            wait.mask(bits);
            return Ok(());
        }
        let mask = self.matcher.compute_mask_or_eos().map_err(dear)?;
        let words = mask.as_slice();
        let n = bits.len().min(words.len());
        bits.fill(0);
        bits[..n].copy_from_slice(&words[..n]);
        Ok(())
    }

    /// Of tokens that may follow one another here, how many may. Where it does not hold yet: all.
    pub fn allows(&mut self, ids: &[u32]) -> usize {
        if self.waits().is_some() {
            return ids.len();
        }
        self.matcher.validate_tokens(ids).unwrap_or(0)
    }

    /// Tokens that make up what must come next, if there is such a text; others may make it up too.
    pub fn forced(&self) -> Vec<u32> {
        if self.waits().is_some() {
            return Vec::new();
        }
        let mut matcher = self.matcher.clone();
        let bytes = matcher.compute_ff_bytes();
        let plain = !bytes.is_empty() && !bytes.contains(&TokTrie::SPECIAL_TOKEN_MARKER);
        match matcher.tok_env() {
            Ok(env) if plain => env.tok_trie().greedy_tokenize(&bytes),
            _ => Vec::new(),
        }
    }

    pub fn take(&mut self, id: u32) -> Result<(), Failure> {
        let Some(lazy) = &mut self.lazy else {
            return self.matcher.consume_token(id).map_err(dear);
        };
        if !lazy.held {
            if let Some(said) = lazy.wait.take(id) {
                lazy.held = true;
                self.matcher = lazy.begin.deep_clone();
                return self.matcher.consume_tokens(&said).map_err(dear);
            }
            return Ok(());
        }
        self.matcher.consume_token(id).map_err(dear)?;
        lazy.held = !(lazy.again && self.matcher.is_stopped());
        Ok(())
    }
}
