/*
 * agent/secret.h - random secrets as text, and what is kept of them. Any thread.
 */
#ifndef AGENT_SECRET_H
#define AGENT_SECRET_H

#include <stdbool.h>
#include <stddef.h>

enum { SECRET_SIZE = 44, SECRET_HASH_SIZE = 65 };

/* 256 random bits as 43 characters of base64url. Ends the process if the kernel has none to give. */
void secret_new(char out[SECRET_SIZE]);
/* SHA-256 in hexadecimal: enough for a random secret, not for a password. */
void secret_hash(const void *data, size_t len, char out[SECRET_HASH_SIZE]);
/* Compares in a time that tells nothing; both terminated. */
bool secret_same(const char *a, const char *b);
/* Base64 (with or without padding) into out, terminated: the length, or -1. */
int secret_base64(const char *text, char *out, size_t size);

#endif
