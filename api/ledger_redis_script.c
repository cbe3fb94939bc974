#include "api/ledger_redis_script.h"

#define PRELUDE                                                                                    \
    "local P='" PD_LEDGER_PREFIX                                                                   \
    "'\n"                                                                                          \
    "local function now() local t=redis.call('TIME')"                                              \
    " return string.format('%.0f',t[1]*1000+math.floor(t[2]/1000)) end\n"
#define EVEN_WITHOUT_MEMORY "redis.call('DEL',P..'nothing')\n"

/* Row after row of what is taken: by one that is its owner from now on. */
#define TAKE                                                                                       \
    "local function take(id,me,out)\n"                                                             \
    " local h=redis.call('HMGET',P..'r:'..id,'key','pool','language','kind','state','safe',"       \
    "  'cancel','accepted')\n"                                                                     \
    " if h[5] and h[5]~='2' then\n"                                                                \
    "  redis.call('HSET',P..'r:'..id,'owner',me)\n"                                                \
    "  redis.call('ZADD',P..'of:'..me,h[8],id)\n"                                                  \
    "  if h[7]=='1' then redis.call('SADD',P..'cancels:'..me,id) end\n"                            \
    "  out[#out+1]=id\n"                                                                           \
    "  for i=1,8 do out[#out+1]=h[i] or '' end\n"                                                  \
    " end\n"                                                                                       \
    "end\n"

const char pd_ledger_accept_lua[] = PRELUDE
    "local me=ARGV[1]\n"
    "if not redis.call('ZSCORE',P..'seen',me) then return {'GONE'} end\n"
    "local n=tonumber(ARGV[2])\n"
    "local out={'OK'}\n"
    "local ms=now()\n"
    "for i=0,n-1 do\n"
    " local a=3+i*11\n"
    " local id,key,idem=ARGV[a],ARGV[a+1],ARGV[a+2]\n"
    " local old=idem~='' and redis.call('GET',P..'i:'..key..':'..idem)\n"
    " local h=old and redis.call('HMGET',P..'r:'..old,'fp','state','answer')\n"
    " if h and h[1] then\n"
    "  if h[1]~=ARGV[a+9] then return {'CONFLICT',old} end\n"
    "  out[#out+1]=old out[#out+1]=h[2] out[#out+1]=h[3] or ''\n"
    " else\n"
    "  out[#out+1]=id out[#out+1]='new' out[#out+1]=''\n"
    " end\n"
    "end\n"
    "for i=0,n-1 do\n"
    " local a=3+i*11\n"
    " if out[3+i*3]=='new' then\n"
    "  local id,key,idem=ARGV[a],ARGV[a+1],ARGV[a+2]\n"
    "  redis.call('HSET',P..'r:'..id,'owner',me,'state','0','key',key,'idem',idem,"
    "   'pool',ARGV[a+3],'language',ARGV[a+4],'kind',ARGV[a+5],'safe',ARGV[a+6],"
    "   'sha',ARGV[a+7],'body',ARGV[a+8],'fp',ARGV[a+9],'head',ARGV[a+10],'accepted',ms)\n"
    "  redis.call('ZADD',P..'of:'..me,ms,id)\n"
    "  redis.call('ZADD',P..'all',ms,id)\n"
    "  redis.call('ZADD',P..'by:'..key,ms,id)\n"
    "  if idem~='' then redis.call('SET',P..'i:'..key..':'..idem,id) end\n"
    " end\n"
    "end\n"
    "return out\n";

const char pd_ledger_begin_lua[] = PRELUDE EVEN_WITHOUT_MEMORY
    "local k=P..'r:'..ARGV[2]\n"
    "local h=redis.call('HMGET',k,'owner','state','cancel','safe','by')\n"
    "if not h[1] then return 'NONE' end\n"
    "if h[1]~=ARGV[1] then return 'OTHER' end\n"
    "if h[2]=='2' then return 'DONE' end\n"
    "if h[3]=='1' then return 'CANCELED' end\n"
    "if h[2]=='1' and h[4]~='1' and h[5]~=ARGV[1] then return 'OTHER' end\n"
    "redis.call('HSET',k,'state','1','began',now(),'by',ARGV[1])\n"
    "return 'OK'\n";

const char pd_ledger_finish_lua[] = PRELUDE EVEN_WITHOUT_MEMORY
    "local me,id,life=ARGV[1],ARGV[2],ARGV[8]\n"
    "local k=P..'r:'..id\n"
    "local h=redis.call('HMGET',k,'owner','state','key','idem')\n"
    "if not h[1] then return 'NONE' end\n"
    "if h[1]~=me then return h[2]=='2' and 'DONE' or 'OTHER' end\n"
    "if h[2]=='2' then return 'OK' end\n" /* told before, by ourselves */
    "local bytes=#ARGV[5]+#ARGV[6]+#ARGV[7]\n"
    "redis.call('HDEL',k,'body')\n"
    "redis.call('HSET',k,'state','2','ended',ARGV[3],'cause',ARGV[4],'end',ARGV[5],"
    " 'answer',ARGV[6],'events',ARGV[7],'bytes',bytes,'unkept','1')\n"
    "redis.call('EXPIRE',k,life)\n"
    "if h[4]~='' then redis.call('EXPIRE',P..'i:'..h[3]..':'..h[4],life) end\n"
    "redis.call('INCRBY',P..'bytes',bytes)\n"
    "redis.call('ZREM',P..'of:'..me,id)\n"
    "redis.call('SREM',P..'cancels:'..me,id)\n"
    "redis.call('ZADD',P..'done',now(),id)\n"
    "redis.call('SADD',P..'keep:'..me,id)\n"
    "redis.call('PUBLISH',P..'said','ended '..id)\n"
    "return 'OK'\n";

const char pd_ledger_cancel_lua[] = PRELUDE EVEN_WITHOUT_MEMORY
    "local k=P..'r:'..ARGV[1]\n"
    "local h=redis.call('HMGET',k,'owner','state','key')\n"
    "if not h[1] or h[2]=='2' or (ARGV[2]~='' and h[3]~=ARGV[2]) then return 'NONE' end\n"
    "redis.call('HSET',k,'cancel','1')\n"
    "redis.call('SADD',P..'cancels:'..h[1],ARGV[1])\n"
    "redis.call('PUBLISH',P..'said','cancel '..h[1]..' '..ARGV[1])\n"
    "return 'OK'\n";

const char pd_ledger_forget_lua[] = PRELUDE
    "local id=ARGV[2]\n"
    "local k=P..'r:'..id\n"
    "local h=redis.call('HMGET',k,'owner','state','key','idem')\n"
    "if not h[1] or h[2]=='2' then return 'NONE' end\n"
    "if h[1]~=ARGV[1] then return 'OTHER' end\n"
    "redis.call('DEL',k)\n"
    "if h[4]~='' then redis.call('DEL',P..'i:'..h[3]..':'..h[4]) end\n"
    "redis.call('ZREM',P..'of:'..ARGV[1],id)\n"
    "redis.call('ZREM',P..'all',id)\n"
    "redis.call('ZREM',P..'by:'..h[3],id)\n"
    "redis.call('PUBLISH',P..'said','ended '..id)\n"
    "return 'OK'\n";

const char pd_ledger_add_lua[] = PRELUDE
    "local life,n=ARGV[1],tonumber(ARGV[2])\n"
    "local ms=now()\n"
    "for i=0,n-1 do\n"
    " local a=3+i*9\n"
    " local id,key=ARGV[a],ARGV[a+1]\n"
    " local k=P..'r:'..id\n"
    " if redis.call('EXISTS',k)==0 then\n"
    "  local bytes=#ARGV[a+7]+#ARGV[a+8]\n"
    "  redis.call('HSET',k,'owner','','state','2','key',key,'idem','','pool',ARGV[a+2],"
    "   'language',ARGV[a+3],'accepted',ARGV[a+4],'ended',ARGV[a+5],'cause',ARGV[a+6],"
    "   'head',ARGV[a+7],'end',ARGV[a+8],'bytes',bytes)\n"
    "  redis.call('EXPIRE',k,life)\n"
    "  redis.call('INCRBY',P..'bytes',bytes)\n"
    "  redis.call('ZADD',P..'all',ARGV[a+4],id)\n"
    "  redis.call('ZADD',P..'by:'..key,ARGV[a+4],id)\n"
    "  redis.call('ZADD',P..'done',ms,id)\n"
    " end\n"
    "end\n"
    "return 'OK'\n";

/* ---- who lives ---- */

const char pd_ledger_join_lua[] = PRELUDE EVEN_WITHOUT_MEMORY
    "redis.call('ZADD',P..'seen',now(),ARGV[1])\n"
    /* One folder, one process: its earlier lives are over. */
    "for _,o in ipairs(redis.call('ZRANGE',P..'seen',0,-1)) do\n"
    " if o~=ARGV[1] and string.sub(o,1,#ARGV[2])==ARGV[2] then\n"
    "  redis.call('ZADD',P..'seen',0,o)\n"
    " end\n"
    "end\n"
    "return 'OK'\n";

const char pd_ledger_beat_lua[] = PRELUDE EVEN_WITHOUT_MEMORY
    "if not redis.call('ZSCORE',P..'seen',ARGV[1]) then return {'GONE'} end\n"
    "redis.call('ZADD',P..'seen',now(),ARGV[1])\n"
    "local out={tostring(redis.call('ZCOUNT',P..'seen',1,'+inf'))}\n"
    "for _,id in ipairs(redis.call('SRANDMEMBER',P..'cancels:'..ARGV[1],1000)) do\n"
    " out[#out+1]=id\n"
    "end\n"
    "return out\n";

const char pd_ledger_collect_lua[] = PRELUDE EVEN_WITHOUT_MEMORY TAKE
    "local me,out=ARGV[1],{}\n"
    "if not redis.call('ZSCORE',P..'seen',me) then return {} end\n"
    "local max=tonumber(ARGV[2])<0 and 0 or tonumber(now())-tonumber(ARGV[2])\n"
    "for _,o in ipairs(redis.call('ZRANGEBYSCORE',P..'seen','-inf',max)) do\n"
    " local left=tonumber(ARGV[3])-#out/9\n"
    " if o~=me and left>0 then\n"
    "  for _,id in ipairs(redis.call('ZRANGE',P..'of:'..o,0,left-1)) do\n"
    "   take(id,me,out)\n"
    "   redis.call('ZREM',P..'of:'..o,id)\n"
    "  end\n"
    "  if redis.call('ZCARD',P..'of:'..o)==0 then\n"
    "   redis.call('SUNIONSTORE',P..'keep:'..me,P..'keep:'..me,P..'keep:'..o)\n"
    "   redis.call('DEL',P..'keep:'..o,P..'cancels:'..o)\n"
    "   redis.call('ZREM',P..'seen',o)\n"
    "  end\n"
    " end\n"
    "end\n"
    "return out\n";

/* The youngest of the busiest that have not begun and can be run here, and never more
 * than would make both equally busy. */
const char pd_ledger_steal_lua[] = PRELUDE EVEN_WITHOUT_MEMORY TAKE
    "local me,out=ARGV[1],{}\n"
    "if not redis.call('ZSCORE',P..'seen',me) then return {} end\n"
    "local pools={}\n"
    "for i=3,#ARGV do pools[ARGV[i]]=true end\n"
    "local mine=redis.call('ZCARD',P..'of:'..me)\n"
    "local most,from=0,nil\n"
    "for _,o in ipairs(redis.call('ZRANGE',P..'seen',0,-1)) do\n"
    " local n=o~=me and redis.call('ZCARD',P..'of:'..o) or 0\n"
    " if n>most then most=n from=o end\n"
    "end\n"
    "local n=math.min(tonumber(ARGV[2]),math.ceil((most-mine)/2))\n"
    "if n<1 then return {} end\n"
    "for _,id in ipairs(redis.call('ZREVRANGE',P..'of:'..from,0,4*n)) do\n"
    " local h=redis.call('HMGET',P..'r:'..id,'state','pool','kind','cancel')\n"
    " if #out/9<n and h[1]=='0' and h[3]~='0' and h[4]~='1' and pools[h[2]] then\n"
    "  redis.call('ZREM',P..'of:'..from,id)\n"
    "  take(id,me,out)\n"
    " end\n"
    "end\n"
    "return out\n";

const char pd_ledger_fetch_lua[] = PRELUDE EVEN_WITHOUT_MEMORY TAKE
    "local me,out=ARGV[1],{}\n"
    "for i=2,#ARGV do\n"
    " if redis.call('HGET',P..'r:'..ARGV[i],'owner')==me then take(ARGV[i],me,out) end\n"
    "end\n"
    "return out\n";

const char pd_ledger_leave_lua[] = PRELUDE EVEN_WITHOUT_MEMORY
    "if redis.call('ZSCORE',P..'seen',ARGV[1]) then redis.call('ZADD',P..'seen',0,ARGV[1]) end\n"
    "return 'OK'\n";

/* ---- asking ---- */

const char pd_ledger_get_lua[] = PRELUDE
    "local h=redis.call('HMGET',P..'r:'..ARGV[1],'state','accepted','began','cancel','head','end',"
    " 'answer','key')\n"
    "if not h[1] then return {} end\n"
    "for i=1,8 do h[i]=h[i] or '' end\n"
    "return h\n";

const char pd_ledger_list_lua[] = PRELUDE
    "local idx,max,cms,cid,min=P..ARGV[1],ARGV[2],ARGV[3],ARGV[4],ARGV[5]\n"
    "local status,cause,pool,lang=ARGV[6],ARGV[7],ARGV[8],ARGV[9]\n"
    "local limit,look=tonumber(ARGV[10]),tonumber(ARGV[11])\n"
    "local out,n,off={'',''},0,0\n"
    "while true do\n"
    " local ids=redis.call('ZREVRANGEBYSCORE',idx,max,min,'WITHSCORES','LIMIT',off,200)\n"
    " if #ids==0 then out[1]='' out[2]='' return out end\n"
    " off=off+#ids/2\n"
    " for i=1,#ids,2 do\n"
    "  local id,ms=ids[i],ids[i+1]\n"
    "  if cid=='' or ms~=cms or id<cid then\n"
    "   if look==0 then return out end\n"
    "   look=look-1\n"
    "   local h=redis.call('HMGET',P..'r:'..id,'state','cause','pool','language','began','cancel',"
    "    'head','end')\n"
    "   if h[1] and (status=='' or h[1]==status) and (cause=='' or h[2]==cause) and"
    "     (pool=='' or h[3]==pool) and (lang=='' or h[4]==lang) then\n"
    "    if n==limit then return out end\n"
    "    n=n+1\n"
    "    for _,v in ipairs({id,h[1],ms,h[5] or '',h[6] or '',h[7] or '',h[8] or ''}) do\n"
    "     out[#out+1]=v\n"
    "    end\n"
    "   end\n"
    "   if n<limit or h[1] then out[1]=ms out[2]=id end\n"
    "  end\n"
    " end\n"
    "end\n";

const char pd_ledger_keep_lua[] = PRELUDE
    "local out={}\n"
    "for _,id in ipairs(redis.call('SRANDMEMBER',P..'keep:'..ARGV[1],ARGV[2])) do\n"
    " local h=redis.call('HMGET',P..'r:'..id,'state','accepted','began','cancel','head','end')\n"
    " out[#out+1]=id\n"
    " for i=1,6 do out[#out+1]=h[i] or '' end\n"
    "end\n"
    "return out\n";

const char pd_ledger_kept_lua[] = PRELUDE
    "for i=2,#ARGV do\n"
    " redis.call('SREM',P..'keep:'..ARGV[1],ARGV[i])\n"
    " redis.call('HDEL',P..'r:'..ARGV[i],'unkept')\n"
    "end\n"
    "return 'OK'\n";

const char pd_ledger_prune_lua[] = PRELUDE EVEN_WITHOUT_MEMORY
    "local before,size,limit=tonumber(ARGV[1]),tonumber(ARGV[2]),tonumber(ARGV[3])\n"
    "local bytes=tonumber(redis.call('GET',P..'bytes') or '0')\n"
    "local ids=redis.call('ZRANGE',P..'done',0,limit-1,'WITHSCORES')\n"
    "local n=0\n"
    "for i=1,#ids,2 do\n"
    " local id=ids[i]\n"
    " if tonumber(ids[i+1])>=before and bytes<=size then break end\n"
    " local h=redis.call('HMGET',P..'r:'..id,'key','idem','bytes','unkept')\n"
    " if h[4]~='1' then\n"
    "  if h[1] then\n"
    "   redis.call('ZREM',P..'by:'..h[1],id)\n"
    "   if h[2]~='' and redis.call('GET',P..'i:'..h[1]..':'..h[2])==id then\n"
    "    redis.call('DEL',P..'i:'..h[1]..':'..h[2])\n"
    "   end\n"
    "   bytes=math.max(0,bytes-tonumber(h[3] or '0'))\n"
    "  end\n"
    "  redis.call('DEL',P..'r:'..id)\n"
    "  redis.call('ZREM',P..'all',id)\n"
    "  redis.call('ZREM',P..'done',id)\n"
    "  n=n+1\n"
    " end\n"
    "end\n"
    "if n>0 then redis.call('SET',P..'bytes',string.format('%.0f',bytes)) end\n"
    "return n\n";
