/* Unique ids as text (RFC 9562): 36 characters and the NUL. */
#ifndef PD_COMMON_UID_H
#define PD_COMMON_UID_H

#define PD_UID_BYTES 37

/* A new one, random (version 4). Returns `out`. */
const char *pd_uid_random(char out[static PD_UID_BYTES]);
/* The same one for the same name, always (version 8, from SHA-256 of the name). */
const char *pd_uid_of_name(const char *name, char out[static PD_UID_BYTES]);

#endif
