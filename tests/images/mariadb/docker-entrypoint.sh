#!/bin/bash
# As the official entry point, for what the samples use: on an empty data directory make the database, the user and
# root's password from MARIADB_* (or MYSQL_*), run /docker-entrypoint-initdb.d, then become the server.
set -eo pipefail

setting() { # NAME: value of MARIADB_NAME or MYSQL_NAME, or the content of the file that the same name with _FILE gives
    local prefix name
    for prefix in MARIADB MYSQL; do
        name="${prefix}_$1"
        if [ -n "${!name}" ]; then printf %s "${!name}"; return; fi
        name="${name}_FILE"
        if [ -n "${!name}" ]; then cat "${!name}"; return; fi
    done
}

sql_text() { printf %s "$1" | sed "s/[\\\\']/\\\\&/g"; }

mariadb_here() { mariadb --protocol=socket -uroot "$@"; }

first_start() {
    local database user password root_password root_host file
    database=$(setting DATABASE) user=$(setting USER) password=$(setting PASSWORD)
    root_password=$(setting ROOT_PASSWORD) root_host=$(setting ROOT_HOST)
    if [ -z "$root_password$(setting ALLOW_EMPTY_ROOT_PASSWORD)$(setting ALLOW_EMPTY_PASSWORD)$(setting RANDOM_ROOT_PASSWORD)" ]; then
        echo "[ERROR] [Entrypoint]: Database is uninitialized and password option is not specified" >&2
        echo "You need to specify one of MARIADB_ROOT_PASSWORD, MARIADB_ALLOW_EMPTY_ROOT_PASSWORD and MARIADB_RANDOM_ROOT_PASSWORD" >&2
        exit 1
    fi
    if [ -n "$(setting RANDOM_ROOT_PASSWORD)" ]; then
        root_password=$(head -c 18 /dev/urandom | base64)
        echo "[Note] [Entrypoint]: GENERATED ROOT PASSWORD: $root_password"
    fi
    cp -a /usr/share/mysql-new/. /var/lib/mysql/
    mariadbd --skip-networking --skip-log-bin "$@" &
    local server=$! tries
    for tries in $(seq 300); do
        mariadb_here -e 'SELECT 1' > /dev/null 2>&1 && break
        kill -0 "$server" || { echo "[ERROR] [Entrypoint]: the server did not start" >&2; exit 1; }
        sleep 0.1
    done
    {
        [ -z "$database" ] || echo "CREATE DATABASE IF NOT EXISTS \`$database\`;"
        if [ -n "$user" ]; then
            echo "CREATE USER '$(sql_text "$user")'@'%' IDENTIFIED BY '$(sql_text "$password")';"
            [ -z "$database" ] || echo "GRANT ALL ON \`${database//_/\\_}\`.* TO '$(sql_text "$user")'@'%';"
        fi
    } | mariadb_here
    for file in /docker-entrypoint-initdb.d/*; do
        case "$file" in
            *.sh) if [ -x "$file" ]; then "$file"; else . "$file"; fi ;;
            *.sql) mariadb_here "$database" < "$file" ;;
            *.sql.gz) gunzip -c "$file" | mariadb_here "$database" ;;
        esac
    done
    {
        echo "CREATE USER IF NOT EXISTS 'root'@'$(sql_text "${root_host:-%}")' IDENTIFIED BY '$(sql_text "$root_password")';"
        echo "GRANT ALL ON *.* TO 'root'@'$(sql_text "${root_host:-%}")' WITH GRANT OPTION;"
        echo "ALTER USER 'root'@'localhost' IDENTIFIED BY '$(sql_text "$root_password")';"
    } | mariadb_here
    kill "$server"
    wait "$server"
    echo "[Note] [Entrypoint]: MariaDB init process done. Ready for start up."
}

if [ "${1#-}" != "$1" ]; then
    set -- mariadbd "$@"
fi
if [ "$1" = mysqld ]; then
    shift
    set -- mariadbd "$@"
fi
if [ "$1" = mariadbd ] && [ "$(id -u)" = 0 ]; then
    mkdir -p /var/lib/mysql /run/mysqld
    find /var/lib/mysql /run/mysqld \! -user mysql -exec chown mysql:mysql {} +
    exec setpriv --reuid=mysql --regid=mysql --clear-groups "$0" "$@"
fi
if [ "$1" = mariadbd ] && [ ! -d /var/lib/mysql/mysql ]; then
    first_start "${@:2}"
fi
exec "$@"
