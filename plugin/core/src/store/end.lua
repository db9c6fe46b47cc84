-- Ends a message: it was delivered, or failed for good.
--
-- KEYS[1]  the member's messages
-- KEYS[2]  messages that were given to it
-- KEYS[3]  the mark of the message's id. A late copy of an earlier call must not hold the message again.
-- KEYS[4]  the cause of its cool-down
-- ARGV     id, 1 if the cause is released
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('SET', KEYS[3], '1', 'PX', 600000)
if ARGV[2] == '1' and redis.call('GET', KEYS[4]) == ARGV[1] then redis.call('DEL', KEYS[4]) end
return 1
