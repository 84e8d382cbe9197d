/* installer/password.c - hashes of passwords, made and checked by libcrypt. */
#include <crypt.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "installer/password.h"

int
password_hash(const char *password, char *out, size_t size, struct err *e)
{
	struct crypt_data *d = calloc(1, sizeof(*d));
	char salt[CRYPT_GENSALT_OUTPUT_SIZE];
	const char *h;
	int rc = 0;

	if (!d)
		return err_set(e, ENOMEM, "out of memory");
	h = crypt_gensalt_rn("$y$", 0, NULL, 0, salt, sizeof(salt));
	h = h ? crypt_rn(password, salt, d, sizeof(*d)) : NULL;
	if (!h)
		rc = err_sys(e, "crypt");
	else if (strlen(h) >= size)
		rc = err_set(e, EOVERFLOW, "crypt: a hash of %zu bytes", strlen(h));
	else
		memcpy(out, h, strlen(h) + 1);
	explicit_bzero(d, sizeof(*d));
	free(d);
	return rc;
}

int
password_check_hash(const char *hash, struct err *e)
{
	struct crypt_data *d = calloc(1, sizeof(*d));
	const char *h;
	size_t n = 0;

	if (!d)
		return err_set(e, ENOMEM, "out of memory");
	h = hash[0] == '$' ? crypt_rn("", hash, d, sizeof(*d)) : NULL;
	n = h ? strlen(h) : 0;
	free(d);
	if (n == 0 || n != strlen(hash) || strpbrk(hash, ":\n"))
		return err_set(
		    e, EINVAL, "this is not a whole hash such as '$y$j9T$...' (mkpasswd makes one)");
	return 0;
}
