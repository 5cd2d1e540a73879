#!/bin/sh
# hydac-healthy: is this container's daemon well? The HEALTHCHECK of the image.
#
# A leader is when it answers. A worker, which serves nothing itself, is when the leader at
# $HYDAC_LEADER (http://leader:8080) has it online, by its name: $HYDAC_NAME or the container's. The
# leader's API key, if it asks for one, is in the file $HYDAC_API_KEY_FILE.
set -eu

status() {
    hydac status ${HYDAC_API_KEY_FILE:+--api-key-file "$HYDAC_API_KEY_FILE"} "$@"
}

if [ -z "${HYDAC_LEADER:-}" ]; then
    status --leader http://127.0.0.1:8080 >/dev/null
    exit 0
fi
name=${HYDAC_NAME:-$(uname -n)}
status | awk -v name="$name" '
    $1 == name && $2 == "online" { found = 1 }
    END { if (!found) print "the leader does not have " name " online"; exit !found }'
