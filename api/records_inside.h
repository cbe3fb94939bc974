/* What records.c and the files record_*.c share. Nothing else includes this. */
#ifndef PD_API_RECORDS_INSIDE_H
#define PD_API_RECORDS_INSIDE_H

#include <openssl/evp.h>

#include "api/records.h"

enum pd_record_state { PD_ROW_QUEUED, PD_ROW_RUNNING, PD_ROW_DONE };

struct pd_records {
    struct pd_records_config config;
    EVP_MD *sha256;   /* these two are the writing thread's */
    EVP_MD_CTX *hash;
    uint64_t dropped;
    int64_t unshipped; /* at the newest look */
    bool is_dropping;  /* records of plain runs, likewise */
    bool is_full;      /* nothing is accepted, likewise */
    char sentence[PD_ERR_MSG_MAX + 128];
};

/* On the database's writing thread alone. */
#define PD_RECORD_HASH_BYTES 32
void pd_record_hash(struct pd_records *records, const void *data, size_t len,
                    unsigned char out[static PD_RECORD_HASH_BYTES]);

/* Copies into the end of a block, with a NUL behind; what there is room for was counted
 * before. NULL stays NULL. */
const char *pd_record_pack(char **at, const void *data, size_t len);
const char *pd_record_pack_text(char **at, const char *text);
size_t pd_record_text_bytes(const char *text); /* with the NUL; 0 for NULL */

#endif
