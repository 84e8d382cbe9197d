/* agent/host.c - host settings: read, applied, changed whole or not at all, shown as the kernel has them. */
#include "agent/host.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "agent/host_dhcp.h"
#include "agent/host_zone.h"
#include "agent/vm_life.h"
#include "lib/file.h"
#include "lib/log.h"

enum { STOP_SECONDS = 90, RELEASE_MAX = 4096, ANSWER_MS = 300 };

static void
path_of(const struct host_state *h, const char *file, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/system/%s", h->agent->o.data, file);
}

/* --- the document
 * --------------------------------------------------------------------------------------------- */

static int
write_settings(const struct host_state *h, const struct host_settings *s, struct err *e)
{
	json_t *doc = schema_write(host_settings_fields, s);
	char path[PATH_MAX];
	int rc;

	if (!doc)
		return err_set(e, ENOMEM, "out of memory");
	path_of(h, "", path);
	rc = file_make_dirs(path, 0755, e);
	path_of(h, "host.json", path);
	if (rc == 0)
		rc = file_replace_json(path, doc, 0644, e);
	json_decref(doc);
	return rc;
}

/* The host must come up whatever is in there. */
static void
read_settings(struct host_state *h)
{
	char path[PATH_MAX], aside[PATH_MAX];
	struct err e = { 0 };
	json_t *doc;
	int rc = -1;

	path_of(h, "host.json", path);
	path_of(h, "host.json.bad", aside);
	doc = file_read_json(path, &e);
	if (doc)
		rc = host_settings_read(&h->settings, doc, &e);
	json_decref(doc);
	if (rc == 0)
		return;
	host_settings_defaults(&h->settings);
	if (e.code == ENOENT)
		return; /* the first boot */
	log_msg(
	    LOG_ERROR, "host.json: %s; it is kept as %s, and the host's own defaults count", e.msg, aside);
	rename(path, aside);
}

/* --- applying
 * ------------------------------------------------------------------------------------------------- */

static int
apply_name(struct host_state *h, const struct host_settings *s, struct err *e)
{
	char is[HOST_NAME_SIZE], path[PATH_MAX], line[HOST_NAME_SIZE + 1];
	int rc = h->ops->get_name(is, e);

	if (rc < 0 || !s->name[0])
		return rc;
	if (strcmp(is, s->name) != 0)
		rc = h->ops->set_name(s->name, e);
	snprintf(path, sizeof(path), "%s/hostname", h->agent->o.etc);
	snprintf(line, sizeof(line), "%s\n", s->name);
	return rc < 0 ? rc : file_replace(path, line, strlen(line), 0644, e);
}

static int
apply_zone(struct host_state *h, const struct host_settings *s, struct err *e)
{
	char is[HOST_ZONE_SIZE];
	int rc = 0;

	host_zone_get(h->agent->o.etc, is);
	if (s->zone[0] && strcmp(is, s->zone) != 0)
		rc = host_zone_set(h->agent->o.etc, s->zone, e);
	host_zone_get(h->agent->o.etc, is);
	host_zone_use(is);
	return rc;
}

static int
apply_adapter(
    struct host_state *h, const struct host_adapter *a, const struct host_adapter_settings *s, struct err *e)
{
	const char *run = h->agent->o.run;
	int rc;

	if (!s || s->dhcp)
		return dhcp_start(run, a->name, e);
	rc = dhcp_runs(run, a->name) ? dhcp_stop(run, a->name, e) : 0;
	if (rc == 0)
		rc = h->ops->set_address(a->name, s->address, s->gateway, e);
	return rc < 0 ? rc : dhcp_note(run, a->name, s, e);
}

int
host_use_adapter(struct host_state *h, const struct host_adapter *a, struct err *e)
{
	int rc = apply_adapter(h, a, host_settings_of(&h->settings, a->mac), e);

	if (rc == 0 && h->used_count < HOST_ADAPTERS)
		h->used[h->used_count++] = *a;
	return rc;
}

/* All adapters are tried; the first failure is told. */
static int
apply_adapters(struct host_state *h, struct host_settings *s, struct err *e)
{
	struct host_adapter list[HOST_ADAPTERS];
	int n = h->ops->adapters(list, e), rc = n < 0 ? n : 0;

	for (int i = 0; i < n; i++) {
		struct err why = { 0 };

		if (apply_adapter(h, &list[i], host_settings_of(s, list[i].mac), &why) == 0)
			continue;
		log_msg(LOG_ERROR, "%s: %s", list[i].name, why.msg);
		if (rc == 0)
			rc = err_set(e, why.code, "%s", why.msg);
	}
	return rc;
}

/* At the start. */
static int
use_adapters(struct host_state *h, struct err *e)
{
	struct host_adapter list[HOST_ADAPTERS];
	int n = h->ops->adapters(list, e);

	for (int i = 0; i < n; i++) {
		struct err why = { 0 };

		if (host_use_adapter(h, &list[i], &why) < 0)
			log_msg(LOG_ERROR, "%s: %s", list[i].name, why.msg);
	}
	return n < 0 ? n : 0;
}

static int
apply_remote(struct host_state *h, struct host_settings *s, struct err *e)
{
	return h->remote_is_on(h->agent) == s->remote ? 0 : h->remote(h->agent, s->remote, e);
}

static void
log_failure(int rc, const char *what, const struct err *e)
{
	if (rc < 0)
		log_msg(LOG_ERROR, "%s: %s", what, e->msg);
}

/* What is not set is as it is; from the first change on it is set. */
static void
fill_in(struct host_state *h)
{
	struct err e = { 0 };
	char is[HOST_NAME_SIZE];

	if (!h->settings.name[0] && h->ops->get_name(is, &e) == 0 && host_name_ok(is))
		memcpy(h->settings.name, is, sizeof(is));
	if (!h->settings.zone[0])
		host_zone_get(h->agent->o.etc, h->settings.zone);
}

/* At the start each part does what it can. */
static void
apply_at_start(struct host_state *h)
{
	struct err e = { 0 };

	log_failure(apply_name(h, &h->settings, &e), "name", &e);
	log_failure(apply_zone(h, &h->settings, &e), "time zone", &e);
	log_failure(use_adapters(h, &e), "network", &e);
	if (!h->agent->o.remote)
		log_failure(apply_remote(h, &h->settings, &e), "remote management", &e);
}

static int
apply_all(struct host_state *h, struct host_settings *s, const struct host_settings *was, struct err *e)
{
	int rc = 0;

	if (strcmp(s->name, was->name) != 0)
		rc = apply_name(h, s, e);
	if (rc == 0 && strcmp(s->zone, was->zone) != 0)
		rc = apply_zone(h, s, e);
	if (rc == 0 && !host_adapters_same(s, was))
		rc = apply_adapters(h, s, e);
	return rc < 0 ? rc : apply_remote(h, s, e);
}

int
host_change(struct host_state *h, struct host_settings *to, struct fault *f)
{
	struct host_settings was = h->settings;
	struct err e = { 0 }, ignored = { 0 };

	to->revision = was.revision + 1;
	if (write_settings(h, to, &e) < 0)
		return fault_err(f, e.code == ENOSPC ? FAULT_NO_SPACE : FAULT_STORAGE, NULL, NULL, &e);
	if (apply_all(h, to, &was, &e) == 0) {
		h->settings = *to;
		return 0;
	}
	write_settings(h, &was, &ignored);
	apply_all(h, &was, to, &ignored);
	return fault_err(f, FAULT_HOST_SETTING_FAILED, NULL, "nothing was changed", &e);
}

/* --- looking
 * -------------------------------------------------------------------------------------------------- */

static void
read_release(struct host_view *v)
{
	struct utsname u;
	char *text = NULL, *at;
	struct err e = { 0 };

	if (uname(&u) == 0)
		snprintf(v->release, sizeof(v->release), "%.30s %.80s", u.sysname, u.release);
	snprintf(v->version, sizeof(v->version), "unknown");
	if (file_read("/usr/lib/os-release", RELEASE_MAX, &text, NULL, &e) < 0)
		return;
	at = strstr(text, "\nVERSION_ID=\"");
	if (at && strstr(text, "ID=freehold"))
		snprintf(v->version, sizeof(v->version), "%.*s", (int)strcspn(at + 13, "\"\n"), at + 13);
	free(text);
}

static void
read_numbers(struct host_view *v)
{
	unsigned long long total = 0, left = 0;
	char line[128];
	struct sysinfo si;
	FILE *f = fopen("/proc/meminfo", "re");

	while (f && fgets(line, sizeof(line), f)) {
		sscanf(line, "MemTotal: %llu", &total);
		sscanf(line, "MemAvailable: %llu", &left);
	}
	if (f)
		fclose(f);
	v->memory = total >> 10;
	v->memory_free = left >> 10;
	v->processors = (uint64_t)sysconf(_SC_NPROCESSORS_ONLN);
	v->uptime = sysinfo(&si) == 0 ? (uint64_t)si.uptime : 0;
}

static void
look_at_adapter(struct host_state *h, const struct host_adapter *a, struct host_adapter_view *v)
{
	const struct host_adapter_settings *s = host_settings_of(&h->settings, a->mac);

	memcpy(v->name, a->name, sizeof(v->name));
	memcpy(v->mac, a->mac, sizeof(v->mac));
	v->link = a->link;
	v->dhcp = !s || s->dhcp;
	v->addresses = a->addresses;
	memcpy(v->address, a->address, sizeof(v->address));
	memcpy(v->gateway, a->gateway, sizeof(v->gateway));
	v->dns_count = dhcp_servers(h->agent->o.run, a->name, v->dns);
}

int
host_look(struct host_state *h, struct host_view *v, struct err *e)
{
	struct host_adapter list[HOST_ADAPTERS];
	int n, rc;

	memset(v, 0, sizeof(*v));
	read_release(v);
	read_numbers(v);
	pthread_mutex_lock(&h->lock);
	host_time_format(time(NULL), v->time);
	host_zone_get(h->agent->o.etc, v->zone);
	rc = h->ops->get_name(v->name, e);
	n = rc < 0 ? rc : h->ops->adapters(list, e);
	for (int i = 0; i < n; i++)
		look_at_adapter(h, &list[i], &v->adapter[v->adapters++]);
	v->remote = h->remote_is_on(h->agent);
	v->revision = h->settings.revision;
	pthread_mutex_unlock(&h->lock);
	return n < 0 ? n : 0;
}

/* --- going down
 * ----------------------------------------------------------------------------------------------- */

static void *
go(void *arg)
{
	struct host_state *h = arg;
	struct err e = { 0 };

	usleep(ANSWER_MS * 1000); /* for the answer to get out */
	if (h->agent->machines)
		vm_stop_all(h->agent->machines, h->stop_s);
	log_msg(LOG_INFO, h->power == HOST_RESTART ? "the host restarts" : "the host shuts down");
	if (h->ops->power(h->power, &e) < 0) {
		log_msg(LOG_ERROR, "%s", e.msg);
		if (h->agent->machines)
			atomic_store(&h->agent->machines->going_down, false);
		atomic_store(&h->going, false);
	}
	return NULL;
}

/* Init may go down without having asked us: reboot, poweroff, Ctrl-Alt-Del, the power button. Its script
 * leaves a note, and ends the agent. */
void
agent_host_goes_down(struct agent *a)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/going-down", a->o.run);
	if (access(path, F_OK) < 0 || !a->machines || !a->host)
		return;
	log_msg(LOG_INFO, "the host goes down: its machines are ended first");
	vm_stop_all(a->machines, a->host->stop_s);
}

bool
host_go(struct host_state *h, enum host_power what)
{
	if (atomic_exchange(&h->going, true))
		return false;
	pthread_mutex_lock(&h->lock);
	if (h->has_goer)
		pthread_join(h->goer, NULL); /* one that failed */
	h->power = what;
	h->has_goer = pthread_create(&h->goer, NULL, go, h) == 0;
	pthread_mutex_unlock(&h->lock);
	if (!h->has_goer)
		atomic_store(&h->going, false);
	return h->has_goer;
}

/* --- the room
 * ------------------------------------------------------------------------------------------------- */

int
host_state_new(struct host_state **out, struct agent *a, const struct host_ops *ops,
    int (*remote)(struct agent *a, bool on, struct err *e), bool (*remote_is_on)(struct agent *a),
    struct err *e)
{
	struct host_state *h = calloc(1, sizeof(*h));
	struct err ignored = { 0 };

	*out = h;
	if (!h)
		return err_set(e, ENOMEM, "out of memory");
	h->agent = a;
	h->ops = ops;
	h->remote = remote;
	h->remote_is_on = remote_is_on;
	h->stop_s = STOP_SECONDS;
	pthread_mutex_init(&h->lock, NULL);
	read_settings(h);
	fill_in(h);
	h->watch_stop = -1;
	h->watch = ops->watch ? ops->watch(&ignored) : -1; /* before they are looked at */
	if (ops->watch && h->watch < 0)
		log_msg(LOG_ERROR, "network: %s", ignored.msg);
	apply_at_start(h);
	log_failure(host_watch_start(h, &ignored), "network", &ignored);
	return 0;
}

void
host_close(struct host_state *h)
{
	if (!h)
		return;
	host_watch_stop(h);
	if (h->has_goer)
		pthread_join(h->goer, NULL);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

int
agent_host_start(struct agent *a, struct err *e)
{
	return host_state_new(&a->host, a, &host_linux, carriers_remote, carriers_remote_is_on, e);
}

void
agent_host_stop(struct agent *a)
{
	host_close(a->host);
	a->host = NULL;
}
