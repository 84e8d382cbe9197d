/*
 * agent/tls.c - key and certificate by OpenSSL, kept as PEM.
 */
#include "agent/tls.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/file.h"

#ifndef BUILD_TIME
/* No clock is before this, whatever it says: 2026-01-01. */
#define BUILD_TIME 1767225600
#endif

enum { YEARS = 20, PATH_SIZE = 256, PEM_MAX = 64 * 1024 };

static BIO *
read_pem(const char *path)
{
	char *text = NULL;
	size_t len = 0;
	BIO *bio = NULL;

	if (file_read(path, PEM_MAX, &text, &len, NULL) == 0) {
		bio = BIO_new(BIO_s_mem());
		if (bio && BIO_write(bio, text, (int)len) != (int)len) {
			BIO_free(bio);
			bio = NULL;
		}
	}
	if (text)
		explicit_bzero(text, len);
	free(text);
	return bio;
}

static X509 *
load_cert(const char *path)
{
	BIO *bio = read_pem(path);
	X509 *cert = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;

	BIO_free(bio);
	return cert;
}

static EVP_PKEY *
load_key(const char *path)
{
	BIO *bio = read_pem(path);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;

	BIO_free(bio);
	return key;
}

static int
write_pem(const char *path, BIO *bio, mode_t mode, struct err *e)
{
	char *data;
	long len = BIO_get_mem_data(bio, &data);

	return file_replace(path, data, (size_t)len, mode, e);
}

static int
write_key(const char *path, EVP_PKEY *key, struct err *e)
{
	BIO *bio = BIO_new(BIO_s_secmem());
	int rc = bio && PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL)
		     ? write_pem(path, bio, 0600, e)
		     : err_set(e, EIO, "%s: the key cannot be written", path);

	BIO_free(bio);
	return rc;
}

static int
write_cert(const char *path, X509 *cert, struct err *e)
{
	BIO *bio = BIO_new(BIO_s_mem());
	int rc = bio && PEM_write_bio_X509(bio, cert)
		     ? write_pem(path, bio, 0644, e)
		     : err_set(e, EIO, "%s: the certificate cannot be written", path);

	BIO_free(bio);
	return rc;
}

static bool
set_serial(X509 *cert)
{
	unsigned char raw[16];
	BIGNUM *n;
	bool ok;

	if (RAND_bytes(raw, sizeof(raw)) != 1)
		return false;
	raw[0] &= 0x7f; /* positive */
	n = BN_bin2bn(raw, sizeof(raw), NULL);
	ok = n && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert));
	BN_free(n);
	return ok;
}

static bool
add_extension(X509 *cert, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *ext;
	bool ok;

	X509V3_set_ctx_nodb(&ctx);
	X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
	ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ok = ext && X509_add_ext(cert, ext, -1);
	X509_EXTENSION_free(ext);
	return ok;
}

static bool
set_times(X509 *cert)
{
	time_t now = time(NULL);

	return ASN1_TIME_set(X509_getm_notBefore(cert), BUILD_TIME) &&
	       ASN1_TIME_adj(X509_getm_notAfter(cert), now > BUILD_TIME ? now : BUILD_TIME, YEARS * 365, 0);
}

static X509 *
make_cert(EVP_PKEY *key, const char *name)
{
	X509 *cert = X509_new();
	X509_NAME *subject = cert ? X509_get_subject_name(cert) : NULL;
	char alt[160];

	snprintf(alt, sizeof(alt), "DNS:%.63s,DNS:localhost,IP:127.0.0.1,IP:::1", name);
	if (cert && X509_set_version(cert, X509_VERSION_3) && set_serial(cert) && set_times(cert) &&
	    X509_NAME_add_entry_by_txt(
		subject, "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0) &&
	    X509_set_issuer_name(cert, subject) && X509_set_pubkey(cert, key) &&
	    add_extension(cert, NID_basic_constraints, "critical,CA:FALSE") &&
	    add_extension(cert, NID_key_usage, "critical,digitalSignature") &&
	    add_extension(cert, NID_ext_key_usage, "serverAuth") &&
	    add_extension(cert, NID_subject_alt_name, alt) && X509_sign(cert, key, EVP_sha256()))
		return cert;
	X509_free(cert);
	return NULL;
}

static int
make_both(const char *key_path, const char *cert_path, const char *name, struct err *e)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = key ? make_cert(key, name) : NULL;
	int rc = cert ? write_key(key_path, key, e) : err_set(e, EIO, "the certificate cannot be made");

	if (rc == 0)
		rc = write_cert(cert_path, cert, e);
	X509_free(cert);
	EVP_PKEY_free(key);
	return rc;
}

/* The fingerprint, if the two belong together. */
static bool
load_both(const char *key_path, const char *cert_path, char fingerprint[FINGERPRINT_SIZE])
{
	EVP_PKEY *key = load_key(key_path);
	X509 *cert = load_cert(cert_path);
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	bool ok = key && cert && X509_check_private_key(cert, key) == 1 &&
		  X509_digest(cert, EVP_sha256(), digest, &len) && len == 32;

	for (unsigned i = 0; ok && i < len; i++)
		snprintf(fingerprint + (size_t)i * 3, 4, "%02X%s", digest[i], i + 1 < len ? ":" : "");
	X509_free(cert);
	EVP_PKEY_free(key);
	return ok;
}

int
tls_prepare(const char *folder, const char *name, char fingerprint[FINGERPRINT_SIZE], struct err *e)
{
	char key[PATH_SIZE], cert[PATH_SIZE];
	int rc = file_make_dirs(folder, 0700, e);

	snprintf(key, sizeof(key), "%s/key.pem", folder);
	snprintf(cert, sizeof(cert), "%s/cert.pem", folder);
	if (rc < 0 || load_both(key, cert, fingerprint))
		return rc;
	rc = make_both(key, cert, name, e);
	if (rc == 0 && !load_both(key, cert, fingerprint))
		rc = err_set(e, EIO, "%s: the new certificate cannot be read", folder);
	return rc;
}
