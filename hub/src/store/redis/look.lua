-- Where the feed is.
return {lost, at}
