/* no_folder.c - in place of what reads model folders, in a build without jansson. */
#include "common/model/model_impl.h"

int hd_model_from_folder(struct hd_model *m, struct hd_error *err)
{
    return hd_fail(err, HD_E_UNSUPPORTED,
                   "%s: a folder, and this hydac was built without jansson, which reads them: give "
                   "a GGUF file, or to a worker no model at all",
                   m->folder);
}

void hd_safetensors_close(struct hd_safetensors *s)
{
}

const struct hd_map *hd_safetensors_map(const struct hd_safetensors *s, size_t i, const char **path)
{
    return NULL;
}
