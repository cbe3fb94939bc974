/* What records.c and record_rows.c share. Nothing else includes this. */
#ifndef PD_API_RECORDS_INSIDE_H
#define PD_API_RECORDS_INSIDE_H

#include "api/records.h"

enum pd_record_state { PD_ROW_QUEUED, PD_ROW_RUNNING, PD_ROW_DONE };

struct pd_records {
    struct pd_records_config config;
    uint64_t dropped;
    char sentence[PD_ERR_MSG_MAX + 128];
};

#endif
