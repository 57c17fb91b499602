-- Notes that another server process holds the partition now and has all of it.
-- KEYS: gen
-- ARGV: former run id, run id of this process
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('SET', KEYS[1], ARGV[2]) end
return 'OK'
