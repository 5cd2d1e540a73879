//! Filters, tests and methods that minijinja lacks, or does otherwise than jinja2.
use crate::dumps::tojson;
use minijinja::value::{Kwargs, Rest, Tuple, Value, ValueKind, ValueOrKwargs};
use minijinja::{filters, Environment, Error, ErrorKind, State};

/// What a filter may make longer than its text, in bytes.
const INDENTED_MAX: usize = 1 << 24;

// ---- Text ----------------------------------------------------------------------------------------

/// Python's idea of white space: Unicode's, and the four separators.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

pub fn trim(text: &str) -> &str {
    text.trim_matches(is_space)
}

fn trim_filter(v: Value, chars: Option<String>) -> String {
    let text = v.as_str().map_or_else(|| v.to_string(), str::to_string);
    match chars {
        Some(set) => text.trim_matches(|c| set.contains(c)).to_string(),
        None => trim(&text).to_string(),
    }
}

/// str.title: a letter behind a letter is small, any other a capital.
fn titled(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for c in text.chars() {
        if inside {
            out.extend(c.to_lowercase());
        } else {
            out.extend(c.to_uppercase());
        }
        inside = c.is_alphabetic();
    }
    out
}

/// As markupsafe does it.
fn escape(v: Value) -> Value {
    if v.is_safe() {
        return v;
    }
    let mut out = String::new();
    for c in v.to_string().chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\'' => out.push_str("&#39;"),
            '"' => out.push_str("&#34;"),
            c => out.push(c),
        }
    }
    Value::from_safe_string(out)
}

/// str.splitlines of a text and one more newline.
fn lines(text: &str) -> Vec<&str> {
    let ends = |c: char| {
        matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
            || ('\u{1c}'..='\u{1e}').contains(&c)
    };
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(ends) {
        out.push(&rest[..at]);
        let len = if rest[at..].starts_with("\r\n") { 2 } else { 1 };
        rest = rest[at..].char_indices().nth(len).map_or("", |(i, _)| &rest[at + i..]);
    }
    out.push(rest);
    out
}

fn indent(
    text: &str, width: Option<Value>, first: Option<bool>, blank: Option<bool>, kwargs: Kwargs,
) -> Result<String, Error> {
    let width = width.or(kwargs.get("width")?).unwrap_or(Value::from(4));
    let first = first.or(kwargs.get("first")?).unwrap_or(false);
    let blank = blank.or(kwargs.get("blank")?).unwrap_or(false);
    kwargs.assert_all_used()?;
    let lines = lines(text);
    let len = width.as_str().map(str::len).or(width.as_usize()).unwrap_or(0);
    if len.saturating_mul(lines.len()) > INDENTED_MAX {
        return Err(Error::new(ErrorKind::InvalidOperation, "indent makes a text too long"));
    }
    let by = width.as_str().map_or_else(|| " ".repeat(len), str::to_string);
    let mut out = String::with_capacity(text.len());
    for (i, line) in lines.iter().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        if if i == 0 { first } else { blank || !line.is_empty() } {
            out.push_str(&by);
        }
        out.push_str(line);
    }
    Ok(out)
}

/// Methods of str that minijinja's own list lacks, or that differ about what is a blank.
fn str_method(text: &str, method: &str, args: &[Value]) -> Option<Value> {
    let arg = args.first().and_then(|v| v.as_str());
    let none = args.first().is_none_or(|v| v.is_none());
    let cut = |at: Option<usize>, len: usize, other: [&str; 3]| {
        let [a, b, c] = at.map_or(other, |i| [&text[..i], &text[i..i + len], &text[i + len..]]);
        Value::from(Tuple::from([Value::from(a), Value::from(b), Value::from(c)]))
    };
    Some(match (method, arg) {
        ("strip", None) if none => trim(text).into(),
        ("lstrip", None) if none => text.trim_start_matches(is_space).into(),
        ("rstrip", None) if none => text.trim_end_matches(is_space).into(),
        ("split", None) if none && args.len() < 2 => {
            let parts = text.split(is_space).filter(|s| !s.is_empty());
            Value::from(parts.map(Value::from).collect::<Vec<_>>())
        }
        ("title", None) => titled(text).into(),
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

// ---- Values --------------------------------------------------------------------------------------

/// None cannot be iterated; minijinja takes it as an empty list.
fn iterated(v: Value) -> Result<Value, Error> {
    if v.is_none() {
        return Err(Error::new(ErrorKind::InvalidOperation, "none is not iterable"));
    }
    Ok(v)
}

fn add_iterating(env: &mut Environment, name: &'static str, filter: Value) {
    env.add_filter(name, move |s: &mut State, v: Value, args: Rest<ValueOrKwargs>| {
        let mut all = vec![iterated(v)?];
        all.extend(args.into_values());
        filter.call(s, &all)
    });
}

/// None is not, which a loop takes here as an empty list.
fn is_iterable(v: &Value) -> bool {
    !v.is_none() && v.try_iter().is_ok()
}

/// What has a length and can be indexed: texts and dicts, too.
fn is_sequence(v: &Value) -> bool {
    matches!(v.kind(), ValueKind::Seq | ValueKind::Map | ValueKind::String | ValueKind::Undefined)
}

// ---- An environment ------------------------------------------------------------------------------

/// Of minijinja's own; a template that has them is refused by jinja2.
const NOT_JINJA: [&str; 6] = ["bool", "chain", "lines", "pprint", "split", "zip"];

/// `loops`: the name of the filter that what a loop runs over goes through (rewrite.rs).
pub fn as_jinja2(env: &mut Environment, loops: &'static str) {
    env.set_unknown_method_callback(method);
    env.add_filter("trim", trim_filter);
    env.add_filter("tojson", tojson);
    env.add_filter("escape", escape);
    env.add_filter("e", escape);
    env.add_filter("indent", indent);
    env.add_filter(loops, iterated);
    for (name, filter) in [
        ("batch", Value::from_function(filters::batch)),
        ("join", Value::from_function(filters::join)),
        ("list", Value::from_function(filters::list)),
        ("max", Value::from_function(filters::max)),
        ("min", Value::from_function(filters::min)),
        ("slice", Value::from_function(filters::slice)),
        ("sort", Value::from_function(filters::sort)),
        ("sum", Value::from_function(filters::sum)),
        ("unique", Value::from_function(filters::unique)),
    ] {
        add_iterating(env, name, filter);
    }
    for name in NOT_JINJA {
        env.remove_filter(name);
    }
    env.add_test("iterable", is_iterable);
    env.add_test("sequence", is_sequence);
}
