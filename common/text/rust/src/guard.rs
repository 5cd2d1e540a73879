//! The text of a message never becomes a control token, whatever the template does with it.
//!
//! A conversation is rendered twice: as it is, and with a mark (a noncharacter) behind each character
//! of the messages that a control token can begin with. When both renderings are the same but for
//! the marks, the marks tell which control tokens in the text are the template's: those without a
//! mark behind their first character. If these are all, the text is encoded as the reference does;
//! if not, the template's are replaced by aliases, and no others are recognised. When the renderings
//! differ, the template looks at the text of messages; then only such marks are left out as would
//! cut a text that the template itself names. If they still differ, the messages are rendered with
//! other characters in place of those, and the request is refused unless the control tokens are
//! the same ones.
use crate::chat::Chat;
use crate::conversation::Conversation;
use crate::core::{Core, Tok};
use crate::error::{fail, format_error, Failure, RANGE};
use aho_corasick::{AhoCorasick, MatchKind};
use tokenizers::AddedToken;

const MARK: char = '\u{FDD1}';
/// Begins an alias; its digits follow.
const ALIAS: char = '\u{FDD0}';
const DIGIT: u32 = 0xFDD2;
const BASE: usize = 28;

pub const REFUSAL: &str = "a message has the text of a control token in it (like <|im_end|>), and \
    the model's chat template works on that text, so the two cannot be told apart";

pub struct Guard {
    /// All added tokens, as they are found in a text; NULL: there are none
    matcher: Option<AhoCorasick>,
    controls: Vec<(u32, bool)>,
    /// Characters that control tokens begin with.
    firsts: Vec<char>,
    /// Texts that the template itself names and that begin like a control token, but are none.
    named: Vec<String>,
    pub aliases: Option<Aliases>,
}

/// Stand-ins for the control tokens that the template wrote.
pub struct Aliases {
    pub tok: Tok,
    /// (id of the alias, of the token), sorted
    ids: Vec<(u32, u32)>,
}

fn alias(n: usize) -> String {
    let digit = |d: usize| char::from_u32(DIGIT + (d % BASE) as u32).unwrap_or(MARK);
    [ALIAS, digit(n), digit(n / BASE), digit(n / BASE / BASE)].iter().collect()
}

fn is_reserved(c: char) -> bool {
    ('\u{FDD0}'..='\u{FDEF}').contains(&c)
}

impl Aliases {
    fn new(core: &Core) -> Option<Aliases> {
        let controls: Vec<_> = core.added.iter().filter(|(_, t)| t.special).collect();
        if controls.is_empty() || controls.len() > BASE * BASE * BASE {
            return None;
        }
        let mut tok = core.plain.clone();
        let tokens = controls.iter().enumerate().map(|(n, (_, t))| AddedToken {
            content: alias(n),
            special: false,
            ..t.clone()
        });
        tok.add_tokens(tokens).ok()?;
        let id = |n| tok.token_to_id(&alias(n));
        let ids: Option<Vec<_>> =
            controls.iter().enumerate().map(|(n, (to, _))| Some((id(n)?, *to))).collect();
        let mut ids = ids?;
        ids.sort_unstable();
        Some(Aliases { tok, ids })
    }

    pub fn resolve(&self, ids: &mut [u32]) {
        for id in ids {
            if let Ok(at) = self.ids.binary_search_by_key(id, |p| p.0) {
                *id = self.ids[at].1;
            }
        }
    }
}

/// The quoted texts in a template's tags.
fn literals(source: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut rest = source;
    while let Some(at) = rest.find(['{', '\'', '"']) {
        let (open, inside) = (rest.as_bytes()[at], &rest[at..]);
        if open == b'{' {
            let tag = inside.starts_with("{{") || inside.starts_with("{%");
            let end = if inside.starts_with("{#") { inside.find("#}") } else { None };
            rest = &inside[end.unwrap_or(if tag { 2 } else { 1 })..];
            continue;
        }
        let Some(len) = inside[1..].find(open as char) else {
            break;
        };
        out.push(inside[1..1 + len].to_string());
        rest = &inside[len + 2..];
    }
    out
}

impl Guard {
    pub fn new(core: &Core, template: &str) -> Result<Guard, Failure> {
        let texts: Vec<&str> = core.added.iter().map(|(_, t)| t.content.as_str()).collect();
        let controls: Vec<&str> =
            core.added.iter().filter(|(_, t)| t.special).map(|(_, t)| t.content.as_str()).collect();
        let mut firsts: Vec<char> = controls
            .iter()
            .filter_map(|t| t.chars().next())
            .flat_map(|c| std::iter::once(c).chain(c.to_lowercase()).chain(c.to_uppercase()))
            .collect();
        firsts.sort_unstable();
        firsts.dedup();
        let mut named = literals(template);
        named.retain(|n| {
            n.chars().next().is_some_and(|c| firsts.contains(&c))
                && n.chars().count() > 1
                && !controls.iter().any(|c| n.contains(c) || c.starts_with(n.as_str()))
        });
        let matcher = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(&texts)
            .map_err(format_error)?;
        Ok(Guard {
            matcher: (!texts.is_empty()).then_some(matcher),
            controls: core.added.iter().map(|(id, t)| (*id, t.special)).collect(),
            firsts,
            named,
            aliases: Aliases::new(core),
        })
    }

    /// (where, which) of the control tokens in a text; marks are in the way.
    fn find(&self, text: &str) -> Vec<(usize, usize, usize)> {
        let Some(m) = &self.matcher else {
            return Vec::new();
        };
        m.find_iter(text)
            .map(|m| (m.start(), m.end(), m.pattern().as_usize()))
            .filter(|&(_, _, p)| self.controls[p].1)
            .collect()
    }

    pub fn controls_in(&self, text: &str) -> Vec<u32> {
        self.find(text).iter().map(|&(_, _, p)| self.controls[p].0).collect()
    }

    pub fn controls_of(&self, ids: &[u32], core: &Core) -> Vec<u32> {
        ids.iter().copied().filter(|&id| core.is_control(id)).collect()
    }

    fn mark(&self, text: &str, named: &[String]) -> String {
        let mut out = String::with_capacity(text.len() + 16);
        for (i, c) in text.char_indices() {
            out.push(c);
            if self.firsts.contains(&c) && !named.iter().any(|n| text[i..].starts_with(n.as_str())) {
                out.push(MARK);
            }
        }
        out
    }

    fn neutral(&self, text: &str) -> String {
        text.chars().map(|c| if self.firsts.contains(&c) { 'x' } else { c }).collect()
    }

    /// The conversation's text with marks; None: nothing in it could be taken for a control token.
    pub fn trace(
        &self, chat: &Chat, conversation: &Conversation, text: &str, now: i64,
    ) -> Result<Option<String>, Failure> {
        if !conversation.any(&|t| t.contains(|c| self.firsts.contains(&c))) {
            return Ok(None);
        }
        if text.contains(is_reserved) {
            return fail(RANGE, "a message has a noncharacter (U+FDD0 to U+FDEF) in it");
        }
        // Names of members are the template's business, unless a control token is in one.
        let change = |f: &dyn Fn(&str) -> String| {
            let key = |k: &str| if self.find(k).is_empty() { k.to_string() } else { f(k) };
            conversation.map(f, &key)
        };
        for named in [&[][..], &self.named[..]] {
            let marked = chat.render(&change(&|t| self.mark(t, named)), now);
            if let Ok(marked) = marked {
                if marked.replace(MARK, "") == text {
                    return Ok(Some(marked));
                }
            }
        }
        let neutral = chat.render(&change(&|t| self.neutral(t)), now);
        match neutral {
            Ok(n) if self.controls_in(&n) == self.controls_in(text) => Ok(None),
            _ => fail(RANGE, REFUSAL),
        }
    }

    /// Whether all control tokens in `text` are those that `marked` has without marks.
    pub fn same_controls(&self, marked: &str, text: &str) -> bool {
        let mut marks = marked.match_indices(MARK).map(|(at, _)| at).peekable();
        let mut before = 0;
        let mut same = self.find(text).into_iter();
        for (at, _, p) in self.find(marked) {
            while marks.next_if(|&m| m < at).is_some() {
                before += MARK.len_utf8();
            }
            match same.next() {
                Some((start, _, q)) if start == at - before && p == q => {}
                _ => return false,
            }
        }
        same.next().is_none()
    }

    pub fn with_aliases(&self, marked: &str) -> String {
        let mut number = vec![0; self.controls.len()];
        let mut n = 0;
        for (p, c) in self.controls.iter().enumerate() {
            number[p] = n;
            n += c.1 as usize;
        }
        let mut out = String::with_capacity(marked.len());
        let mut from = 0;
        for (start, end, p) in self.find(marked) {
            out.push_str(&marked[from..start]);
            out.push_str(&alias(number[p]));
            from = end;
        }
        out.push_str(&marked[from..]);
        out.replace(MARK, "")
    }
}
