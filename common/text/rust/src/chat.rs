//! Chat templates, rendered as transformers does it with jinja2, and conversations as token ids.
use crate::conversation::Conversation;
use crate::core::Core;
use crate::error::{fail, unsupported, Failure, RANGE, UNSUPPORTED};
use crate::guard::{self, Guard};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State};
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

/// Python's json.dumps.
struct Dumps {
    ascii: bool,
    indent: Option<String>,
    item: String,
    key: String,
    sort: bool,
    out: String,
}

impl Dumps {
    fn text(&mut self, s: &str) {
        self.out.push('"');
        for c in s.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                c if (c as u32) < 0x20 || (self.ascii && c as u32 > 0x7E) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        self.out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }

    fn line(&mut self, depth: usize) {
        if let Some(indent) = self.indent.clone() {
            self.out.push('\n');
            self.out.push_str(&indent.repeat(depth));
        }
    }

    fn value(&mut self, v: &serde_json::Value, depth: usize) {
        match v {
            serde_json::Value::String(s) => self.text(s),
            serde_json::Value::Array(a) if a.is_empty() => self.out.push_str("[]"),
            serde_json::Value::Object(o) if o.is_empty() => self.out.push_str("{}"),
            serde_json::Value::Array(a) => {
                self.out.push('[');
                for (i, one) in a.iter().enumerate() {
                    self.between(i, depth);
                    self.value(one, depth + 1);
                }
                self.line(depth);
                self.out.push(']');
            }
            serde_json::Value::Object(o) => {
                let mut keys: Vec<&String> = o.keys().collect();
                if self.sort {
                    keys.sort();
                }
                self.out.push('{');
                for (i, k) in keys.into_iter().enumerate() {
                    self.between(i, depth);
                    self.text(k);
                    self.out.push_str(&self.key.clone());
                    self.value(&o[k], depth + 1);
                }
                self.line(depth);
                self.out.push('}');
            }
            other => self.out.push_str(&other.to_string()),
        }
    }

    fn between(&mut self, i: usize, depth: usize) {
        if i > 0 {
            self.out.push_str(&self.item.clone());
        }
        self.line(depth + 1);
    }
}

fn tojson(v: Value, kwargs: Kwargs) -> Result<String, Error> {
    let indent: Option<Value> = kwargs.get("indent")?;
    let indent = indent.filter(|v| !v.is_none()).map(|v| match v.as_usize() {
        Some(n) => " ".repeat(n.min(64)),
        None => v.to_string(),
    });
    let separators: Option<Vec<String>> = kwargs.get("separators")?;
    let separators = separators.filter(|s| s.len() == 2);
    let item = if indent.is_some() { "," } else { ", " };
    let mut d = Dumps {
        ascii: kwargs.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        sort: kwargs.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
        item: separators.as_ref().map_or(item.to_string(), |s| s[0].clone()),
        key: separators.as_ref().map_or(": ".to_string(), |s| s[1].clone()),
        indent,
        out: String::new(),
    };
    kwargs.assert_all_used()?;
    let json = serde_json::to_value(&v)
        .map_err(|e| Error::new(ErrorKind::BadSerialization, e.to_string()))?;
    d.value(&json, 0);
    Ok(d.out)
}

/// Python's idea of white space: Unicode's, and the four separators.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

fn trim(text: &str) -> &str {
    text.trim_matches(is_space)
}

fn trim_filter(v: Value, chars: Option<String>) -> String {
    let text = v.as_str().map_or_else(|| v.to_string(), str::to_string);
    match chars {
        Some(set) => text.trim_matches(|c| set.contains(c)).to_string(),
        None => trim(&text).to_string(),
    }
}

/// Methods of str that minijinja's own list lacks, or that differ about what is a blank.
fn str_method(text: &str, method: &str, args: &[Value]) -> Option<Value> {
    let arg = args.first().and_then(|v| v.as_str());
    let none = args.first().is_none_or(|v| v.is_none());
    let cut = |at: Option<usize>, len: usize, other: [&str; 3]| {
        let [a, b, c] = at.map_or(other, |i| [&text[..i], &text[i..i + len], &text[i + len..]]);
        Value::from(vec![Value::from(a), Value::from(b), Value::from(c)])
    };
    Some(match (method, arg) {
        ("strip", None) if none => trim(text).into(),
        ("lstrip", None) if none => text.trim_start_matches(is_space).into(),
        ("rstrip", None) if none => text.trim_end_matches(is_space).into(),
        ("split", None) if none && args.len() < 2 => {
            let parts = text.split(is_space).filter(|s| !s.is_empty());
            Value::from(parts.map(Value::from).collect::<Vec<_>>())
        }
        ("isspace", None) => Value::from(!text.is_empty() && text.chars().all(is_space)),
        ("removeprefix", Some(p)) => text.strip_prefix(p).unwrap_or(text).into(),
        ("removesuffix", Some(p)) => text.strip_suffix(p).unwrap_or(text).into(),
        ("partition", Some(p)) if !p.is_empty() => cut(text.find(p), p.len(), [text, "", ""]),
        ("rpartition", Some(p)) if !p.is_empty() => cut(text.rfind(p), p.len(), ["", "", text]),
        _ => return None,
    })
}

fn method(s: &mut State, v: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    match v.as_str().and_then(|text| str_method(text, name, args)) {
        Some(v) => Ok(v),
        None => minijinja_contrib::pycompat::unknown_method_callback(s, v, name, args),
    }
}

/// `{% generation %}` marks answers for training and changes nothing in the text.
fn without_generation(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at);
        out.push_str(before);
        let end = tag.find("%}").map_or(tag.len(), |e| e + 2);
        let name = tag[2..end].trim_end_matches("%}");
        let name = name.trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+');
        match name {
            "generation" => out.push_str(&tag[..end].replacen("generation", "if true", 1)),
            "endgeneration" => out.push_str(&tag[..end].replacen("endgeneration", "endif", 1)),
            _ => {
                out.push_str("{%"); // another tag may have "{%" in a text of its own
                rest = &tag[2..];
                continue;
            }
        }
        rest = &tag[end..];
    }
    out.push_str(rest);
    out
}

// ---- Tests as jinja2 has them -------------------------------------------------------------------

/// None is not, which a loop takes here as an empty list.
fn is_iterable(v: &Value) -> bool {
    !v.is_none() && v.try_iter().is_ok()
}

/// What has a length and can be indexed: texts and dicts, too.
fn is_sequence(v: &Value) -> bool {
    matches!(v.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::String | ValueKind::Undefined)
}

// ---- A template ----------------------------------------------------------------------------------

impl Chat {
    pub fn new(core: &Core, source: &str, vars: BTreeMap<String, String>) -> Result<Chat, Failure> {
        if source.len() > SOURCE_MAX {
            return unsupported(format!("it is longer than {} KiB", SOURCE_MAX >> 10));
        }
        let mut env = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        env.set_syntax(syntax.map_err(|e| sentence(&e))?);
        env.set_fuel(Some(FUEL));
        env.set_recursion_limit(200);
        env.set_unknown_method_callback(method);
        env.add_filter("trim", trim_filter);
        env.add_filter("tojson", tojson);
        env.add_test("iterable", is_iterable);
        env.add_test("sequence", is_sequence);
        env.add_function("raise_exception", raise_exception);
        // As jinja2 reads a template, whatever ends its lines.
        let lines = source.replace("\r\n", "\n").replace('\r', "\n");
        env.add_template_owned("chat", without_generation(&lines)).map_err(|e| sentence(&e))?;
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

