-- Keeps a Lua interpreter waiting for its program. It is run as LUA_INIT, before
-- lua opens its script, which it does when this is done.
local wait = assert(package.loadlib("/paddock/spares/pdwait.so", "pd_lua_wait"))
for _, argument in ipairs({ wait() }) do
  arg[#arg + 1] = argument
end
