-- A user's sessions that may be resumed without asking Postgres, in one hash. Fields: "s:<how>" a session, "t:<how>"
-- when it was stored, "l:<how>" a lease. A reader that finds no session sets a lease, and may store the answer of
-- Postgres only while that lease is set: deleting the hash deletes the leases. The reader says for how many seconds a
-- stored session is valid, by this server's clock. Every reply names its key. "run" is the run of the server that began
-- the hash: what another run wrote came back with an older snapshot, or by a failover, and is dropped.
local key, command, how = KEYS[1], ARGV[1], ARGV[2]

-- The server's run: it changes with every start, and a replica has its own. '' where INFO is not allowed.
local told = redis.pcall('INFO', 'server')
local run = type(told) == 'string' and string.match(told, 'run_id:(%x+)') or ''

if (redis.call('HGET', key, 'run') or '') ~= run then
    redis.call('DEL', key)
end

local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000

if command == 'get' then -- ARGV: …, ttl, lease, seconds for which a session is valid
    local found = redis.call('HGET', key, 's:' .. how)
    local since = tonumber(redis.call('HGET', key, 't:' .. how) or 0)
    if not found or now - since >= tonumber(ARGV[5]) then
        found = ''
        redis.call('HSET', key, 'l:' .. how, ARGV[4], 'run', run)
    end
    redis.call('PEXPIRE', key, ARGV[3])
    return {key, found}
end

if command == 'put' then -- ARGV: …, ttl, lease, session
    if redis.call('HGET', key, 'l:' .. how) ~= ARGV[4] then
        return {key, 0}
    end
    redis.call('HDEL', key, 'l:' .. how)
    redis.call('HSET', key, 's:' .. how, ARGV[5], 't:' .. how, now)
    redis.call('PEXPIRE', key, ARGV[3])
    return {key, 1}
end

return redis.error_reply('unknown command')
