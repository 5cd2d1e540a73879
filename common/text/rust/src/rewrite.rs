//! A template's source, changed where minijinja would read it otherwise than jinja2.
use minijinja::machinery::{tokenize, Span, Token};
use minijinja::syntax::SyntaxConfig;

/// The filter that every value passes that a loop runs over: minijinja asks nobody whether None can
/// be iterated.
pub const LOOP: &str = "_hydac_loop";

/// Bytes [from, to) become `text`.
struct Edit {
    from: usize,
    to: usize,
    text: String,
}

type Tokens<'a, 'b> = &'a [(Token<'b>, Span)];

/// `EXPR` of `for x in EXPR if ... recursive` is put into brackets, with the filter behind them;
/// `tokens` begin behind the `for`.
fn wrap(tokens: Tokens, edits: &mut Vec<Edit>) {
    let Some(begin) = tokens.iter().position(|(t, _)| matches!(t, Token::Ident("in"))) else {
        return;
    };
    let mut depth = 0;
    for (i, (token, _)) in tokens.iter().enumerate().skip(begin + 1) {
        match token {
            Token::Ident(_) if matches!(tokens[i - 1].0, Token::Dot) => {}
            Token::ParenOpen | Token::BracketOpen | Token::BraceOpen => depth += 1,
            Token::ParenClose | Token::BracketClose | Token::BraceClose => depth -= 1,
            Token::Ident("if" | "recursive") | Token::BlockEnd if depth == 0 => {
                if i > begin + 1 {
                    let (from, to) = (&tokens[begin + 1].1, &tokens[i - 1].1);
                    let (from, to) = (from.start_offset as usize, to.end_offset as usize);
                    edits.push(Edit { from, to: from, text: "(".into() });
                    edits.push(Edit { from: to, to, text: format!(")|{LOOP}") });
                }
                return;
            }
            _ => {}
        }
    }
}

fn replace(at: &Span, text: &str) -> Edit {
    let (from, to) = (at.start_offset as usize, at.end_offset as usize);
    Edit { from, to, text: text.into() }
}

/// `{% generation %}` marks answers for training and changes nothing in the text. What cannot be read
/// is left as it is: the parser says why.
pub fn rewrite(source: &str, syntax: SyntaxConfig) -> String {
    let tokens: Result<Vec<_>, _> = tokenize(source, false, syntax).collect();
    let Ok(tokens) = tokens else {
        return source.to_string();
    };
    let mut edits = Vec::new();
    for (i, (token, _)) in tokens.iter().enumerate() {
        match (token, tokens.get(i + 1)) {
            (Token::BlockStart, Some((Token::Ident("for"), _))) => wrap(&tokens[i + 2..], &mut edits),
            (Token::BlockStart, Some((Token::Ident("generation"), at))) => {
                edits.push(replace(at, "if true"))
            }
            (Token::BlockStart, Some((Token::Ident("endgeneration"), at))) => {
                edits.push(replace(at, "endif"))
            }
            _ => {}
        }
    }
    let mut out = String::with_capacity(source.len() + 16 * edits.len());
    let mut done = 0;
    for e in edits {
        out.push_str(&source[done..e.from]);
        out.push_str(&e.text);
        done = e.to;
    }
    out.push_str(&source[done..]);
    out
}
