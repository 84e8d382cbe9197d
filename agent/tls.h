/*
 * agent/tls.h - the appliance's own certificate: ECDSA P-256, self-signed, made at first boot.
 */
#ifndef AGENT_TLS_H
#define AGENT_TLS_H

#include "lib/err.h"

enum { FINGERPRINT_SIZE = 96 };

/*
 * Makes folder/key.pem and folder/cert.pem if one of them is missing or they do not belong together (a crash
 * between the two). The certificate is good from the day of the build at the latest, so that a clock that is
 * wrong at first boot does no harm, for 20 years. name: the computer's. 0 or -errno; fingerprint:
 * "ab:cd:...".
 */
int tls_prepare(const char *folder, const char *name, char fingerprint[FINGERPRINT_SIZE], struct err *e);

#endif
