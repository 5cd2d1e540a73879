/* fuzz_torch.c - a file of torch.save: its archive, its pickle, and every tensor that it names;
 * alone, and as the first of two that have parts of each tensor. */
#include "common/model/names.h"
#include "common/model/safetensors.h"
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* All of each tensor is in its files. */
static void touch(const struct hd_tensor *t)
{
    uint8_t *row = malloc(t->row_bytes + 1);
    if (row && t->row_bytes > 0 && t->rows > 0) {
        hd_tensor_row(t, 0, 0, t->row_bytes, row);
        hd_tensor_row(t, t->rows - 1, 0, t->row_bytes, row);
    }
    free(row);
}

static void read_folder(void)
{
    struct hd_safetensors *s;
    struct hd_error err = {0};
    if (hd_safetensors_open(&s, fuzz_folder(), NULL, &err) < 0) {
        FUZZ_CHECK(err.text[0]);
        return;
    }
    const struct hd_names *names = hd_safetensors_names(s);
    for (size_t i = 0; i < names->n; i++) {
        char name[256];
        struct hd_tensor t;
        snprintf(name, sizeof name, "%.*s", (int)names->names[i].len, names->names[i].data);
        if (hd_safetensors_tensor(s, name, &t) == 0)
            touch(&t);
    }
    hd_safetensors_close(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[4096];
    fuzz_file("consolidated.00.pth", data, size);
    read_folder();
    fuzz_file("consolidated.01.pth", data, size);
    read_folder();
    snprintf(path, sizeof path, "%s/consolidated.01.pth", fuzz_folder());
    unlink(path);
    return 0;
}
