/*
 * agent/secret.c - randomness, digests, base64.
 */
#include "agent/secret.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

static const char url_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void
secret_new(char out[SECRET_SIZE])
{
	uint8_t raw[33] = { 0 }; /* one zero byte behind the 32, so that the last group is whole */

	if (getrandom(raw, 32, 0) != 32)
		abort(); /* documented not to happen for so few bytes */
	for (int i = 0; i < 43; i++) {
		unsigned bit = (unsigned)i * 6, two = (unsigned)raw[bit / 8] << 8 | raw[bit / 8 + 1];

		out[i] = url_digits[two >> (10 - bit % 8) & 63];
	}
	out[43] = '\0';
	OPENSSL_cleanse(raw, sizeof(raw));
}

void
secret_hash(const void *data, size_t len, char out[SECRET_HASH_SIZE])
{
	uint8_t digest[EVP_MAX_MD_SIZE];

	if (!EVP_Digest(data, len, digest, NULL, EVP_sha256(), NULL))
		abort(); /* only when memory is out; a wrong digest must not count */
	for (int i = 0; i < 32; i++)
		snprintf(out + i * 2, 3, "%02x", digest[i]);
}

bool
secret_same(const char *a, const char *b)
{
	size_t len = strlen(a);

	return len == strlen(b) && CRYPTO_memcmp(a, b, len) == 0;
}

static int
digit(char c)
{
	const char *at;

	if (c == '+' || c == '/')
		return c == '+' ? 62 : 63;
	at = c ? strchr(url_digits, c) : NULL;
	return at ? (int)(at - url_digits) : -1;
}

int
secret_base64(const char *text, char *out, size_t size)
{
	unsigned bits = 0, held = 0;
	size_t len = strlen(text), n = 0;

	while (len && text[len - 1] == '=')
		len--;
	for (size_t i = 0; i < len; i++) {
		int d = digit(text[i]);

		if (d < 0)
			return -1;
		held = held << 6 | (unsigned)d;
		bits += 6;
		if (bits < 8)
			continue;
		bits -= 8;
		if (n + 1 >= size)
			return -1;
		out[n++] = (char)(held >> bits & 0xff);
	}
	out[n] = '\0';
	return (int)n;
}
