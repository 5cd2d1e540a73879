/* json.c - jansson with limits, and with a word for what is no JSON at all. */
#include "common/model/json.h"

#include "common/model/kind.h"
#include "common/model/map.h"

#include <stdbool.h>

static json_t *parse(const char *name, const char *text, size_t len, bool list,
                     struct hd_error *err)
{
    json_error_t je;
    json_t *j = json_loadb(text, len, JSON_REJECT_DUPLICATES, &je);

    if (!j) {
        const char *what = len > 0 && text[0] == '{' ? NULL : hd_kind_of_bytes(text, len);

        hd_fail(err, HD_E_FORMAT, "%s: line %d, column %d: %s%s%s", name, je.line, je.column,
                je.text, what ? "; it is " : "", what ? what : "");
        return NULL;
    }
    if (list ? json_is_array(j) : json_is_object(j))
        return j;
    json_decref(j);
    hd_fail(err, HD_E_FORMAT, "%s: not a JSON %s", name, list ? "list" : "object");
    return NULL;
}

json_t *hd_json_object(const char *name, const char *text, size_t len, struct hd_error *err)
{
    return parse(name, text, len, false, err);
}

static int read_file(json_t **out, const char *path, bool list, struct hd_error *err)
{
    struct hd_map map;
    int rc = hd_map_open(&map, path, err);

    *out = NULL;
    if (rc < 0)
        return rc;
    if (map.len > HD_JSON_MAX_FILE) {
        rc = hd_fail(err, HD_E_LIMIT, "%s: longer than %zu bytes", path, HD_JSON_MAX_FILE);
    } else {
        *out = parse(path, map.len ? (const char *)map.data : "", map.len, list, err);
        rc = *out ? 0 : HD_E_FORMAT;
    }
    hd_map_close(&map);
    return rc;
}

int hd_json_file(json_t **out, const char *path, struct hd_error *err)
{
    return read_file(out, path, false, err);
}

int hd_json_list(json_t **out, const char *path, struct hd_error *err)
{
    return read_file(out, path, true, err);
}
