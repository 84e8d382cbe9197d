/*
 * agent/disk_tool.h - fh-disk (docs/fh-disk.md), run for the agent on images of strangers.
 *
 * The agent never looks into an image itself. It runs the tool, one short-lived process for each piece of
 * work, confined to the files that the work is about (fh-disk --confine), and takes what it answers for a
 * stranger's words: bounded, parsed with care. A tool that says nothing new for too long is ended.
 *
 * A struct disk_tool belongs to its caller's thread; it blocks for as long as the work takes.
 */
#ifndef AGENT_DISK_TOOL_H
#define AGENT_DISK_TOOL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "agent/agent.h"
#include "agent/fault.h"

struct job;

enum { DISK_TOOL_ARGS = 600, DISK_TOOL_DAMAGED = 3 };

struct disk_tool {
	const struct agent *agent;
	char *arg[DISK_TOOL_ARGS + 1];
	size_t n;
	bool failed; /* an argument had no room */
};

/* Begins a command line. import is the one command that is not confined: it confines another program. */
void disk_tool_begin(struct disk_tool *t, const struct agent *a, const char *command);
/* One more argument. */
void disk_tool_add(struct disk_tool *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A file or folder (whole path) that it may read; read and write, in a folder also make and delete. */
void disk_tool_read(struct disk_tool *t, const char *path);
void disk_tool_write(struct disk_tool *t, const char *path);
/* Lets go of the command line without running it. */
void disk_tool_drop(struct disk_tool *t);
/*
 * Runs it, tells j (may be NULL) how far it is, ends it when that is cancelled. *result (may be NULL) is the
 * JSON that it printed, a new reference, or NULL. 0; DISK_TOOL_DAMAGED (check); or a fault:
 * FAULT_DISK_IN_USE, FAULT_CANCELLED, FAULT_FILE_BAD with the tool's sentence, ... The command line is let go
 * of.
 */
int disk_tool_run(struct disk_tool *t, struct job *j, json_t **result, struct fault *f);

#endif
