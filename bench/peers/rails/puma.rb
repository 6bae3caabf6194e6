# Rails' own defaults.
threads 5, 5
workers 0
environment "production"
bind "tcp://127.0.0.1:#{ENV.fetch("PORT")}"
log_requests false
quiet
