/*
 * agent/uploads.h - files that come in by a stream, whole or not at all.
 *
 * An upload is written to a hidden file ".upload-..." in the folder it is meant for, with its space taken at
 * once, brought to the disk and renamed when all `size` bytes have come and no more. Then one line goes back:
 *
 *   {"result":{"path":"images/vmlinuz","size":8192,"sha256":"..."}}   or   {"error":{"code":..., ...}}
 *
 * and the stream is closed. Whatever ends one before (its client, a ticket that nobody shows, a minute of
 * silence, the agent's end) leaves nothing behind; what an agent that was killed has left is swept at the
 * next start. "file.changed" is published and the end is audited as "file.uploaded". One thread an upload.
 * Any thread.
 */
#ifndef AGENT_UPLOADS_H
#define AGENT_UPLOADS_H

#include "agent/agent.h"
#include "agent/fault.h"
#include "agent/identity.h"

enum {
	UPLOADS_MAX = 8,       /* at once */
	UPLOAD_SILENCE_S = 60, /* without a byte, then it is given up */
	UPLOAD_RESERVE =
	    64 << 20, /* bytes of the data disk that no upload takes: settings and logs live there */
};

struct upload_plan {
	const char *path; /* as file_image_path makes it */
	uint64_t size;    /* bytes */
	bool overwrite;   /* a file that is there */
};

struct uploads;
/* Sweeps DATA/images. */
int uploads_new(struct uploads **out, struct agent *a, struct err *e);
/* Breaks off what there is and waits for that; the clients are told. u may be NULL. */
void uploads_stop(struct uploads *u);
void uploads_free(struct uploads *u);

/* Whether uploads_begin would be refused now. */
int uploads_check(struct uploads *u, const struct upload_plan *p, struct fault *f);
/* The client's end of a stream, for a ticket: *fd is the caller's. */
int uploads_begin(
    struct uploads *u, const struct upload_plan *p, const struct identity *who, int *fd, struct fault *f);

#endif
