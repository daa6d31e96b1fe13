-- The newest messages of one session, without a gap, in one hash: "first" and "last" are their seqs, "<seq>" holds
-- each. "marker" is how far the session is known to have come, "tokens" what all its messages cost, "begins" the
-- system message it begins with, "summary" what stands for all that is older.
local key, command = KEYS[1], ARGV[1]

local function read(ttl, limit)
    local head = redis.call('HMGET', key, 'first', 'last', 'tokens', 'begins', 'summary')
    if not head[2] then
        redis.call('HSETNX', key, 'marker', 0) -- whoever rebuilds now must find it, else the cache was flushed since
        redis.call('PEXPIRE', key, ttl)
        return {}
    end
    local first, last = tonumber(head[1]), tonumber(head[2])
    local fields = {}
    for seq = math.max(first, last - limit + 1), last do
        fields[#fields + 1] = string.format('%.0f', seq)
    end
    redis.call('PEXPIRE', key, ttl)
    local items = #fields > 0 and redis.call('HMGET', key, unpack(fields)) or {}
    return {head[2], head[3], head[4], head[5], unpack(items)}
end

local function add(first, last, from, most, most_bytes)
    -- ARGV from `from` on are the messages that end at `last`; what is too old goes.
    local bytes = tonumber(redis.call('HGET', key, 'bytes') or 0)
    for index = from, #ARGV do
        redis.call('HSET', key, string.format('%.0f', last - #ARGV + index), ARGV[index])
        bytes = bytes + #ARGV[index]
    end
    while first < last and (last - first + 1 > most or bytes > most_bytes) do
        local oldest = string.format('%.0f', first)
        bytes = bytes - redis.call('HSTRLEN', key, oldest)
        redis.call('HDEL', key, oldest)
        first = first + 1
    end
    redis.call('HSET', key, 'first', first, 'last', last, 'bytes', bytes)
end

if command == 'read' then
    return read(ARGV[2], tonumber(ARGV[3]))
end

local ttl, limit, last, tokens = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local most, most_bytes = tonumber(ARGV[6]), tonumber(ARGV[7])
local head = redis.call('HMGET', key, 'first', 'last', 'marker')
local has_first, has_last, marker = tonumber(head[1] or 0), tonumber(head[2] or -1), tonumber(head[3] or 0)

if command == 'append' then -- ARGV: …, the new messages; then read, unless limit is -1
    local count = #ARGV - 7
    if has_last == last - count then
        add(has_first, last, 8, most, most_bytes)
        redis.call('HSET', key, 'tokens', tokens)
    elseif has_last < last then -- nothing here, or a gap: keep only how far the session has come
        redis.call('DEL', key)
        redis.call('HSET', key, 'marker', string.format('%.0f', math.max(marker, has_last, last)))
    end
    if limit >= 0 then
        return read(ttl, limit)
    end
    redis.call('PEXPIRE', key, ttl)
    return 1
end

if command == 'store' then -- ARGV: …, the first message or '', the summary or '', the newest messages
    if not head[3] and not head[2] or math.max(marker, has_last) > last then
        return 0 -- flushed, or newer than what was read
    end
    redis.call('DEL', key)
    add(last - #ARGV + 10, last, 10, most, most_bytes)
    redis.call('HSET', key, 'tokens', tokens, 'begins', ARGV[8], 'summary', ARGV[9], 'marker', string.format('%.0f', last))
    redis.call('PEXPIRE', key, ttl)
    return 1
end

return redis.error_reply('unknown command')
