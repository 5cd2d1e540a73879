/* The names are llama.cpp's (src/llama-vocab.cpp, llama_vocab::impl::load and llm_tokenizer_bpe);
 * where it notes the expression of the models' own tokenizer.json, that one stands here. Not here
 * are those that are not byte-level (gemma4,
 * sarvam-moe, whitespace) or put a separator behind a text (jina-v1-en, jina-v2-code, roberta). */
#include "common/text/pre_type.h"

#include <string.h>

#define ENDINGS     "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define BLANKS      "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define WORD        "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
#define MARKS       "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
#define MARKS_SLASH "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*"
#define UPPER_LOWER                                                                                \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*"                                  \
    "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+"
#define UPPERS_LOWER                                                                               \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+"                                  \
    "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*"
#define GPT2                                                                                       \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+"                            \
    "|\\s+(?!\\S)|\\s+"
#define MARK_WORD                                                                                  \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"                                        \
    "|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"

typedef const char *const stages[];

static stages gpt2 = {GPT2, NULL};
static stages digits_gpt2 = {"\\p{N}", GPT2, NULL};
/* llama.cpp's own default: no model was trained with it. */
static stages fallback = {"[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]", NULL};
static stages falcon = {"[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]", NULL};
static stages llama3 = {ENDINGS "|" WORD "|\\p{N}{1,3}" MARKS BLANKS, NULL};
static stages qwen2 = {ENDINGS "|" WORD "|\\p{N}" MARKS BLANKS, NULL};
static stages qwen35 = {ENDINGS "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}"
                                "| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*" BLANKS,
                        NULL};
static stages ufakzeka = {WORD "|\\p{N}" MARKS BLANKS, NULL};
static stages minicpm5 = {"\\p{N}{1,3}", ENDINGS "|" WORD "|\\p{N}+" MARKS BLANKS, NULL};
static stages laguna = {"[^\\n]+|[\\n]+", ENDINGS "|" WORD "|\\p{N}" MARKS BLANKS, NULL};
static stages seed_coder = {ENDINGS "|" WORD "|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+" BLANKS, NULL};
static stages bailing = {"'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}"
                         "| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+",
                         NULL};
static stages tekken = {UPPER_LOWER "|" UPPERS_LOWER "|\\p{N}" MARKS_SLASH BLANKS, NULL};
static stages gpt4o = {
    UPPER_LOWER ENDINGS "?|" UPPERS_LOWER ENDINGS "?|\\p{N}{1,3}" MARKS_SLASH BLANKS, NULL};
static stages tiny_aya = {
    "\\d{1,3}(?=(?:\\d{3})*\\b)",
    UPPER_LOWER ENDINGS "?|" UPPERS_LOWER ENDINGS "?|\\p{N}{1,3}" MARKS_SLASH BLANKS, NULL};
static stages deepseek3 = {"\\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+",
                           MARK_WORD "| ?[\\p{P}\\p{S}]+[\\r\\n]*" BLANKS, NULL};
static stages deepseek_coder = {
    "[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", "[一-龥ࠀ-一가-퟿]+", "\\p{N}", NULL};
static stages exaone_moe = {ENDINGS "|[^\\r\\n\\p{L}\\p{N}]?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+"
                                    "|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|\\s*[\\r\\n]"
                                    "|\\s+(?!\\S)|\\s+",
                            NULL};
static stages deepseek = {
    "[\\r\\n]",
    "\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-"
    "ՖႠ-"
    "ჅᎠ-"
    "Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕ"
    "ἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-"
    "ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇ"
    "Ꞌ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-"
    "𑣟𞤀-𞥃]+",
    "\\s?[!-/:-~！-／：-～‘-‟　-。]+",
    "\\s+$",
    "[一-龥ࠀ-一가-퟿]+",
    "\\p{N}+",
    NULL};
static stages spark = {"\\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+",
                       MARK_WORD "| ?[\\p{P}\\p{S}]+|[\\r\\n]|\\s+(?!\\S)|\\s+", "\\p{N}", NULL};
static stages youtu = {
    "[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥\u3040-"
    "ゟ゠-"
    "ヿ]"
    "+",
    UPPER_LOWER ENDINGS "?|" UPPERS_LOWER ENDINGS "?|\\p{N}" MARKS_SLASH BLANKS, NULL};
static stages jais2 = {ENDINGS "|" WORD "|\\p{N}{1,3}" MARKS
                               "|\\s*[\\r\\n]+|\\s{512}(?!\\S)|\\s{256}(?!\\S)|\\s{128}(?!\\S)"
                               "|\\s{64}(?!\\S)|\\s{32}(?!\\S)|\\s{16}(?!\\S)|\\s{8}(?!\\S)"
                               "|\\s{4}(?!\\S)|\\s{1,2}(?!\\S)|\\s{1}",
                       NULL};
static stages chameleon = {"<sentinel:[0-9]+>",
                           "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z",
                           "([\\t\\n]|    |  )",
                           "\\p{N}",
                           "[\\p{P}!-/:-@\\[-`{-~]",
                           GPT2,
                           NULL};
/* A word of one script: Chinese characters are words of their own. */
static stages kimi = {
    "\\p{Han}+|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]*"
    "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]+" ENDINGS
    "?|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]+"
    "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}&&[^\\p{Han}]]*" ENDINGS "?|\\p{N}{1,3}" MARKS BLANKS,
    NULL};
/* clang-format off */
/* Digits in threes from the right. */
static stages afmoe = {
    "\\p{N}{1,3}(?=(?:\\p{N}{3})*(?!\\p{N}))",
    "[一-鿿㐀-䶿豈-﫿぀-ゟ゠-ヿ･-ﾟ⼀-⿟เ-๿຀-໿ក-៿က-႟ꩠ-ꩿꧠ-꧿가-힯ᄀ-ᇿ]+",
    MARK_WORD "| ?[\\p{P}\\p{S}]+[\\r\\n]*" BLANKS, NULL};
/* clang-format on */
/* Cut before what is digits in threes to their end, and nowhere else. */
static stages superbpe = {"\\p{N}+", "[\\s\\S]+?(?=(?:\\d{3})+(?!\\d))|[\\s\\S]+", NULL};
static stages poro = {" ?[^(\\s|.,!?…。，、।۔،)]+", NULL};
static stages viking = {" ?[^(\\s|.,!?…。，、।۔،)]+", "\\p{N}", NULL};

static const struct hd_pre_type pre_types[] = {
    /* name, stages, ignore_merges, adds_bos, nfc */
    {"default", fallback, false, false, false},
    {"smollm", digits_gpt2, false, false, false},
    {"starcoder", digits_gpt2, false, false, false},
    {"refact", digits_gpt2, false, false, false},
    {"command-r", digits_gpt2, false, false, false},
    {"codeshell", digits_gpt2, false, false, false},
    {"exaone", digits_gpt2, false, false, false},
    {"minerva-7b", digits_gpt2, false, false, false},
    {"mellum2", digits_gpt2, false, false, false},
    {"gpt-2", gpt2, false, false, false},
    {"phi-2", gpt2, false, false, false},
    {"mpt", gpt2, false, false, false},
    {"olmo", gpt2, false, false, false},
    {"jais", gpt2, false, false, false},
    {"trillion", gpt2, false, false, false},
    {"granite-docling", gpt2, false, false, false},
    {"gigachat", gpt2, false, false, false},
    {"a.x-4.0", gpt2, false, false, false},
    {"mellum", gpt2, false, false, false},
    {"exaone4", gpt2, false, false, false},
    {"jina-es", gpt2, false, false, false},
    {"jina-de", gpt2, false, false, false},
    {"jina-v2-es", gpt2, false, false, false},
    {"jina-v2-de", gpt2, false, false, false},
    {"modern-bert", gpt2, false, false, false},
    {"llama-bpe", llama3, true, true, false},
    {"llama3", llama3, true, true, false},
    {"llama-v3", llama3, true, true, false},
    {"falcon3", llama3, true, true, false},
    {"falcon-h1", llama3, true, true, false},
    {"pixtral", llama3, true, true, false},
    {"midm-2.0", llama3, true, true, false},
    {"lfm2", llama3, true, true, false},
    {"jina-v5-nano", llama3, true, true, false},
    {"jais-2", jais2, false, false, false},
    {"dbrx", llama3, false, false, false},
    {"smaug-bpe", llama3, false, false, false},
    {"glm4", llama3, false, false, false},
    {"chatglm-bpe", llama3, false, false, false},
    {"qwen2", qwen2, false, false, true},
    {"deepseek-r1-qwen", qwen2, false, false, true},
    {"kormo", qwen2, false, false, true},
    {"f2llmv2", qwen2, false, false, true},
    {"qwen35", qwen35, false, false, true},
    {"megrez", qwen2, false, false, false},
    {"stablelm2", qwen2, false, false, false},
    {"hunyuan", qwen2, false, false, false},
    {"solar-open", qwen2, false, false, false},
    {"grok-2", qwen2, false, false, false},
    {"ufakzeka", ufakzeka, false, false, false},
    {"minicpm5", minicpm5, true, false, false},
    {"laguna", laguna, false, false, false},
    {"seed-coder", seed_coder, false, false, false},
    {"bailingmoe", bailing, false, false, false},
    {"bailingmoe2", bailing, false, false, false},
    {"llada-moe", bailing, false, false, false},
    {"falcon", falcon, false, false, false},
    {"tekken", tekken, true, true, false},
    {"gpt-4o", gpt4o, false, false, false},
    {"llama4", gpt4o, false, false, false},
    {"kanana2", gpt4o, false, false, false},
    {"talkie", gpt4o, false, false, false},
    {"minimax-m2", gpt4o, false, false, false},
    {"granite-embed-multi-97m", gpt4o, true, false, false},
    {"tiny_aya", tiny_aya, false, false, false},
    {"cohere2moe", tiny_aya, false, false, false},
    {"deepseek-v3", deepseek3, false, false, false},
    {"hunyuan-dense", deepseek3, false, false, false},
    {"hy_v4", deepseek3, false, false, false},
    {"joyai-llm", deepseek3, false, false, false},
    {"spark2_5", spark, false, false, false},
    {"kimi-k2", kimi, false, false, false},
    {"youtu", youtu, true, false, false},
    {"chameleon", chameleon, false, true, false},
    {"deepseek-llm", deepseek, false, false, false},
    {"deepseek-coder", deepseek_coder, false, false, false},
    {"afmoe", afmoe, false, false, false},
    {"superbpe", superbpe, false, false, false},
    {"exaone-moe", exaone_moe, false, false, false},
    {"poro-chat", poro, false, false, false},
    {"bloom", poro, false, false, false},
    {"gpt3-finnish", poro, false, false, false},
    {"viking", viking, false, false, false},
};

const struct hd_pre_type *hd_pre_type_find(struct hd_str name)
{
    for (size_t i = 0; i < sizeof pre_types / sizeof *pre_types; i++)
        if (strlen(pre_types[i].name) == name.len &&
            memcmp(pre_types[i].name, name.data, name.len) == 0)
            return &pre_types[i];
    return NULL;
}
