#!/bin/sh
# Creates the missing files under secrets/. Users of containers must be able to read them: the folder protects them.
set -eu
cd "$(dirname "$0")"
: "${NOTIFY:?URL of a webhook or chat}"
login=${DOCKER_CONFIG:-$HOME/.docker}/config.json
create() { [ -e "$1" ] || cat >"$1"; chmod 444 "$1"; }
password() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
mkdir -p secrets && chmod 700 secrets && cd secrets
password | create database-password
password | create dashboard-password
echo "postgresql://image_audit:$(cat database-password)@database/image_audit" | create store
echo "postgresql://dashboard:$(cat dashboard-password)@database/image_audit" | create dashboard-store
echo "$NOTIFY" | create notify
if [ -e "$login" ]; then cat "$login"; else echo '{}'; fi | create config.json
