-- A user's sessions that may be resumed without asking Postgres, in one hash: "s:<how>" holds a session, "t:<how>"
-- since when, "l:<how>" a lease. Whoever finds none takes a lease, and may store what Postgres said only while it
-- stands: forgetting the sessions forgets the leases. A session is good for as long as the asker says, by this
-- server's clock.
local key, command, how = KEYS[1], ARGV[1], ARGV[2]

local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000

if command == 'get' then -- ARGV: …, ttl, lease, good for how many seconds
    local found = redis.call('HGET', key, 's:' .. how)
    local since = tonumber(redis.call('HGET', key, 't:' .. how) or 0)
    if not found or now - since >= tonumber(ARGV[5]) then
        found = ''
        redis.call('HSET', key, 'l:' .. how, ARGV[4])
    end
    redis.call('PEXPIRE', key, ARGV[3])
    return found
end

if command == 'put' then -- ARGV: …, ttl, lease, session
    if redis.call('HGET', key, 'l:' .. how) ~= ARGV[4] then
        return 0
    end
    redis.call('HDEL', key, 'l:' .. how)
    redis.call('HSET', key, 's:' .. how, ARGV[5], 't:' .. how, now)
    redis.call('PEXPIRE', key, ARGV[3])
    return 1
end

return redis.error_reply('unknown command')
