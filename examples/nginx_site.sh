#!/bin/sh
# nginx with one worker and one short page, as a contender: it knows nothing of muxbench.
#
#     sh examples/nginx_site.sh 8080
#
# Its configuration and its folders live as long as it does.
set -eu
PATH=$PATH:/usr/sbin:/sbin # where daemons are, and a user's PATH does not reach
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
cat >"$folder/conf" <<END
daemon off; master_process off; pid $folder/pid; error_log stderr crit;
events { worker_connections 4096; }
http {
	access_log off; keepalive_requests 1000000000;
	client_body_temp_path $folder/body; proxy_temp_path $folder/proxy; fastcgi_temp_path $folder/fastcgi;
	uwsgi_temp_path $folder/uwsgi; scgi_temp_path $folder/scgi;
	server {
		listen 127.0.0.1:$1 backlog=4096;
		location / { default_type text/plain; return 200 "Hello\n"; }
	}
}
END
nginx -c "$folder/conf" -p "$folder" -e stderr &
server=$!
trap 'kill "$server"' TERM INT
wait "$server" || wait "$server" || true # a signal ends the first wait, the server the second
