/* agent/host_dhcp.c - DHCP clients as supervised services, leases and name servers. */
#include "agent/host_dhcp.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/file.h"

enum { LEASE_MAX = 4096, SERVERS_MAX = 8, STOP_TRIES = 100, STOP_WAIT_US = 50000 };

static void
service_path(const char *run, const char *adapter, const char *file, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/service/udhcpc-%s%s%s", run, adapter, file ? "/" : "", file ? file : "");
}

static void
lease_path(const char *run, const char *adapter, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/dhcp/%s", run, adapter);
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

bool
dhcp_runs(const char *run, const char *adapter)
{
	char path[PATH_MAX];

	service_path(run, adapter, "run", path);
	return access(path, F_OK) == 0;
}

/* --- the service
 * ---------------------------------------------------------------------------------------------- */

/* -R gives the lease back at the end; without an answer it goes on asking, every 20 s. The adapter's name is
 * the kernel's, and plain: there is nothing in it for the shell. */
static void
run_script(const char *adapter, char *text, size_t cap)
{
	snprintf(text, cap,
	    "#!/bin/sh\n"
	    "# Made by fh-agent.\n"
	    "exec 2>&1\n"
	    "exec udhcpc -f -R -t 5 -T 3 -A 20 -i %s -x \"hostname:$(hostname)\"\n",
	    adapter);
}

static bool
is_plain(const char *adapter)
{
	return adapter[0] && adapter[0] != '.' && adapter[0] != '-' &&
	       adapter[strspn(
		   adapter, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")] == '\0';
}

/* The pipe on which runsv takes orders: a descriptor, or -1 when there is no runsv. */
static int
open_control(const char *run, const char *adapter)
{
	char path[PATH_MAX];

	service_path(run, adapter, "supervise/control", path);
	return open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
}

/* "x" ends the service and then runsv itself. The client's script takes the address away at the end: it must
 * have done so before another is set. */
static void
end_supervised(const char *run, const char *adapter)
{
	int fd = open_control(run, adapter);

	if (fd < 0 || write(fd, "x", 1) < 0)
		goto out;
	for (int i = 0; i < STOP_TRIES && fd >= 0; i++) {
		close(fd);
		usleep(STOP_WAIT_US);
		fd = open_control(run, adapter);
	}
out:
	if (fd >= 0)
		close(fd);
}

int
dhcp_stop(const char *run, const char *adapter, struct err *e)
{
	char path[PATH_MAX], aside[PATH_MAX];

	service_path(run, adapter, NULL, path);
	snprintf(aside, sizeof(aside), "%s/service/.udhcpc-%s.old", run, adapter);
	if (dhcp_runs(run, adapter)) {
		end_supervised(run, adapter);
		if (rename(path, aside) < 0) /* runsvdir looks away from names with a dot */
			return err_sys(e, "%s", path);
		nftw(aside, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	}
	lease_path(run, adapter, path);
	unlink(path);
	return 0;
}

static bool
same_text(const char *path, const char *text)
{
	struct err e = { 0 };
	char *is = NULL;
	bool same = file_read(path, LEASE_MAX, &is, NULL, &e) == 0 && strcmp(is, text) == 0;

	free(is);
	return same;
}

int
dhcp_start(const char *run, const char *adapter, struct err *e)
{
	char path[PATH_MAX], new[PATH_MAX], file[PATH_MAX + 8], text[512];
	int rc;

	if (!is_plain(adapter))
		return err_set(e, EINVAL, "%s: DHCP cannot be used with such a name", adapter);
	run_script(adapter, text, sizeof(text));
	service_path(run, adapter, "run", path);
	if (same_text(path, text))
		return 0;
	rc = dhcp_stop(run, adapter, e);
	if (rc < 0)
		return rc;
	snprintf(new, sizeof(new), "%s/service/.udhcpc-%s.new", run, adapter);
	snprintf(file, sizeof(file), "%s/run", new);
	rc = file_make_dirs(new, 0755, e);
	if (rc == 0)
		rc = file_replace(file, text, strlen(text), 0755, e);
	service_path(run, adapter, NULL, path);
	return rc == 0 ? file_rename(new, path, e) : rc;
}

/* --- leases
 * --------------------------------------------------------------------------------------------------- */

/* The value of a NAME=VALUE line, as far as it is there. */
static void
value_of(const char *text, const char *name, char *out, size_t cap)
{
	size_t len = strlen(name);

	out[0] = '\0';
	for (const char *line = text; line && *line; line = strchr(line, '\n')) {
		if (*line == '\n')
			line++;
		if (strncmp(line, name, len) == 0 && line[len] == '=') {
			snprintf(out, cap, "%.*s", (int)strcspn(line + len + 1, "\n"), line + len + 1);
			return;
		}
	}
}

static bool
is_address(const char *text)
{
	uint8_t byte[16];

	return inet_pton(AF_INET, text, byte) == 1 || inet_pton(AF_INET6, text, byte) == 1;
}

/* A DHCP server wrote some of it: what is not an address is left out. */
static size_t
split_servers(char *list, char (*dns)[HOST_ADDRESS_SIZE], size_t n, size_t most)
{
	char *save = NULL;

	for (char *one = strtok_r(list, " \t", &save); one && n < most; one = strtok_r(NULL, " \t", &save)) {
		bool known = !is_address(one) || strlen(one) >= HOST_ADDRESS_SIZE;

		for (size_t i = 0; i < n; i++)
			known |= strcmp(dns[i], one) == 0;
		if (!known)
			snprintf(dns[n++], HOST_ADDRESS_SIZE, "%s", one);
	}
	return n;
}

static size_t
read_servers(const char *path, char (*dns)[HOST_ADDRESS_SIZE], size_t n, size_t most)
{
	char *text = NULL, list[512];
	struct err e = { 0 };

	if (file_read(path, LEASE_MAX, &text, NULL, &e) < 0)
		return n;
	value_of(text, "dns", list, sizeof(list));
	free(text);
	return split_servers(list, dns, n, most);
}

size_t
dhcp_servers(const char *run, const char *adapter, char dns[HOST_DNS][HOST_ADDRESS_SIZE])
{
	char path[PATH_MAX];

	lease_path(run, adapter, path);
	return read_servers(path, dns, 0, HOST_DNS);
}

static int
write_resolv(const char *run, struct err *e)
{
	char dir[PATH_MAX], path[PATH_MAX + 300], text[SERVERS_MAX * (HOST_ADDRESS_SIZE + 16)] = "";
	char dns[SERVERS_MAX][HOST_ADDRESS_SIZE];
	struct dirent **entry;
	size_t servers = 0, len = 0;
	int n;

	snprintf(dir, sizeof(dir), "%s/dhcp", run);
	n = scandir(dir, &entry, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, entry[i]->d_name);
		if (entry[i]->d_name[0] != '.')
			servers = read_servers(path, dns, servers, SERVERS_MAX);
		free(entry[i]);
	}
	if (n >= 0)
		free(entry);
	for (size_t i = 0; i < servers; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "nameserver %s\n", dns[i]);
	snprintf(path, sizeof(path), "%s/resolv.conf", run);
	return file_replace(path, text, len, 0644, e);
}

int
dhcp_note(const char *run, const char *adapter, const struct host_adapter_settings *s, struct err *e)
{
	char path[PATH_MAX], text[LEASE_MAX], dns[HOST_DNS * HOST_ADDRESS_SIZE] = "";
	size_t len = 0;
	int rc;

	for (size_t i = 0; i < s->dns_count; i++)
		len += (size_t)snprintf(dns + len, sizeof(dns) - len, "%s%s", i ? " " : "", s->dns[i]);
	len = (size_t)snprintf(
	    text, sizeof(text), "address=%s\ngateway=%s\ndns=%s\n", s->address, s->gateway, dns);
	snprintf(path, sizeof(path), "%s/dhcp", run);
	rc = file_make_dirs(path, 0755, e);
	lease_path(run, adapter, path);
	if (rc == 0)
		rc = file_replace(path, text, len, 0644, e);
	return rc == 0 ? write_resolv(run, e) : rc;
}
