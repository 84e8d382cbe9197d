/* installer/answers.c - the answer file: read, checked, one sentence when it is wrong. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "installer/answers.h"
#include "installer/password.h"
#include "lib/schema.h"

/* The file as it is written; struct answers is what is made of it. */
struct disk_rows {
	char serial[128], model[128], minimum[32], maximum[32];
};
struct file_rows {
	struct disk_rows disk;
	char password[PASSWORD_MAX + 1], hash[256], name[HOST_NAME_SIZE], adapter[HOST_MAC_SIZE];
	char address[HOST_ADDRESS_SIZE], gateway[HOST_ADDRESS_SIZE], dns[HOST_DNS][HOST_ADDRESS_SIZE];
	size_t dns_count;
	unsigned finish;
};

static const char *const finish_names[] = { "restart", "powerOff", NULL };

#define TEXT(key, type, member, text, ...)                                                  \
	{                                                                                   \
		key, FIELD_STRING, FIELD_AT(type, member),                                  \
		    .min = 1, .max = sizeof(((struct type *)0)->member) - 1,                \
		    .size = sizeof(((struct type *)0)->member), .help = text, ##__VA_ARGS__ \
	}

static const struct field disk_fields[] = {
	TEXT("serial", disk_rows, serial, "Serial number; * and ? as in file names."),
	TEXT("model", disk_rows, model, "Model; * and ? as in file names."),
	TEXT("minimum", disk_rows, minimum, "Smallest size, such as 100G."),
	TEXT("maximum", disk_rows, maximum, "Largest size, such as 2T."),
	{ 0 },
};

static const struct field file_fields[] = {
	{ "disk", FIELD_OBJECT, .required = true, FIELD_AT(file_rows, disk), .size = sizeof(struct disk_rows),
	    .fields = disk_fields, .help = "Which disk to erase and install onto: exactly one must fit." },
	TEXT("password", file_rows, password, "Password of root."),
	TEXT("passwordHash", file_rows, hash, "Or its hash, as crypt(5) writes it."),
	TEXT("name", file_rows, name, "Name of the host."),
	TEXT("address", file_rows, address, "Address and prefix, such as 192.0.2.5/24; absent: DHCP."),
	TEXT("gateway", file_rows, gateway, "Default gateway; with address."),
	{ "dns", FIELD_STRINGS, FIELD_AT(file_rows, dns), .max = HOST_DNS, .size = HOST_ADDRESS_SIZE,
	    .count_offset = offsetof(struct file_rows, dns_count), .help = "Name servers; with address." },
	TEXT("adapter", file_rows, adapter, "MAC or name of the adapter that the address is for."),
	{ "finish", FIELD_ENUM, FIELD_AT(file_rows, finish), .names = finish_names,
	    .help = "What to do when it is done." },
	{ 0 },
};

int
answers_size(const char *text, uint64_t *bytes, struct err *e)
{
	static const char units[] = "KMGT";
	const char *unit;
	double v;
	char *end;

	v = isdigit((unsigned char)text[0]) ? strtod(text, &end) : -1;
	if (v < 0 || v > 1e15)
		return err_set(e, EINVAL, "'%s' is not a size such as 500M, 20G or 1.5T", text);
	if (*end) {
		unit = strchr(units, toupper((unsigned char)*end));
		if (!unit || (end[1] && strcmp(end + 1, "B") != 0 && strcmp(end + 1, "iB") != 0))
			return err_set(e, EINVAL, "'%s' is not a size such as 500M, 20G or 1.5T", text);
		v *= (double)(1ULL << (10 * (unit - units + 1)));
	}
	if (v >= 9.2e18)
		return err_set(e, EINVAL, "'%s' is larger than any disk", text);
	*bytes = (uint64_t)v;
	return 0;
}

int
answers_check_password(const char *password, struct err *e)
{
	size_t n = strlen(password);

	if (n < PASSWORD_MIN)
		return err_set(e, EINVAL, "a password has at least %d characters", PASSWORD_MIN);
	if (n > PASSWORD_MAX)
		return err_set(e, EINVAL, "a password has at most %d bytes", PASSWORD_MAX);
	return 0;
}

/* The agent's own rules; its sentences begin with the member's name. */
static int
take_network(const struct file_rows *f, struct answers *out, struct err *e)
{
	struct host_adapter_settings *n = &out->network;

	memcpy(out->name, f->name, sizeof(out->name));
	memcpy(out->adapter, f->adapter, sizeof(out->adapter));
	if (f->name[0] && !host_name_ok(f->name))
		return err_set(e, EINVAL,
		    "name: '%s' is not a host's name: letters, digits and hyphens inside", f->name);
	if (!f->address[0]) {
		if (f->gateway[0] || f->dns_count || f->adapter[0])
			return err_set(e, EINVAL, "address: it is missing, but there is %s",
			    f->gateway[0]  ? "a gateway"
			    : f->dns_count ? "a name server"
					   : "an adapter");
		return 0;
	}
	memcpy(n->address, f->address, sizeof(n->address));
	memcpy(n->gateway, f->gateway, sizeof(n->gateway));
	memcpy(n->dns, f->dns, sizeof(n->dns));
	n->dns_count = f->dns_count;
	return host_address_check(n, e);
}

/* Either the hash that is given, or one of the password. */
static int
take_password(const struct file_rows *f, struct answers *out, struct err *e)
{
	int rc;

	if (!f->password[0] == !f->hash[0])
		return err_set(e, EINVAL,
		    f->hash[0] ? "passwordHash: there is a password as well"
			       : "password: it is missing, and so is passwordHash");
	if (f->hash[0]) {
		rc = password_check_hash(f->hash, e);
		if (rc < 0)
			return err_wrap(e, rc, "passwordHash");
		memcpy(out->hash, f->hash, sizeof(out->hash));
		return 0;
	}
	rc = answers_check_password(f->password, e);
	if (rc == 0)
		rc = password_hash(f->password, out->hash, sizeof(out->hash), e);
	return rc < 0 ? err_wrap(e, rc, "password") : 0;
}

static int
take_disk(const struct disk_rows *d, struct disk_filter *out, struct err *e)
{
	int rc;

	memcpy(out->serial, d->serial, sizeof(out->serial));
	memcpy(out->model, d->model, sizeof(out->model));
	rc = d->minimum[0] ? answers_size(d->minimum, &out->minimum, e) : 0;
	if (rc < 0)
		return err_wrap(e, rc, "disk.minimum");
	rc = d->maximum[0] ? answers_size(d->maximum, &out->maximum, e) : 0;
	if (rc < 0)
		return err_wrap(e, rc, "disk.maximum");
	if (out->maximum && out->maximum < out->minimum)
		return err_set(e, EINVAL, "disk.maximum: it is smaller than disk.minimum");
	return 0;
}

int
answers_read(const char *text, size_t len, struct answers *out, struct err *e)
{
	struct file_rows f = { .finish = FINISH_RESTART };
	json_t *doc;
	int rc;

	memset(out, 0, sizeof(*out));
	doc = schema_parse(text, len, e);
	if (!doc)
		return -e->code;
	rc = schema_read(file_fields, doc, NULL, &f, e);
	json_decref(doc);
	if (rc == 0)
		rc = take_disk(&f.disk, &out->disk, e);
	if (rc == 0)
		rc = take_network(&f, out, e);
	if (rc == 0)
		rc = take_password(&f, out, e);
	out->finish = f.finish;
	explicit_bzero(&f, sizeof(f));
	return rc;
}

int
answers_load(const char *path, struct answers *out, struct err *e)
{
	FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
	char *text;
	size_t n;
	int rc;

	if (!f)
		return err_sys(e, "%s", path);
	text = malloc(ANSWERS_MAX + 1);
	n = text ? fread(text, 1, ANSWERS_MAX + 1, f) : 0;
	if (!text)
		rc = err_set(e, ENOMEM, "%s: out of memory", path);
	else if (ferror(f))
		rc = err_set(e, EIO, "%s: it cannot be read", path);
	else if (n > ANSWERS_MAX)
		rc = err_set(e, EINVAL, "%s: larger than %d KiB", path, ANSWERS_MAX / 1024);
	else
		rc = answers_read(text, n, out, e);
	free(text);
	if (f != stdin)
		fclose(f);
	return rc;
}
