#include "api/kube_shared_script.h"

/* `stamp` gives a field the next version. */
#define STAMP                                                                                      \
    "local time = redis.call('TIME')\n"                                                            \
    "local now = tonumber(time[1]) * 1000000 + tonumber(time[2])\n"                                \
    "local last = tonumber(redis.call('HGET', KEYS[1], '_version') or '0')\n"                      \
    "last = math.max(last, tonumber(ARGV[2]))\n"                                                   \
    "local stamped = false\n"                                                                      \
    "local function stamp(field)\n"                                                                \
    "  last = math.max(now, last + 1)\n"                                                           \
    "  redis.call('ZADD', KEYS[2], string.format('%.0f', last), field)\n"                          \
    "  stamped = true\n"                                                                           \
    "end\n"                                                                                        \
    "local function finish()\n"                                                                    \
    "  local version = string.format('%.0f', last)\n"                                              \
    "  if stamped then\n"                                                                          \
    "    redis.call('HSET', KEYS[1], '_version', version)\n"                                       \
    "    redis.call('PUBLISH', ARGV[1], version)\n"                                                \
    "  end\n"                                                                                      \
    "  return version\n"                                                                           \
    "end\n"

const char pd_kube_shared_read_script[] =
    "local dataset = redis.call('HGET', KEYS[1], '_dataset')\n"
    "if not dataset then\n"
    "  dataset = ARGV[3]\n"
    "  redis.call('HSET', KEYS[1], '_dataset', dataset)\n"
    "end\n"
    "local version = redis.call('HGET', KEYS[1], '_version') or '0'\n"
    "local floor = tonumber(redis.call('HGET', KEYS[1], '_floor') or '0')\n"
    "local from, all = ARGV[1], '0'\n"
    "if dataset ~= ARGV[2] or (ARGV[5] ~= '1' and\n"
    "    (tonumber(from) < floor or tonumber(from) > tonumber(version))) then\n"
    "  from, all = '0', '1'\n"
    "end\n"
    "local found = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. from, '+inf', 'WITHSCORES',\n"
    "                         'LIMIT', 0, tonumber(ARGV[4]))\n"
    "local more = #found == 2 * tonumber(ARGV[4]) and '1' or '0'\n"
    "local reply = {dataset, version, all, more}\n"
    "local bytes = 0\n"
    "for i = 1, #found, 2 do\n"
    "  local text = redis.call('HGET', KEYS[1], found[i]) or ''\n"
    "  reply[#reply + 1] = found[i]\n"
    "  reply[#reply + 1] = string.format('%.0f', tonumber(found[i + 1]))\n"
    "  reply[#reply + 1] = text\n"
    "  bytes = bytes + #text\n"
    "  if bytes > 8388608 and i + 2 < #found then\n"
    "    reply[4] = '1'\n"
    "    break\n"
    "  end\n"
    "end\n"
    "return reply\n";

const char pd_kube_shared_write_script[] =
    "if ARGV[3] ~= '' and redis.call('GET', KEYS[3]) ~= ARGV[3] then\n"
    "  return redis.error_reply('FENCED another replica leads')\n"
    "end\n" STAMP
    "for i = 4, #ARGV, 2 do\n"
    "  local field, text = ARGV[i], ARGV[i + 1]\n"
    "  local old = redis.call('HGET', KEYS[1], field)\n"
    "  if text ~= '' and old ~= text then\n"
    "    redis.call('HSET', KEYS[1], field, text)\n"
    "    stamp(field)\n"
    /* One that a client has made anew meanwhile is not the one that was drained. */
    "  elseif text == '' and old and not (string.sub(field, 1, 4) == 'api/' and\n"
    "      string.find(old, '\"deletedMs\":0', 1, true)) then\n"
    "    redis.call('HDEL', KEYS[1], field)\n"
    "    stamp(field)\n"
    "  end\n"
    "end\n"
    "return finish()\n";

const char pd_kube_shared_put_script[] = STAMP
    "local old = '0'\n"
    "if redis.call('HEXISTS', KEYS[1], ARGV[3]) == 1 then\n"
    "  old = string.format('%.0f', tonumber(redis.call('ZSCORE', KEYS[2], ARGV[3]) or '0'))\n"
    "end\n"
    "if old ~= ARGV[4] or redis.call('HEXISTS', KEYS[1], ARGV[6]) == 1 then\n"
    "  return redis.error_reply('CONFLICT it has been changed')\n"
    "end\n"
    "redis.call('HSET', KEYS[1], ARGV[3], ARGV[5])\n"
    "stamp(ARGV[3])\n"
    "return finish()\n";

const char pd_kube_shared_restore_script[] =
    "if redis.call('HGET', KEYS[1], '_dataset') ~= ARGV[3] then return '0' end\n" STAMP
    "for i = 4, #ARGV, 3 do\n"
    "  local score = redis.call('ZSCORE', KEYS[2], ARGV[i])\n"
    "  if not score or tonumber(score) < tonumber(ARGV[i + 1]) then\n"
    "    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 2])\n"
    "    stamp(ARGV[i])\n"
    "  end\n"
    "end\n"
    "return finish()\n";

const char pd_kube_shared_prune_script[] =
    "if redis.call('GET', KEYS[3]) ~= ARGV[1] then\n"
    "  return redis.error_reply('FENCED another replica leads')\n"
    "end\n"
    "local time = redis.call('TIME')\n"
    "local until_us = tonumber(time[1]) * 1000000 + tonumber(time[2]) - tonumber(ARGV[2])\n"
    "local found = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf',\n"
    "                         string.format('%.0f', until_us), 'WITHSCORES')\n"
    "local floor\n"
    "for i = 1, #found, 2 do\n"
    "  if redis.call('HEXISTS', KEYS[1], found[i]) == 0 then\n"
    "    redis.call('ZREM', KEYS[2], found[i])\n"
    "    floor = found[i + 1]\n"
    "  end\n"
    "end\n"
    "if floor then\n"
    "  redis.call('HSET', KEYS[1], '_floor', string.format('%.0f', tonumber(floor)))\n"
    "end\n"
    "return 'OK'\n";
