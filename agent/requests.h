/*
 * agent/requests.h - answers to changes that carried a requestId, kept for 24 h, so that a change that is
 * sent again gives the first answer again.
 *
 * One file for each in DATA/system/requests/, written before the change begins and again with its answer:
 * a change that the agent did not survive is told as such, and not done a second time. An id belongs to
 * its user. The caller leaves secrets out of parameters and answer. At most REQUESTS_MAX are kept; beyond
 * that the oldest make room. Any thread.
 */
#ifndef AGENT_REQUESTS_H
#define AGENT_REQUESTS_H

#include <jansson.h>

#include "agent/fault.h"

enum {
	REQUESTS_MAX = 1024,
	REQUESTS_OF_USER = 256, /* beyond that one's own oldest make room */
	REQUEST_SECONDS = 24 * 3600,
	REQUEST_ID_MAX = 64,
	REQUEST_KEY_SIZE = 65,
};

struct requests;
int requests_new(struct requests **out, const char *folder, struct err *e);
void requests_free(struct requests *r);

/*
 * Before a change. Returns 0 when it is new: then requests_end must follow, with key. 1 when it was answered
 * before: *answer, {"result":...} or {"error":...}, is a new reference. Negative with *f: the id belongs to
 * another call, its first try is under way, or it cannot be kept.
 */
int requests_begin(struct requests *r, const char *user, const char *id, const char *method,
    const json_t *params, char key[REQUEST_KEY_SIZE], json_t **answer, struct fault *f);
/* After it. answer is borrowed. */
void requests_end(struct requests *r, const char *key, const json_t *answer);
/* Takes away what is older than 24 h. */
void requests_expire(struct requests *r);

#endif
