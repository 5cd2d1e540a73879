//! What a template is given: messages, tools and variables as the client's JSON has them.
use crate::error::{fail, format_error, Failure, RANGE};
use serde_json::{Map, Value};

#[derive(Clone, Default)]
pub struct Conversation {
    pub messages: Vec<Value>,
    /// Null: none
    pub tools: Value,
    pub vars: Map<String, Value>,
    /// The last message is the beginning of the answer, which goes on from there.
    pub continues: bool,
}

impl Conversation {
    pub fn from_json(json: &[u8]) -> Result<Conversation, Failure> {
        let mut v: Map<String, Value> = serde_json::from_slice(json).map_err(format_error)?;
        let Some(Value::Array(messages)) = v.remove("messages") else {
            return fail(RANGE, "a conversation has no messages");
        };
        let vars = match v.remove("vars") {
            Some(Value::Object(vars)) => vars,
            _ => Map::new(),
        };
        Ok(Conversation {
            messages,
            tools: v.remove("tools").unwrap_or_default(),
            vars,
            continues: v.remove("continues") == Some(Value::Bool(true)),
        })
    }

    /// With other texts in place of all texts of the client's, names of members by `key`.
    pub fn map(
        &self, text: &dyn Fn(&str) -> String, key: &dyn Fn(&str) -> String,
    ) -> Conversation {
        let each = |v: &Value| map(v, text, key);
        Conversation {
            messages: self.messages.iter().map(each).collect(),
            tools: each(&self.tools),
            vars: self.vars.iter().map(|(k, v)| (k.clone(), each(v))).collect(),
            continues: self.continues,
        }
    }

    pub fn any(&self, is: &dyn Fn(&str) -> bool) -> bool {
        self.messages.iter().chain([&self.tools]).chain(self.vars.values()).any(|v| any(v, is))
    }

    /// The text of the last message.
    pub fn last(&self) -> &str {
        self.messages.last().and_then(|m| m["content"].as_str()).unwrap_or_default()
    }
}

fn map(v: &Value, text: &dyn Fn(&str) -> String, key: &dyn Fn(&str) -> String) -> Value {
    match v {
        Value::String(s) => Value::String(text(s)),
        Value::Array(a) => a.iter().map(|v| map(v, text, key)).collect(),
        Value::Object(o) => o.iter().map(|(k, v)| (key(k), map(v, text, key))).collect(),
        other => other.clone(),
    }
}

fn any(v: &Value, is: &dyn Fn(&str) -> bool) -> bool {
    match v {
        Value::String(s) => is(s),
        Value::Array(a) => a.iter().any(|v| any(v, is)),
        Value::Object(o) => o.iter().any(|(k, v)| is(k) || any(v, is)),
        _ => false,
    }
}
