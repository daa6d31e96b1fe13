-- Whether this Redis works: every command of the other scripts, and what was stored comes back. The reply names its key.
local key, value = KEYS[1], ARGV[1]

redis.call('HSET', key, 'value', value) -- first: after another write, a server without memory would allow it
local found = redis.call('HGET', key, 'value')
redis.call('PEXPIRE', key, 1000)
redis.call('HSETNX', key, 'other', value)
redis.call('HMGET', key, 'value', 'other')
redis.call('HSTRLEN', key, 'other')
redis.call('HDEL', key, 'other')
redis.call('PTTL', key)
redis.call('DEL', key)
redis.call('TIME')
redis.pcall('INFO', 'server') -- may be refused
return {key, found}
