/* lib/source.c - addresses that are one source. */
#include "lib/source.h"

#include <arpa/inet.h>
#include <string.h>

#include "lib/text.h"

void
source_network(const char *source, char out[SOURCE_NETWORK_SIZE])
{
	struct in6_addr a;

	text_copy(out, SOURCE_NETWORK_SIZE, source);
	if (inet_pton(AF_INET6, source, &a) != 1)
		return;
	memset(&a.s6_addr[8], 0, 8);
	inet_ntop(AF_INET6, &a, out, SOURCE_NETWORK_SIZE);
}
