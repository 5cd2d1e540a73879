/* device.c - choosing one. */
#include "worker/device.h"

#include <stdio.h>
#include <string.h>

/* "cpu, opencl" */
static void list_names(char *out, size_t size)
{
    size_t at = 0;
    out[0] = '\0';
    for (size_t i = 0; hd_device_kinds[i] && at < size; i++)
        at +=
            (size_t)snprintf(out + at, size - at, "%s%s", i ? ", " : "", hd_device_kinds[i]->name);
}

int hd_device_choose(const struct hd_device_kind **out, const char *name,
                     const struct hd_device_options *o, struct hd_error *err)
{
    char names[256];
    int rc = HD_E_CONFIG;
    size_t length = strcspn(name, ":");
    for (size_t i = 0; hd_device_kinds[i]; i++) {
        const struct hd_device_kind *kind = hd_device_kinds[i];
        bool is_auto = strcmp(name, "auto") == 0;
        if (!is_auto && (strlen(kind->name) != length || strncmp(name, kind->name, length) != 0))
            continue;
        rc = kind->check(o, err);
        if (rc == 0)
            *out = kind;
        if (rc == 0 || !is_auto)
            return rc;
    }
    if (strcmp(name, "auto") == 0)
        return rc; /* what the last one said */
    list_names(names, sizeof names);
    return hd_fail(err, HD_E_CONFIG,
                   "compute.device: there is no \"%s\" here; use auto, or one of: %s", name, names);
}
