/*
 * agent/discover.h - the method table as documents: OpenRPC for programs, Markdown for people.
 */
#ifndef AGENT_DISCOVER_H
#define AGENT_DISCOVER_H

#include <jansson.h>
#include <stdio.h>

#include "agent/method.h"

enum { API_VERSION_MAJOR = 1, API_VERSION_MINOR = 0 };

/* A new reference, or NULL when memory is out. */
json_t *discover_openrpc(void);
/* docs/api.md. */
void discover_markdown(FILE *out);
/* Names of what has been added to v1 since its first release: a new reference to a list. */
json_t *discover_features(void);

#endif
