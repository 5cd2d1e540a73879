/* kind.c - tables of first bytes and of names in folders, with what to do about each. */
#include "common/model/kind.h"

#include <dirent.h>
#include <fnmatch.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* ---- Bytes ----------------------------------------------------------------------------------*/

#define ARCHIVE "an archive, not a model: unpack it, and give what was in it"
#define OLD     "a GGML file from before GGUF, whose types mean something else: take a GGUF file"
#define PAGE    "a web page, not a model: download the file itself, not the page about it"
#define JSON    "JSON, not a model: give the folder that it lies in"
#define PICKLE                                                                                     \
    "weights as PyTorch pickles them: give the folder that they and their config.json or "         \
    "params.json lie in, where they are called pytorch_model.bin or consolidated.00.pth"

static const struct {
    size_t at;
    const char *bytes;
    size_t len;
    const char *what;
} magics[] = {
#define M(at, text, what)                                                                          \
    {                                                                                              \
        (at), (text), sizeof(text) - 1, (what)                                                     \
    }
    M(0, "version https://git-lfs",
      "a pointer of Git LFS, not the file that it stands for: fetch that with git lfs pull"),
    M(0, "<!", PAGE),
    M(0, "<html", PAGE),
    M(0, "<HTML", PAGE),
    M(0, "<?xml", "XML, maybe a server's refusal, not a model: fetch the file again"),
    M(0, "Invalid username", "a server's refusal, not a model: log in and fetch it again"),
    M(0, "Access to model", "a server's refusal, not a model: log in and fetch it again"),
    M(0, "Entry not found", "a server's refusal, not a model: the name of the file was wrong"),
    M(0, "PK\3\4", PICKLE), /* torch.save, since 2020 a ZIP archive */
    M(0, "\x80\x02", PICKLE),
    M(0, "GGUF", "a GGUF file: give it by itself"),
    M(0, "lmgg", OLD),
    M(0, "fmgg", OLD),
    M(0, "tjgg", OLD),
    M(0, "algg", "an adapter from before GGUF; merge it into its model, and convert the result"),
    M(0, "\x1f\x8b", ARCHIVE),
    M(0,
      "\xfd"
      "7zXZ",
      ARCHIVE),
    M(0, "\x28\xb5\x2f\xfd", ARCHIVE),
    M(0, "BZh", ARCHIVE),
    M(0, "7z\xbc\xaf", ARCHIVE),
    M(0, "Rar!", ARCHIVE),
    M(257, "ustar", ARCHIVE),
    M(0, "\x89HDF", "a HDF5 file, as TensorFlow writes it: take the model as safetensors or GGUF"),
    M(0, "\x93NUMPY", "an array of NumPy: take the model as safetensors or GGUF"),
    M(0, "{", JSON),
    M(8, "{\"", "a safetensors file: give the folder that it and its config.json lie in"),
#undef M
};

const char *hd_kind_of_bytes(const void *data, size_t len)
{
    if (len == 0)
        return "empty: the download has not begun or has failed, fetch it again";
    for (size_t i = 0; i < sizeof magics / sizeof *magics; i++)
        if (len >= magics[i].at + magics[i].len &&
            memcmp((const char *)data + magics[i].at, magics[i].bytes, magics[i].len) == 0)
            return magics[i].what;
    return NULL;
}

#define CALLED "a model of one such file is called pytorch_model.bin here: rename it"

/* ---- Folders --------------------------------------------------------------------------------*/

/* In this order: what tells most goes first. */
static const struct {
    const char *pattern; /* fnmatch */
    bool without_config; /* tells only where there is no config.json */
    const char *what;
} finds[] = {
    {"adapter_config.json", false,
     "it is a LoRA adapter: merge it into its model (peft's merge_and_unload), and give the "
     "result"},
    {"adapter_model.*", false,
     "it is a LoRA adapter: merge it into its model, and give the result"},
    {"model_index.json", false, "it is a pipeline of diffusers, which makes images, not text"},
    {"*.gguf", false, "give the GGUF file itself"},
    {"*-of-*.safetensors", false,
     "these are parts of a model whose list model.safetensors.index.json is missing, and maybe "
     "more: fetch the whole folder"},
    {"consolidated.*.pth", false,
     "the params.json that says what these weights are is missing, or their first file "
     "consolidated.00.pth: fetch the whole folder"},
    {"params.json", false,
     "it is a model as Meta or Mistral publish them, without its weights: fetch the whole folder"},
    {"pytorch_model-*.bin", false,
     "these are parts of a model whose list pytorch_model.bin.index.json is missing, and maybe "
     "more: fetch the whole folder"},
    {"pytorch_model.bin", true, "the config.json that says what these weights are is missing"},
    {"*.pth", false, CALLED},
    {"*.pt", false, CALLED},
    {"tf_model*.h5", false, "these are TensorFlow's weights: take them as safetensors"},
    {"flax_model*.msgpack", false, "these are Flax's weights: take them as safetensors"},
    {"*.onnx", false, "this is ONNX: take the model as safetensors or GGUF"},
    {"*.incomplete", false, "its download has not ended: wait for it, or fetch the folder again"},
    {"*.part", false, "its download has not ended: wait for it, or fetch the folder again"},
    {"model.safetensors", true, "the config.json that says what these weights are is missing"},
    {"*.safetensors", false, "a model in one file is called model.safetensors here: rename it"},
    {"refs", true, "it is a cache: give the folder below snapshots/ in it"},
    {"tokenizer*.json", true, "it has a tokenizer and no model: fetch the whole folder"},
};
#define N_FINDS (sizeof finds / sizeof *finds)

/* The row that this name is found by, below `limit`; `limit` itself when there is none. */
static size_t find(const char *name, bool has_config, size_t limit)
{
    for (size_t i = 0; i < limit; i++)
        if (!(finds[i].without_config && has_config) && fnmatch(finds[i].pattern, name, 0) == 0)
            return i;
    return limit;
}

static bool has_config(const char *folder)
{
    char path[4096];
    struct stat st;

    return snprintf(path, sizeof path, "%s/config.json", folder) < (int)sizeof path &&
           stat(path, &st) == 0;
}

int hd_kind_of_folder(const char *folder, int rc, struct hd_error *err)
{
    char found[256] = "";
    size_t best = N_FINDS;
    bool config = has_config(folder);
    DIR *dir = opendir(folder);

    if (!dir)
        return rc;
    for (const struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        size_t row = find(e->d_name, config, best < N_FINDS ? best + 1 : N_FINDS);
        /* Of several of one kind the first by name, whatever the order of the folder. */
        if (row < best || (row == best && row < N_FINDS && strcmp(e->d_name, found) < 0)) {
            best = row;
            snprintf(found, sizeof found, "%s", e->d_name);
        }
    }
    closedir(dir);
    if (best == N_FINDS)
        return rc;
    for (char *c = found; *c; c++)
        if (*c < 0x20 || *c >= 0x7F)
            *c = '?';
    return hd_fail(err, HD_E_UNSUPPORTED, "%s: no %s, but %s; %s", folder,
                   config ? "model.safetensors" : "config.json", found, finds[best].what);
}
