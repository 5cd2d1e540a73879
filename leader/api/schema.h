/* schema.h - a client's JSON schema, made as narrow as small models need it. */
#ifndef HD_API_SCHEMA_H
#define HD_API_SCHEMA_H

#include <jansson.h>

/* As text, malloc'ed: a copy in which objects that list their properties have no others, integers
 * without a bound are those that every reader of JSON keeps exact (2^53: RFC 8259, section 6),
 * other numbers have at most 15 digits before the point and 10 behind it, mail addresses and host
 * names end, and blanks are one behind commas and colons. Whatever matches it matches the schema;
 * without, a small model adds properties, digits or blanks until its tokens are used up. What the
 * schema says itself stays. NULL: memory is out. */
char *hd_schema_narrow(const json_t *schema);

#endif
