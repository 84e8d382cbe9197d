/*
 * sconfig/checks.h - whether a typed text will do, before the host is asked; and how values read.
 * The agent has the last word: these only answer sooner, at the field.
 */
#ifndef SCONFIG_CHECKS_H
#define SCONFIG_CHECKS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct form;

/* Each: true, or false and why, one sentence. */
bool check_host_name(const struct form *f, const char *text, char *why, size_t size);
bool check_vm_name(const struct form *f, const char *text, char *why, size_t size);
bool check_prefix(const struct form *f, const char *text, char *why, size_t size);    /* 192.0.2.5/24 */
bool check_address(const struct form *f, const char *text, char *why, size_t size);   /* 192.0.2.1 */
bool check_addresses(const struct form *f, const char *text, char *why, size_t size); /* some of them */
bool check_time(const struct form *f, const char *text, char *why, size_t size); /* 2026-11-23 09:30[:00] */
bool check_memory(const struct form *f, const char *text, char *why, size_t size);
bool check_disk_size(const struct form *f, const char *text, char *why, size_t size);
bool check_processors(const struct form *f, const char *text, char *why, size_t size);
bool check_same_name(const struct form *f, const char *text, char *why, size_t size); /* as the subject */

/* A whole number, with unit MiB or bytes also "2G" or "512M": false if it is none. */
bool number_read(const char *text, const char *unit, json_int_t *out);

/* page.h's show functions. */
void show_memory(const json_t *value, const json_t *doc, char *out, size_t size);   /* MiB: "1.5 GiB" */
void show_bytes(const json_t *value, const json_t *doc, char *out, size_t size);    /* "1.5 GiB" */
void show_duration(const json_t *value, const json_t *doc, char *out, size_t size); /* s: "3 d 4 h" */
void show_on(const json_t *value, const json_t *doc, char *out, size_t size);       /* "enabled" */
/* Any JSON value as text: lists with blanks between, null as "". */
void show_plain(const json_t *value, char *out, size_t size);

#endif
