/* hypervisor/worker/nic_requests.c - what a worker can be asked about its network adapters. */
#include "hypervisor/worker/nic_requests.h"

#include "hypervisor/worker/worker.h"

/* clang-format off */
#define NIC(m)     FIELD_AT(nic_params, nic.m)
#define REPORT(m)  FIELD_AT(nic_report, m), .max = UINT64_MAX
#define COUNTER(n, c, h) { .name = n, .type = FIELD_UINT, REPORT(count[c]), .help = h }
#define NUMBER     { .name = "Number", .type = FIELD_UINT, .required = true, NIC(number), .max = MAX_NICS - 1, \
	.help = "Which adapter: its place in the machine." }
#define TAPS       { .name = "Taps", .type = FIELD_LIST, NIC(tap), .max = NET_QUEUES, .size = sizeof(struct nic_tap), \
	.count_offset = offsetof(struct nic_params, nic.taps), .fields = tap_fields, \
	.help = "Descriptors of one tap, one for each queue, with IFF_VNET_HDR and IFF_NO_PI; or sockets that keep frames apart." }
#define CONNECTED  { .name = "Connected", .type = FIELD_BOOL, NIC(connected), .help = "Whether its link is up." }

static const struct field tap_fields[] = {
	{ .name = "Tap", .type = FIELD_FD, .required = true, FIELD_AT(nic_tap, fd), .help = "Open for reading and writing." },
	{ 0 }
};
const struct field nic_add_fields[] = {
	NUMBER,
	{ .name = "MacAddress", .type = FIELD_STRING, NIC(mac), .max = 17, .size = 18,
	  .help = "Like 00-15-5D-01-02-03. Derived from the machine's id if empty." },
	{ .name = "Queues", .type = FIELD_UINT, NIC(queues), .max = NET_QUEUES,
	  .help = "Channels that the guest may have, at most one for each processor. 0: as many as taps." },
	{ .name = "Mtu", .type = FIELD_UINT, NIC(mtu), .min = NET_MTU_MIN, .max = NET_MTU_MAX,
	  .help = "Largest packet that its network carries; the guest may use less." },
	{ .name = "SpeedInMbps", .type = FIELD_UINT, NIC(speed_mbps), .max = 1000000, .help = "What the guest is told. 0: 10000." },
	{ .name = "MacAddressSpoofing", .type = FIELD_BOOL, NIC(spoofing),
	  .help = "Whether the guest may use other addresses than the adapter's own." },
	CONNECTED,
	TAPS,
	{ 0 }
};
const struct field nic_name_fields[] = { NUMBER, { 0 } };
const struct field nic_connect_fields[] = { NUMBER, CONNECTED, TAPS, { 0 } };
static const struct field report_fields[] = {
	{ .name = "Number", .type = FIELD_UINT, REPORT(number), .help = "Its place in the machine." },
	{ .name = "MacAddress", .type = FIELD_STRING, FIELD_AT(nic_report, mac), .max = 17, .size = 18, .help = "As the guest uses it." },
	{ .name = "Connected", .type = FIELD_BOOL, FIELD_AT(nic_report, connected), .help = "Whether its link is up." },
	{ .name = "Ready", .type = FIELD_BOOL, FIELD_AT(nic_report, ready), .help = "Whether a driver of the guest is at work." },
	{ .name = "Leaving", .type = FIELD_BOOL, FIELD_AT(nic_report, leaving), .help = "It was taken away, and is being let go of." },
	{ .name = "Mtu", .type = FIELD_UINT, REPORT(mtu), .help = "Largest packet the guest uses." },
	{ .name = "Channels", .type = FIELD_UINT, REPORT(channels), .help = "Channels that are open." },
	{ .name = "Version", .type = FIELD_UINT, REPORT(version), .help = "Of NVSP, as agreed with the guest; 0: none yet." },
	COUNTER("SentUnicast", SENT_UNICAST, "Frames from the guest."),
	COUNTER("SentMulticast", SENT_MULTICAST, "Frames from the guest."),
	COUNTER("SentBroadcast", SENT_BROADCAST, "Frames from the guest."),
	COUNTER("BytesSentUnicast", SENT_UNICAST_BYTES, "Bytes in them."),
	COUNTER("BytesSentMulticast", SENT_MULTICAST_BYTES, "Bytes in them."),
	COUNTER("BytesSentBroadcast", SENT_BROADCAST_BYTES, "Bytes in them."),
	COUNTER("SentErrors", SENT_ERRORS, "Packets of the guest that made no sense."),
	COUNTER("SentDropped", SENT_DROPPED, "Frames of the guest that found no link, or no room below."),
	COUNTER("SentSpoofed", SENT_SPOOFED, "Frames of the guest from an address that is not its own."),
	COUNTER("ReceivedUnicast", TAKEN_UNICAST, "Frames to the guest."),
	COUNTER("ReceivedMulticast", TAKEN_MULTICAST, "Frames to the guest."),
	COUNTER("ReceivedBroadcast", TAKEN_BROADCAST, "Frames to the guest."),
	COUNTER("BytesReceivedUnicast", TAKEN_UNICAST_BYTES, "Bytes in them."),
	COUNTER("BytesReceivedMulticast", TAKEN_MULTICAST_BYTES, "Bytes in them."),
	COUNTER("BytesReceivedBroadcast", TAKEN_BROADCAST_BYTES, "Bytes in them."),
	COUNTER("ReceiveErrors", TAKEN_ERRORS, "Frames that could not be given to the guest."),
	COUNTER("ReceiveFiltered", TAKEN_FILTERED, "Frames that the guest does not want."),
	COUNTER("ReceiveStopped", TAKEN_NO_ROOM, "Times that the guest had all of its receive memory in use."),
	{ 0 }
};
const struct field nic_list_fields[] = {
	{ .name = "Nics", .type = FIELD_LIST, FIELD_AT(nic_list, nic), .max = MAX_NICS, .size = sizeof(struct nic_report),
	  .count_offset = offsetof(struct nic_list, n), .fields = report_fields, .help = "Network adapters." },
	{ 0 }
};
/* clang-format on */

void
nic_defaults(void *params)
{
	struct nic_params *p = params;

	p->nic.mtu = 9000;
	p->nic.connected = true;
	for (size_t i = 0; i < NET_QUEUES; i++)
		p->nic.tap[i].fd = -1;
}

int
do_nic_add(void *ctx, void *params, void *result, struct err *e)
{
	struct worker *w = ctx;
	struct nic_params *p = params;

	(void)result;
	return nics_add(w->nics, &p->nic, e);
}

int
do_nic_remove(void *ctx, void *params, void *result, struct err *e)
{
	struct worker *w = ctx;
	struct nic_params *p = params;

	(void)result;
	return nics_remove(w->nics, p->nic.number, e);
}

int
do_nic_connect(void *ctx, void *params, void *result, struct err *e)
{
	struct worker *w = ctx;
	struct nic_params *p = params;

	(void)result;
	return nics_connect(w->nics, &p->nic, e);
}

int
do_nic_list(void *ctx, void *params, void *result, struct err *e)
{
	struct worker *w = ctx;
	struct nic_list *r = result;

	(void)params;
	(void)e;
	r->n = nics_report(w->nics, r->nic, MAX_NICS);
	return 0;
}
