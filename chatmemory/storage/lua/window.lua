-- The newest messages of one session, without a gap, in one hash. Fields:
--   <seq>: a message; first, last: the seqs of the oldest and the newest one; bytes: the size of all
--   marker: the highest committed seq that writers have reported
--   tokens: the tokens of all messages of the session
--   begins: the system message the session begins with; summary: the running summary and its watermark
--   of: the session's creation time: a later session may have the same id
--   run: the run of the server that began the hash. What another run wrote came back with an older snapshot, or from
--     the server before a failover, which may have got more than it passed on: it is dropped.
--   lease: a reader may store a window only with this lease. Without a window it is the last reader's; with one, it is
--     given to every reader of that window.
-- Every reply names its key. Only append and store extend the time to live. A reader gets at most `limit` messages, none older than `since`.
local key, command, of, ttl, limit, lease = KEYS[1], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local since = tonumber(ARGV[6])

-- The server's run: it changes with every start, and a replica has its own. '' where INFO is not allowed.
local told = redis.pcall('INFO', 'server')
local run = type(told) == 'string' and string.match(told, 'run_id:(%x+)') or ''

local known = redis.call('HMGET', key, 'of', 'run')
if (known[1] and known[1] ~= of) or (known[2] or '') ~= run then -- of an erased session, another database or run
    redis.call('DEL', key)
end

local function number(value)
    return string.format('%.0f', value)
end

local function read()
    local head = redis.call('HMGET', key, 'first', 'last', 'tokens', 'begins', 'summary', 'lease', 'marker')
    local oldest, newest = tonumber(head[1] or 0), tonumber(head[2] or -1)
    if head[2] and not (oldest and newest and 1 <= oldest and oldest <= newest and tonumber(head[7] or 0) <= newest) then
        redis.call('DEL', key) -- its fields contradict each other
        head = {}
    end
    if not head[2] then
        redis.call('HSETNX', key, 'marker', 0) -- a rebuild must find it: else Redis was flushed in between
        redis.call('HSET', key, 'of', of, 'run', run, 'lease', lease)
        if redis.call('PTTL', key) < 0 then
            redis.call('PEXPIRE', key, ttl)
        end
        return {key, {}}
    end
    local first, last = tonumber(head[1]), tonumber(head[2])
    local fields = {}
    for seq = math.max(first, last - limit + 1, since), last do
        fields[#fields + 1] = number(seq)
    end
    local items = #fields > 0 and redis.call('HMGET', key, unpack(fields)) or {}
    return {key, {head[2], head[3], head[4], head[5], head[6] or '', unpack(items)}}
end

local function add(first, last, from, most, most_bytes)
    -- ARGV from index `from` on are the messages up to `last`; the oldest beyond the bounds are removed.
    local bytes = tonumber(redis.call('HGET', key, 'bytes') or 0)
    for index = from, #ARGV do
        redis.call('HSET', key, number(last - #ARGV + index), ARGV[index])
        bytes = bytes + #ARGV[index]
    end
    while first < last and (last - first + 1 > most or bytes > most_bytes) do
        local oldest = number(first)
        bytes = bytes - redis.call('HSTRLEN', key, oldest)
        redis.call('HDEL', key, oldest)
        first = first + 1
    end
    redis.call('HSET', key, 'first', first, 'last', last, 'bytes', bytes)
end

if command == 'read' then
    return read()
end

local last, tokens, most, most_bytes = tonumber(ARGV[7]), ARGV[8], tonumber(ARGV[9]), tonumber(ARGV[10])
local head = redis.call('HMGET', key, 'first', 'last', 'marker', 'lease')
local has_first, has_last, marker = tonumber(head[1] or 0), tonumber(head[2] or -1), tonumber(head[3] or 0)

if command == 'append' then -- ARGV: …, the new messages; then read, unless limit is -1
    local count = #ARGV - 10
    if has_last == last - count then
        add(has_first, last, 11, most, most_bytes)
        redis.call('HSET', key, 'tokens', tokens)
    elseif has_last >= last then
        if last >= has_first and redis.call('HGET', key, number(last)) ~= ARGV[#ARGV] then
            redis.call('DEL', key) -- Postgres lost this message and stored another one under its seq
            redis.call('HSET', key, 'of', of, 'run', run, 'marker', number(last))
        end
    else -- no window, or a gap: keep only the marker
        if head[2] then
            redis.call('DEL', key)
        end
        redis.call('HSET', key, 'of', of, 'run', run, 'marker', number(math.max(marker, last)))
    end
    redis.call('PEXPIRE', key, ttl)
    if limit >= 0 then
        return read()
    end
    return {key, 1}
end

if command == 'store' then -- ARGV: …, the first message or '', the summary or '', the next lease, the newest messages
    if head[4] ~= lease or math.max(marker, has_last) > last then
        return {key, 0} -- Redis was flushed, or the window was dropped, or a newer message was committed
    end
    redis.call('DEL', key)
    add(last - #ARGV + 14, last, 14, most, most_bytes)
    redis.call('HSET', key, 'tokens', tokens, 'begins', ARGV[11], 'summary', ARGV[12], 'marker', number(last))
    redis.call('HSET', key, 'of', of, 'run', run, 'lease', ARGV[13])
    redis.call('PEXPIRE', key, ttl)
    return {key, 1}
end

return redis.error_reply('unknown command')
