/* schema.h - a client's JSON schema, made as narrow as small models need it. */
#ifndef HD_API_SCHEMA_H
#define HD_API_SCHEMA_H

#include <jansson.h>

/* As text, malloc'ed: a copy in which objects that list their properties have no others, and
 * integers without a bound are those that every reader of JSON keeps exact (2^53: RFC 8259, section
 * 6). Whatever matches it matches the schema; without, a small model adds properties, or digits,
 * until its tokens are used up. What the schema says itself stays. NULL: memory is out. */
char *hd_schema_narrow(const json_t *schema);

#endif
