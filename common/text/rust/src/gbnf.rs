//! Grammars as llama.cpp writes them (GBNF), said in Lark as llguidance reads it.
//!
//! A rule that is made of characters only, without a way back to itself, becomes a terminal, which
//! the lexer takes whole; all others stay rules.
use crate::error::{fail, Failure, FORMAT};
use std::collections::BTreeMap;

/// A line of it defines something: no grammar of Lark has one.
pub fn is_gbnf(text: &str) -> bool {
    text.lines().any(|line| {
        let name = line.trim_start().trim_start_matches(is_word);
        name.len() < line.trim_start().len() && name.trim_start().starts_with("::=")
    })
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

enum Part {
    /// As Lark has it: literals, classes, brackets, |, *, {2,3}.
    Lark(String),
    Rule(String),
}

struct Rule {
    parts: Vec<Part>,
    /// It can be empty as it stands there, which no terminal may be.
    hollow: bool,
}

struct Reader<'a> {
    rest: &'a str,
    text: &'a str,
}

type Read<T> = Result<T, Failure>;

impl Reader<'_> {
    fn wrong<T>(&self, what: &str) -> Read<T> {
        let line = 1 + self.text[..self.text.len() - self.rest.len()].matches('\n').count();
        fail(FORMAT, format!("GBNF, line {line}: {what}"))
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Read<char> {
        match self.peek() {
            Some(c) => {
                self.rest = &self.rest[c.len_utf8()..];
                Ok(c)
            }
            None => self.wrong("it ends in the middle"),
        }
    }

    fn eat(&mut self, word: &str) -> bool {
        let there = self.rest.starts_with(word);
        self.rest = &self.rest[if there { word.len() } else { 0 }..];
        there
    }

    /// Blanks and comments; `lines`: also ends of lines.
    fn blanks(&mut self, lines: bool) {
        loop {
            let blank = |c: char| matches!(c, ' ' | '\t') || lines && matches!(c, '\r' | '\n');
            self.rest = self.rest.trim_start_matches(blank);
            if !self.rest.starts_with('#') {
                return;
            }
            self.rest = &self.rest[self.rest.find('\n').unwrap_or(self.rest.len())..];
        }
    }

    fn name(&mut self) -> Read<String> {
        let n = self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len());
        if n == 0 {
            return self.wrong("a rule's name must stand here");
        }
        let name = self.rest[..n].to_string();
        self.rest = &self.rest[n..];
        Ok(name)
    }

    fn hex(&mut self, digits: usize) -> Read<char> {
        let code = self.rest.get(..digits).and_then(|h| u32::from_str_radix(h, 16).ok());
        match code.and_then(char::from_u32) {
            Some(c) => {
                self.rest = &self.rest[digits..];
                Ok(c)
            }
            None => self.wrong("an escape has no character"),
        }
    }

    /// One of a literal or a class, behind its escape.
    fn character(&mut self) -> Read<char> {
        match self.next()? {
            '\\' => match self.next()? {
                'n' => Ok('\n'),
                'r' => Ok('\r'),
                't' => Ok('\t'),
                'x' => self.hex(2),
                'u' => self.hex(4),
                'U' => self.hex(8),
                c if c.is_ascii_alphanumeric() => self.wrong("an escape is not known"),
                c => Ok(c),
            },
            '\n' => self.wrong("a literal or a class does not end on its line"),
            c => Ok(c),
        }
    }

    fn literal(&mut self) -> Read<String> {
        let mut s = String::new();
        while !self.eat("\"") {
            s.push(self.character()?);
        }
        Ok(s)
    }

    /// As a regular expression of one character.
    fn class(&mut self) -> Read<String> {
        let code = |c: char| format!("\\x{{{:x}}}", c as u32);
        let mut s = String::from(if self.eat("^") { "/[^" } else { "/[" });
        let empty = s.len();
        while !self.eat("]") {
            s += &code(self.character()?);
            if self.rest.starts_with('-') && !self.rest.starts_with("-]") {
                self.next()?;
                s.push('-');
                s += &code(self.character()?);
            }
        }
        if s.len() == empty {
            return self.wrong("a class is empty");
        }
        Ok(s + "]/")
    }

    /// Of {2}, {2,} and {2,3}: what is behind the bracket.
    fn times(&mut self) -> Read<(u32, String)> {
        let Some(end) = self.rest.find('}') else { return self.wrong("a { has no }") };
        let inside: String = self.rest[..end].split_whitespace().collect();
        let (least, most) = inside.split_once(',').unwrap_or((&inside, &inside));
        let number = |s: &str| s.parse::<u32>().ok();
        let (Some(least), true) = (number(least), most.is_empty() || number(most).is_some()) else {
            return self.wrong("a repetition is none");
        };
        let said = format!("{{{least},{most}}}");
        self.rest = &self.rest[end + 1..];
        Ok((least, said))
    }

    fn rule(&mut self) -> Read<Rule> {
        let mut rule = Rule { parts: Vec::new(), hollow: false };
        let mut depth = 0;
        let mut bare = true; // nothing stands in this alternative yet
        loop {
            self.blanks(depth > 0);
            let Some(c) = self.peek() else { break };
            if depth == 0 && matches!(c, '\r' | '\n') {
                self.blanks(true);
                if !self.rest.starts_with('|') {
                    break;
                }
                continue;
            }
            let mut lark = |s: String| rule.parts.push(Part::Lark(s));
            if is_word(c) {
                rule.parts.push(Part::Rule(self.name()?));
                bare = false;
                continue;
            }
            self.next()?;
            let was = std::mem::replace(&mut bare, matches!(c, '|' | '('));
            match c {
                '"' => {
                    let s = self.literal()?;
                    rule.hollow |= s.is_empty();
                    lark(serde_json::to_string(&s).unwrap_or_default())
                }
                '[' => lark(self.class()?),
                '.' => lark("/(?s:.)/".into()),
                '(' => depth += 1,
                ')' if depth > 0 => depth -= 1,
                '*' | '+' | '?' | '{' if was => return self.wrong("there is nothing to repeat"),
                '+' | '|' => (),
                '*' | '?' => rule.hollow = true,
                '{' => {
                    let (least, said) = self.times()?;
                    rule.hollow |= least == 0;
                    lark(said)
                }
                '<' | '!' => return self.wrong("tokens (<...>) are not supported"),
                _ => return self.wrong(&format!("'{c}' has no meaning here")),
            }
            if matches!(c, '|' | ')') && was {
                rule.hollow = true;
                rule.parts.push(Part::Lark("\"\"".into()));
            }
            if matches!(c, '(' | ')' | '*' | '+' | '?' | '|') {
                rule.parts.push(Part::Lark(c.to_string()));
            }
        }
        if depth > 0 {
            return self.wrong("a ( has no )");
        }
        if bare {
            rule.hollow = true;
            rule.parts.push(Part::Lark("\"\"".into()));
        }
        Ok(rule)
    }
}

fn read(text: &str) -> Read<BTreeMap<String, Rule>> {
    let mut r = Reader { rest: text, text };
    let mut rules = BTreeMap::new();
    r.blanks(true);
    while r.peek().is_some() {
        let name = r.name()?;
        r.blanks(false);
        if !r.eat("::=") {
            return r.wrong("::= must follow a rule's name");
        }
        r.blanks(true);
        let rule = r.rule()?;
        if rules.insert(name, rule).is_some() {
            return r.wrong("a rule is there twice");
        }
        r.blanks(true);
    }
    Ok(rules)
}

/// Which rules are terminals: found from those without others upward.
fn terminals(rules: &BTreeMap<String, Rule>) -> BTreeMap<&str, ()> {
    let mut found = BTreeMap::new();
    loop {
        let before = found.len();
        for (name, rule) in rules.iter().filter(|(n, r)| *n != "root" && !r.hollow) {
            let plain = |p: &Part| match p {
                Part::Lark(_) => true,
                Part::Rule(of) => found.contains_key(of.as_str()),
            };
            if rule.parts.iter().all(plain) {
                found.insert(name.as_str(), ());
            }
        }
        if found.len() == before {
            return found;
        }
    }
}

pub fn to_lark(text: &str) -> Read<String> {
    let rules = read(text)?;
    if !rules.contains_key("root") {
        return fail(FORMAT, "GBNF: the rule 'root' is missing");
    }
    let whole = terminals(&rules);
    let names: BTreeMap<&str, String> = rules
        .keys()
        .enumerate()
        .map(|(i, n)| match n.as_str() {
            "root" => (n.as_str(), "start".into()),
            n if whole.contains_key(n) => (n, format!("T{i}")),
            n => (n, format!("r{i}")),
        })
        .collect();
    let mut out = String::new();
    for (name, rule) in &rules {
        out += &format!("{}:", names[name.as_str()]);
        for part in &rule.parts {
            let said = match part {
                Part::Lark(s) => s,
                Part::Rule(of) => match names.get(of.as_str()) {
                    Some(s) => s,
                    None => return fail(FORMAT, format!("GBNF: the rule '{of}' is missing")),
                },
            };
            // What repeats stands close behind what is repeated.
            if !matches!(said.as_bytes()[0], b'*' | b'+' | b'?' | b'{') {
                out.push(' ');
            }
            out += said;
        }
        out.push('\n');
    }
    Ok(out)
}
