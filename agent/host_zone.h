/*
 * agent/host_zone.h - time zones and times as people write them. The zone is the symbolic link ETC/localtime.
 *
 * host_zone_use changes the process's TZ: one thread at a time; the others may be used by any.
 */
#ifndef AGENT_HOST_ZONE_H
#define AGENT_HOST_ZONE_H

#include <jansson.h>
#include <stdbool.h>
#include <time.h>

#include "agent/host_settings.h"
#include "lib/err.h"

#define ZONE_DIR "/usr/share/zoneinfo"

/* Names, sorted: a new reference; never NULL but for want of memory. UTC is always there. */
json_t *host_zones(void);
bool host_zone_exists(const char *zone);
/* Where ETC/localtime leads; "UTC" when it leads nowhere. */
void host_zone_get(const char *etc, char zone[HOST_ZONE_SIZE]);
int host_zone_set(const char *etc, const char *zone, struct err *e);
/* Local time of this process is that of zone from here on. */
void host_zone_use(const char *zone);

/* "2026-11-23T09:30:00+01:00", local time. */
void host_time_format(time_t t, char text[32]);
/* "2026-11-23 09:30[:00]", local, or with Z or +01:00 at its end; T for the space. From 2020 to 2099. */
int host_time_parse(const char *text, time_t *t, struct err *e);

#endif
