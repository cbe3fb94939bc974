/* What records.c and record_rows.c share. Nothing else includes this. */
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
    char sentence[PD_ERR_MSG_MAX + 128];
};

#endif
