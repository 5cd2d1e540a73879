//! The C side of this library: hydac_text.h says what each function does. Nothing here panics into
//! C: a panic becomes an error of that call.
mod charsmap;
mod chat;
mod conversation;
mod core;
mod dumps;
mod error;
mod fast;
mod gbnf;
mod grammar;
mod guard;
mod jinja;
mod model;
mod pieces;
mod rewrite;
mod wait;

use crate::chat::Chat;
use crate::conversation::Conversation;
use crate::core::{Core, Entry, Kind, Parts};
use crate::error::{fail, Failure, FORMAT, NOMEM, STATE};
use crate::grammar::Grammar;
use std::collections::BTreeMap;
use std::ffi::{c_char, c_int, c_void};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Once;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Str {
    data: *const u8,
    len: usize,
}

impl Str {
    /// SAFETY: `data` must have `len` bytes for as long as the result is used.
    unsafe fn bytes<'a>(self) -> &'a [u8] {
        if self.data.is_null() || self.len == 0 {
            return b"";
        }
        std::slice::from_raw_parts(self.data, self.len)
    }
    unsafe fn text(self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }
}

#[repr(C)]
pub struct CEntry {
    text: Str,
    kind: c_int,
}

#[repr(C)]
pub struct CMerge {
    left: Str,
    right: Str,
}

#[repr(C)]
pub struct CParts {
    entries: *const CEntry,
    n_entries: usize,
    scores: *const f32,
    merges: *const CMerge,
    n_merges: usize,
    patterns: *const *const c_char,
    n_patterns: usize,
    ignore_merges: bool,
    nfc: bool,
    ranked: bool,
    spm: bool,
    unigram: bool,
    squeeze: bool,
    charsmap: Str,
    add_space: bool,
    unk: i32,
    rows: u32,
}

#[repr(C)]
pub struct CError {
    code: c_int,
    text: [c_char; 512],
}

unsafe fn slice<'a, T>(data: *const T, n: usize) -> &'a [T] {
    if n == 0 {
        &[]
    } else {
        std::slice::from_raw_parts(data, n)
    }
}

unsafe fn c_text(s: *const c_char) -> String {
    if s.is_null() {
        return String::new();
    }
    std::ffi::CStr::from_ptr(s).to_string_lossy().into_owned()
}

/// One sentence, no newline, cut at a character.
unsafe fn report(err: *mut CError, f: &Failure) -> c_int {
    if let Some(err) = err.as_mut() {
        let mut n = 0;
        for c in f.text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
            if n + c.len_utf8() >= err.text.len() {
                break;
            }
            for &b in c.encode_utf8(&mut [0; 4]).as_bytes() {
                err.text[n] = b as c_char;
                n += 1;
            }
        }
        err.text[n] = 0;
        err.code = f.code;
    }
    f.code
}

static QUIET: Once = Once::new();

/// Runs `f`; its failure, or its panic, is reported.
unsafe fn call(err: *mut CError, f: impl FnOnce() -> Result<(), Failure>) -> c_int {
    QUIET.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(Ok(())) => 0,
        Ok(Err(e)) => report(err, &e),
        Err(why) => {
            let what = why
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| why.downcast_ref::<&str>().map(|s| s.to_string()))
                .unwrap_or_default();
            report(err, &Failure { code: STATE, text: format!("cannot be worked on: {what}") })
        }
    }
}

/// A copy in memory that free() takes; NULL for nothing.
unsafe fn hand_out<T: Copy>(v: &[T], data: *mut *mut T, n: *mut usize) -> Result<(), Failure> {
    *n = v.len();
    if v.is_empty() {
        return Ok(());
    }
    let p = libc::malloc(std::mem::size_of_val(v)) as *mut T;
    if p.is_null() {
        *n = 0;
        return fail(NOMEM, "out of memory");
    }
    std::ptr::copy_nonoverlapping(v.as_ptr(), p, v.len());
    *data = p;
    Ok(())
}

unsafe fn hand_out_core(out: *mut *mut Core, core: Core) -> Result<(), Failure> {
    *out = Box::into_raw(Box::new(core));
    Ok(())
}

#[no_mangle]
pub unsafe extern "C" fn hdt_from_json(
    out: *mut *mut Core, json: Str, config: Str, rows: u32, err: *mut CError,
) -> c_int {
    call(err, || hand_out_core(out, Core::from_json(json.bytes(), config.bytes(), rows)?))
}

fn kind(k: c_int) -> Kind {
    match k {
        1 => Kind::Normal,
        2 => Kind::Control,
        3 => Kind::User,
        4 => Kind::Unused,
        5 => Kind::Byte,
        _ => Kind::Absent,
    }
}

unsafe fn parts(p: &CParts) -> Result<Parts, Failure> {
    let scores = if p.scores.is_null() { &[] } else { slice(p.scores, p.n_entries) };
    let entry = |(i, e): (usize, &CEntry)| Entry {
        text: e.text.text(),
        kind: kind(e.kind),
        score: scores.get(i).copied().unwrap_or(0.0),
    };
    let text = |s: Str| match std::str::from_utf8(s.bytes()) {
        Ok(t) => Ok(t.to_string()),
        Err(_) => fail(FORMAT, "a merge is not UTF-8"),
    };
    let merges: Result<Vec<_>, Failure> = slice(p.merges, p.n_merges)
        .iter()
        .map(|m| Ok((text(m.left)?, text(m.right)?)))
        .collect();
    Ok(Parts {
        entries: slice(p.entries, p.n_entries).iter().enumerate().map(entry).collect(),
        merges: merges?,
        patterns: slice(p.patterns, p.n_patterns).iter().map(|&s| c_text(s)).collect(),
        ignore_merges: p.ignore_merges,
        nfc: p.nfc,
        ranked: p.ranked,
        spm: p.spm,
        unigram: p.unigram,
        squeeze: p.squeeze,
        charsmap: p.charsmap.bytes().to_vec(),
        add_space: p.add_space,
        unk: p.unk,
        rows: p.rows,
    })
}

#[no_mangle]
pub unsafe extern "C" fn hdt_from_parts(
    out: *mut *mut Core, p: *const CParts, err: *mut CError,
) -> c_int {
    call(err, || hand_out_core(out, Core::from_parts(parts(&*p)?)?))
}

#[no_mangle]
pub unsafe extern "C" fn hdt_free(t: *mut Core) {
    if !t.is_null() {
        let _ = catch_unwind(AssertUnwindSafe(|| drop(Box::from_raw(t))));
    }
}

#[no_mangle]
pub unsafe extern "C" fn hdt_size(t: *const Core) -> u32 {
    (*t).pieces.len() as u32
}

#[no_mangle]
pub unsafe extern "C" fn hdt_find(t: *const Core, text: Str) -> i32 {
    let find = || (*t).id_of(std::str::from_utf8(text.bytes()).ok()?);
    catch_unwind(AssertUnwindSafe(find)).ok().flatten().map_or(-1, |id| id as i32)
}

#[no_mangle]
pub unsafe extern "C" fn hdt_piece(t: *const Core, id: i32, hidden: *mut bool) -> Str {
    let t = &*t;
    let p = &t.pieces;
    let Some(i) = usize::try_from(id).ok().filter(|&i| i < p.len()) else {
        *hidden = true;
        return Str { data: b"".as_ptr(), len: 0 };
    };
    *hidden = p.hidden[i];
    let bytes = p.get(i);
    Str { data: bytes.as_ptr(), len: bytes.len() }
}

#[no_mangle]
pub unsafe extern "C" fn hdt_note(t: *const Core, i: usize) -> Str {
    let t = &*t;
    match t.notes.get(i) {
        Some(s) => Str { data: s.as_ptr(), len: s.len() },
        None => Str { data: std::ptr::null(), len: 0 },
    }
}

#[no_mangle]
pub unsafe extern "C" fn hdt_affixes(
    t: *const Core, prefix: *mut *const u32, n_prefix: *mut usize, suffix: *mut *const u32,
    n_suffix: *mut usize,
) {
    *prefix = (*t).prefix.as_ptr();
    *n_prefix = (*t).prefix.len();
    *suffix = (*t).suffix.as_ptr();
    *n_suffix = (*t).suffix.len();
}

#[no_mangle]
pub unsafe extern "C" fn hdt_encode(
    t: *const Core, text: Str, special: bool, ids: *mut *mut u32, n: *mut usize, err: *mut CError,
) -> c_int {
    call(err, || hand_out(&(*t).encode(text.bytes(), special)?, ids, n))
}

#[no_mangle]
pub unsafe extern "C" fn hdt_set_template(
    t: *mut Core, source: Str, vars: Str, err: *mut CError,
) -> c_int {
    call(err, || {
        let vars: BTreeMap<String, String> =
            serde_json::from_slice(vars.bytes()).map_err(error::format_error)?;
        (*t).chat = Some(Chat::new(&*t, &source.text(), vars)?);
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn hdt_chat(
    t: *const Core, json: Str, now: i64, ids: *mut *mut u32, n_ids: *mut usize, err: *mut CError,
) -> c_int {
    call(err, || {
        let c = Conversation::from_json(json.bytes())?;
        hand_out(&chat::encode(&*t, &c, now)?, ids, n_ids)
    })
}

#[no_mangle]
pub unsafe extern "C" fn hdt_render(
    t: *const Core, json: Str, now: i64, text: *mut *mut c_void, len: *mut usize, err: *mut CError,
) -> c_int {
    call(err, || match &(*t).chat {
        Some(c) => {
            let s = c.render(&Conversation::from_json(json.bytes())?, now)?;
            hand_out(s.as_bytes(), text as *mut *mut u8, len)
        }
        None => error::unsupported("the model has no chat template"),
    })
}

// ---- Grammars ------------------------------------------------------------------------------------

unsafe fn grammar(t: &Core, kind: c_int, text: Str, stops: &[u32]) -> Result<Grammar, Failure> {
    let made = t.grammars.get_or_init(|| grammar::factory(t, stops).map_err(|e| e.text));
    let factory = match made {
        Ok(f) => f,
        Err(why) => return fail(STATE, why.clone()),
    };
    let kind = match kind {
        0 => grammar::Kind::JsonSchema,
        1 => grammar::Kind::Regex,
        _ => grammar::Kind::Lark,
    };
    Grammar::new(factory, kind, &text.text())
}

#[no_mangle]
pub unsafe extern "C" fn hdt_grammar_new(
    out: *mut *mut Grammar, t: *const Core, kind: c_int, text: Str, stops: *const u32,
    n_stops: usize, err: *mut CError,
) -> c_int {
    call(err, || {
        *out = Box::into_raw(Box::new(grammar(&*t, kind, text, slice(stops, n_stops))?));
        Ok(())
    })
}

#[repr(C)]
pub struct CMark {
    text: Str,
    first: bool,
}

#[no_mangle]
pub unsafe extern "C" fn hdt_grammar_wait(
    g: *mut Grammar, marks: *const CMark, n: usize, again: bool, thoughts: bool, inside: bool,
    err: *mut CError,
) -> c_int {
    let mark = |m: &CMark| wait::Mark { text: m.text.bytes().to_vec(), first: m.first };
    call(err, || {
        (*g).wait(slice(marks, n).iter().map(mark).collect(), again, thoughts, inside)
    })
}

#[no_mangle]
pub unsafe extern "C" fn hdt_grammar_holds(g: *const Grammar) -> bool {
    catch_unwind(AssertUnwindSafe(|| (*g).holds())).unwrap_or(true)
}

#[no_mangle]
pub unsafe extern "C" fn hdt_grammar_mask(
    g: *mut Grammar, bits: *mut u32, words: usize, err: *mut CError,
) -> c_int {
    call(err, || (*g).mask(std::slice::from_raw_parts_mut(bits, words)))
}

#[no_mangle]
pub unsafe extern "C" fn hdt_grammar_take(g: *mut Grammar, id: u32, err: *mut CError) -> c_int {
    call(err, || (*g).take(id))
}

#[no_mangle]
pub unsafe extern "C" fn hdt_grammar_fork(
    out: *mut *mut Grammar, g: *const Grammar, err: *mut CError,
) -> c_int {
    call(err, || {
        *out = Box::into_raw(Box::new((*g).clone()));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn hdt_grammar_allows(g: *mut Grammar, ids: *const u32, n: usize) -> usize {
    catch_unwind(AssertUnwindSafe(|| (*g).allows(slice(ids, n)))).unwrap_or(0)
}

#[no_mangle]
pub unsafe extern "C" fn hdt_grammar_forced(g: *const Grammar, ids: *mut u32, most: usize) -> usize {
    let forced = catch_unwind(AssertUnwindSafe(|| (*g).forced())).unwrap_or_default();
    let n = forced.len().min(most);
    std::ptr::copy_nonoverlapping(forced.as_ptr(), ids, n);
    n
}

#[no_mangle]
pub unsafe extern "C" fn hdt_grammar_free(g: *mut Grammar) {
    if !g.is_null() {
        let _ = catch_unwind(AssertUnwindSafe(|| drop(Box::from_raw(g))));
    }
}
