//! Python's json.dumps, as transformers gives it to templates.
use minijinja::value::{Kwargs, Value};
use minijinja::{Error, ErrorKind};

/// Python's repr of a float: its shortest digits, with an exponent beyond 16 of them.
fn float(x: f64) -> String {
    let scientific = format!("{x:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>() {
        Ok(e) if !(-4..16).contains(&e) => {
            format!("{digits}e{}{:02}", if e < 0 { '-' } else { '+' }, e.unsigned_abs())
        }
        _ => format!("{x:?}"),
    }
}

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
            serde_json::Value::Number(n) if n.is_f64() => {
                self.out.push_str(&float(n.as_f64().unwrap_or_default()))
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

pub fn tojson(v: Value, kwargs: Kwargs) -> Result<String, Error> {
    if v.is_undefined() {
        return Err(Error::new(ErrorKind::UndefinedError, "what tojson is to write is undefined"));
    }
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
