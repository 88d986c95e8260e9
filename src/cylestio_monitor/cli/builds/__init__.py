"""Commands for build pipelines: scan files, judge a store."""
