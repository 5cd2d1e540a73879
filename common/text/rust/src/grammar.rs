//! Answers that must match a grammar: which tokens may come next, by llguidance.
//!
//! The mask is a function of the grammar, the vocabulary and the tokens so far: the same everywhere.
//! llguidance bounds what a grammar may cost, when it is read and for each token, in steps, not in
//! seconds.
use crate::core::Core;
use crate::error::{fail, Failure, FORMAT, LIMIT, RANGE};
use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};
use std::sync::Arc;

pub enum Kind {
    JsonSchema,
    Regex,
    Lark,
}

pub struct Grammar {
    matcher: Matcher,
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

impl Grammar {
    pub fn new(f: &ParserFactory, kind: Kind, text: &str) -> Result<Grammar, Failure> {
        let grammar = match kind {
            Kind::JsonSchema => {
                TopLevelGrammar::from_json_schema(serde_json::from_str(text).map_err(broken)?)
            }
            Kind::Regex => TopLevelGrammar::from_regex(text),
            Kind::Lark => TopLevelGrammar::from_lark(text.to_string()),
        };
        let mut matcher = Matcher::new(f.create_parser(grammar));
        match matcher.get_error() {
            Some(e) => Err(broken(e)),
            None => {
                matcher.compute_mask_or_eos().map_err(broken)?; // one that no text matches
                Ok(Grammar { matcher })
            }
        }
    }

    /// A bit for each token that may come next; only those that end the answer when it is whole.
    pub fn mask(&mut self, bits: &mut [u32]) -> Result<(), Failure> {
        let mask = self.matcher.compute_mask_or_eos().map_err(|e| Failure { code: LIMIT, ..broken(e) })?;
        let words = mask.as_slice();
        let n = bits.len().min(words.len());
        bits.fill(0);
        bits[..n].copy_from_slice(&words[..n]);
        Ok(())
    }

    pub fn take(&mut self, id: u32) -> Result<(), Failure> {
        self.matcher.consume_token(id).map_err(|e| Failure { code: LIMIT, ..broken(e) })
    }
}
