/* installer/settings.c - /data/system as a new host finds it. */
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "installer/settings.h"

static int
make_folder(const char *folder, const char *name, mode_t mode, struct err *e)
{
	char path[256];

	snprintf(path, sizeof(path), "%s%s", folder, name);
	if (mkdir(path, mode) < 0 && errno != EEXIST)
		return err_sys(e, "%s", path);
	return 0;
}

static int
write_file(const char *folder, const char *name, mode_t mode, const char *text, struct err *e)
{
	char path[256];
	FILE *f;
	int rc = 0;

	snprintf(path, sizeof(path), "%s%s", folder, name);
	f = fopen(path, "we");
	if (!f)
		return err_sys(e, "%s", path);
	if (fchmod(fileno(f), mode) < 0 || fputs(text, f) < 0)
		rc = err_sys(e, "%s", path);
	if (fclose(f) != 0 && rc == 0)
		rc = err_sys(e, "%s", path);
	return rc;
}

/* One line of a file of an adapter in sysfs; "" when it cannot be read. */
static void
read_attribute(const char *net, const char *adapter, const char *name, char *out, size_t size)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s/%s", net, adapter, name);
	f = fopen(path, "re");
	if (!f || !fgets(out, (int)size, f))
		out[0] = '\0';
	out[strcspn(out, "\n")] = '\0';
	if (f)
		fclose(f);
}

/* The adapter that is meant, by name or MAC; the first one with a link, or the first, when none is. */
static int
find_adapter(
    const char *net, const char *meant, char name[HOST_ADAPTER_SIZE], char mac[HOST_MAC_SIZE], struct err *e)
{
	struct dirent **entry = NULL;
	int n = scandir(net, &entry, NULL, versionsort), found = -1;
	char path[512], link[8];
	bool best = false;

	for (int i = 0; i < n; i++) {
		const char *d = entry[i]->d_name;

		snprintf(path, sizeof(path), "%s/%s/device", net, d);
		if (best || d[0] == '.' || strlen(d) >= HOST_ADAPTER_SIZE || access(path, F_OK) < 0)
			continue;
		read_attribute(net, d, "address", path, sizeof(path));
		read_attribute(net, d, "carrier", link, sizeof(link));
		if (strlen(path) != HOST_MAC_SIZE - 1 ||
		    (meant[0] && strcmp(meant, d) != 0 && strcasecmp(meant, path) != 0))
			continue;
		best = meant[0] || strcmp(link, "1") == 0;
		if (found >= 0 && !best)
			continue;
		found = i;
		snprintf(name, HOST_ADAPTER_SIZE, "%s", d);
		snprintf(mac, HOST_MAC_SIZE, "%s", path);
	}
	for (int i = 0; i < n; i++)
		free(entry[i]);
	free(entry);
	if (found < 0)
		return err_set(e, ENODEV,
		    meant[0] ? "adapter: this machine has no '%s'" : "address: this machine has no adapter",
		    meant);
	return 0;
}

int
settings_check(const char *net, const struct answers *a, struct err *e)
{
	char name[HOST_ADAPTER_SIZE], mac[HOST_MAC_SIZE];

	return a->network.address[0] ? find_adapter(net, a->adapter, name, mac, e) : 0;
}

/* The agent's document, by the agent's own table. */
static int
write_host(const char *folder, const char *net, const struct answers *a, struct err *e)
{
	struct host_settings *s = calloc(1, sizeof(*s));
	json_t *doc = NULL;
	char *text = NULL;
	int rc = 0;

	if (!s)
		return err_set(e, ENOMEM, "out of memory");
	host_settings_defaults(s);
	memcpy(s->name, a->name, sizeof(s->name));
	if (a->network.address[0]) {
		s->adapters = 1;
		s->adapter[0] = a->network;
		rc = find_adapter(net, a->adapter, s->adapter[0].name, s->adapter[0].mac, e);
	}
	if (rc == 0) {
		doc = schema_write(host_settings_fields, s);
		text = doc ? json_dumps(doc, JSON_INDENT(2)) : NULL;
		rc = text ? write_file(folder, "/system/host.json", 0644, text, e)
			  : err_set(e, ENOMEM, "out of memory");
	}
	free(text);
	json_decref(doc);
	free(s);
	return rc;
}

int
settings_write(const char *folder, const char *net, const struct answers *a, struct err *e)
{
	char text[512];
	int rc = make_folder(folder, "", 0755, e);

	if (rc == 0)
		rc = make_folder(folder, "/system", 0755, e);
	if (rc == 0)
		rc = make_folder(folder, "/system/etc", 0755, e);
	snprintf(text, sizeof(text), "root:%s:::::::\nnobody:*:::::::\n", a->hash);
	if (rc == 0)
		rc = write_file(folder, "/system/etc/shadow", 0600, text, e);
	explicit_bzero(text, sizeof(text));
	snprintf(text, sizeof(text), "%s\n", a->name);
	if (rc == 0 && a->name[0])
		rc = write_file(folder, "/system/etc/hostname", 0644, text, e);
	if (rc == 0 && (a->name[0] || a->network.address[0]))
		rc = write_host(folder, net, a, e);
	return rc;
}
