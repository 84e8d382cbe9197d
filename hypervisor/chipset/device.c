/*
 * hypervisor/chipset/device.c - the part that all emulated devices share: lock, save and restore.
 *
 * Control thread, apart from what the bus does by itself.
 */
#include "hypervisor/chipset/device.h"

void
device_init(struct device *d, const struct device_ops *ops, const struct device_host *host, unsigned instance)
{
	d->ops = ops;
	d->host = host;
	d->instance = instance;
	pthread_mutex_init(&d->lock, NULL);
}

void
device_reset(struct device *d)
{
	pthread_mutex_lock(&d->lock);
	d->ops->reset(d);
	pthread_mutex_unlock(&d->lock);
}

void
device_expire(struct device *d)
{
	if (!d->ops->expire)
		return;
	pthread_mutex_lock(&d->lock);
	d->ops->expire(d);
	pthread_mutex_unlock(&d->lock);
}

long
device_save(struct device *d, void *buf, size_t cap)
{
	struct snap s;
	int rc;

	snap_save_to(&s, buf, cap);
	pthread_mutex_lock(&d->lock);
	d->ops->snap(d, &s);
	pthread_mutex_unlock(&d->lock);
	rc = snap_end(&s);
	return rc < 0 ? rc : (long)s.pos;
}

int
device_restore(struct device *d, const void *buf, size_t len, struct err *e)
{
	struct snap s;
	int rc;

	snap_restore_from(&s, buf, len);
	pthread_mutex_lock(&d->lock);
	d->ops->snap(d, &s);
	rc = snap_end(&s);
	/* Nothing reaches the world before every field has been found good. */
	if (!rc && d->ops->restored)
		d->ops->restored(d);
	pthread_mutex_unlock(&d->lock);
	if (rc)
		return err_set(e, -rc, "%s%u: %s", d->ops->name, d->instance, s.err.msg);
	return 0;
}

void
device_free(struct device *d)
{
	if (!d)
		return;
	if (d->ops->expire)
		d->host->timer(d->host->ctx, d, UINT64_MAX);
	pthread_mutex_destroy(&d->lock);
	d->ops->free(d);
}
