/*
 * shell/upload.h - a file of this machine onto the host's data disk.
 */
#ifndef SHELL_UPLOAD_H
#define SHELL_UPLOAD_H

#include <jansson.h>

#include "lib/rpc_client.h"

struct session;

/* How file.upload is described here: of a file of this machine, where the host's own wants a size. */
extern const char upload_method[];

/* Makes of what was typed ({local, path?, overwrite?}) what the host is asked ({path, size, overwrite?}), in
 * place. The file, to be closed, or a negative errno with *e. */
int upload_prepare(json_t *params, struct rpc_error *e);
/*
 * Sends file to the stream of ticket and waits until the host has it on its disk; compares what it has got by
 * its SHA-256. Draws a bar at standard error if that is a terminal. 0 with *result ({changed, path, size,
 * sha256}), or a negative errno with *e. Ctrl-C breaks it off: then the host keeps nothing.
 */
int upload_send(
    struct session *s, int file, const char *ticket, json_int_t size, json_t **result, struct rpc_error *e);

#endif
