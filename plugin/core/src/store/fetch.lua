-- Returns a piece of a message or digest that was given to a member. Redis drops what is left of a long reply when the
-- proxy has closed its side of the connection.
--
-- KEYS[1]  messages that were given to the member
-- ARGV     id, the first byte, the last byte
return string.sub(redis.call('HGET', KEYS[1], ARGV[1]) or '', ARGV[2], ARGV[3])
