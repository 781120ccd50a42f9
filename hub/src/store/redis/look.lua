-- Where the feed is.
return {lost, tonumber(redis.call('HGET', KEYS[1], 'n') or '0')}
