# Creates the role of the dashboard, which can read every table and change none. PostgreSQL's image runs it once.
set -eu
psql --set=ON_ERROR_STOP=1 --set=password="$(cat /run/secrets/dashboard-password)" \
    --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" <<'END'
CREATE ROLE dashboard LOGIN IN ROLE pg_read_all_data PASSWORD :'password';
ALTER ROLE dashboard SET default_transaction_read_only = on;
END
