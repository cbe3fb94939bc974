/* The ledger of one process alone: its records, in SQLite. */
#ifndef PD_API_LEDGER_RECORDS_H
#define PD_API_LEDGER_RECORDS_H

#include "api/ledger.h"

/* `records` outlives it. Its `closed` fires from within `close`. */
struct pd_ledger *pd_ledger_records_new(struct pd_records *records);

#endif
