/* Structured logging to stderr, one line an entry, as logfmt or as JSON:
 *
 *   ts=2026-01-31T12:00:00.123Z level=info comp=reconcile msg="sandbox ready" pool=py id=ab12
 *   {"ts":"2026-01-31T12:00:00.123Z","level":"info","comp":"reconcile","msg":"sandbox ready",...
 *
 * One key has one meaning everywhere (pool, id, run, key, err, took_ms, path,
 * line, lang, cause). error: someone must act. warn: degraded, and what we do
 * about it. info: lifecycle, once per transition. debug: the rest; common/
 * logs at debug only. Never code, output or keys. */
#ifndef PD_COMMON_LOG_H
#define PD_COMMON_LOG_H

enum pd_log_level { PD_LOG_DEBUG, PD_LOG_INFO, PD_LOG_WARN, PD_LOG_ERROR };
enum pd_log_format { PD_LOG_LOGFMT, PD_LOG_JSON };

/* The threshold for the process; main() sets it once, before anything logs. */
void pd_log_level_set(enum pd_log_level level);
/* "debug" ... "error" into ret_level; 0 or PD_INVALID. */
int pd_log_level_parse(const char *text, enum pd_log_level *ret_level);
/* Likewise the form; "logfmt" or "json". In JSON every value is a string. */
void pd_log_format_set(enum pd_log_format format);
int pd_log_format_parse(const char *text, enum pd_log_format *ret_format);

/* `fields` is a list of key, value string pairs ended by NULL. Values are
 * quoted, escaped and cut to 1 KiB; a NULL value is skipped with its key. A
 * line has 4 KiB at most: in JSON, fields that do not fit are left out. */
void pd_log(enum pd_log_level level, const char *comp, const char *msg, ...)
    __attribute__((sentinel));

/* A number as text, for pd_log's arguments: lives until the end of the
 * enclosing block. */
#define PD_NUM(n) (pd_log_num((char[24]){0}, (long long)(n)))
const char *pd_log_num(char *out, long long n);

#endif
