//! Chat templates, rendered as transformers does it with jinja2, and conversations as token ids.
use crate::conversation::Conversation;
use crate::core::Core;
use crate::error::{fail, unsupported, Failure, RANGE, UNSUPPORTED};
use crate::guard::{self, Guard};
use crate::jinja::{as_jinja2, is_space, trim};
use crate::rewrite::{rewrite, LOOP};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, Error, ErrorKind};
use std::collections::BTreeMap;

/// What a template may do for one conversation: about a GiB of text, or 20 million steps.
const FUEL: u64 = 20_000_000;
const SOURCE_MAX: usize = 1 << 20;

pub struct Chat {
    env: Environment<'static>,
    vars: BTreeMap<String, String>,
    pub guard: Guard,
}

/// raise_exception's text.
#[derive(Debug)]
struct Raised(String);

impl std::fmt::Display for Raised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
impl std::error::Error for Raised {}

fn raise_exception(text: Value) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, "raised").with_source(Raised(text.to_string())))
}

fn raised(e: &Error) -> Option<String> {
    let mut at: Option<&(dyn std::error::Error + 'static)> = Some(e);
    while let Some(e) = at {
        if let Some(r) = e.downcast_ref::<Raised>() {
            return Some(r.0.clone());
        }
        at = e.source();
    }
    None
}

// ---- What transformers adds to jinja2 ------------------------------------------------------------

fn strftime(format: &str, now: i64) -> String {
    let Ok(format) = std::ffi::CString::new(format) else {
        return String::new();
    };
    let mut out = [0u8; 512];
    // SAFETY: both structures are plain data of this function; strftime writes at most out.len().
    let n = unsafe {
        let mut tm: libc::tm = std::mem::zeroed();
        let now = now as libc::time_t;
        if libc::localtime_r(&now, &mut tm).is_null() {
            return String::new();
        }
        libc::strftime(out.as_mut_ptr().cast(), out.len(), format.as_ptr(), &tm)
    };
    String::from_utf8_lossy(&out[..n]).into_owned()
}

// ---- A template ----------------------------------------------------------------------------------

impl Chat {
    pub fn new(core: &Core, source: &str, vars: BTreeMap<String, String>) -> Result<Chat, Failure> {
        if source.len() > SOURCE_MAX {
            return unsupported(format!("it is longer than {} KiB", SOURCE_MAX >> 10));
        }
        let mut env = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        let syntax = syntax.map_err(|e| sentence(&e))?;
        env.set_syntax(syntax.clone());
        env.set_fuel(Some(FUEL));
        env.set_recursion_limit(200);
        as_jinja2(&mut env, LOOP);
        env.add_function("raise_exception", raise_exception);
        // As jinja2 reads a template, whatever ends its lines.
        let lines = source.replace("\r\n", "\n").replace('\r', "\n");
        env.add_template_owned("chat", rewrite(&lines, syntax)).map_err(|e| sentence(&e))?;
        Ok(Chat { env, vars, guard: Guard::new(core, source)? })
    }

    pub fn render(&self, c: &Conversation, now: i64) -> Result<String, Failure> {
        let text = self.render_all(c, now)?;
        if !c.continues {
            return Ok(text);
        }
        // As transformers' continue_final_message: up to the end of the last message's text.
        let (last, bare) = (c.last(), trim(c.last()));
        match text.rfind(bare) {
            Some(at) if !bare.is_empty() => {
                let behind = last.trim_start_matches(is_space);
                let len = if text[at..].starts_with(behind) { behind.len() } else { bare.len() };
                Ok(text[..at + len].to_string())
            }
            _ => fail(RANGE, "the last message cannot be continued: the prompt does not end with it"),
        }
    }

    fn render_all(&self, c: &Conversation, now: i64) -> Result<String, Failure> {
        let mut context: BTreeMap<&str, Value> =
            self.vars.iter().map(|(k, v)| (k.as_str(), Value::from(v.as_str()))).collect();
        context.insert("documents", Value::from(()));
        for (k, v) in &c.vars {
            context.insert(k, Value::from(Serde(v)));
        }
        context.insert("messages", Value::from(Serde(&c.messages)));
        context.insert("tools", Value::from(Serde(&c.tools)));
        context.insert("add_generation_prompt", Value::from(!c.continues));
        let clock = move |format: String| strftime(&format, now);
        context.insert("strftime_now", Value::from_function(clock));
        let template = self.env.get_template("chat").map_err(|e| sentence(&e))?;
        template.render(Value::from_pairs(context)).map_err(|e| match raised(&e) {
            Some(text) => Failure { code: RANGE, text },
            None => sentence(&e),
        })
    }
}

fn sentence(e: &Error) -> Failure {
    let mut text = e.kind().to_string();
    if let Some(detail) = e.detail() {
        text = format!("{text}: {detail}");
    }
    if let Some(line) = e.line() {
        text = format!("{text} (line {line} of the template)");
    }
    Failure { code: UNSUPPORTED, text }
}

// ---- Conversations -------------------------------------------------------------------------------

/// The ids of what the template makes of a conversation. Control tokens come from the template
/// only; see guard.rs.
pub fn encode(core: &Core, messages: &Conversation, now: i64) -> Result<Vec<u32>, Failure> {
    let Some(chat) = &core.chat else {
        return unsupported("the model has no chat template");
    };
    let text = chat.render(messages, now)?;
    let marked = chat.guard.trace(chat, messages, &text, now)?;
    let mut ids = Vec::new();
    if marked.as_ref().is_none_or(|m| chat.guard.same_controls(m, &text)) {
        core.encode_str(&core.full, &text, &mut ids)?;
        if chat.guard.controls_of(&ids, core) == chat.guard.controls_in(&text) {
            core.check_rows(&ids)?;
            return Ok(ids);
        }
        ids.clear();
    }
    let Some(aliases) = &chat.guard.aliases else {
        return fail(RANGE, guard::REFUSAL);
    };
    let text = chat.guard.with_aliases(marked.as_deref().unwrap_or(&text));
    core.encode_str(&aliases.tok, &text, &mut ids)?;
    aliases.resolve(&mut ids);
    core.check_rows(&ids)?;
    Ok(ids)
}

