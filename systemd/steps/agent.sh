# shellcheck shell=sh disable=SC2034,SC2154 # names are shared with install.sh, which reads this file
# The agent itself: a release in a folder of its own, checked before `current` points to it, and the way back.

release_name() { # the same for the same code, requirements and Python
	what=$(if [ "$WHEEL" ]; then
		sha256sum <"$WHEEL"
	else
		cd "$SOURCE" && find agent pyproject.toml -type f ! -name '*.pyc' | LC_ALL=C sort | xargs sha256sum
	fi)
	version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$SOURCE/pyproject.toml")
	if [ "$WHEEL" ]; then version=$(basename "$WHEEL" | cut -d- -f2); fi
	pythons=$([ ! "$PYTHON" ] || "$PYTHON" -V)
	echo "$version-$(printf '%s' "$what $pythons" | cat - "$SOURCE/requirements/runtime.txt" | sha256sum | cut -c1-12)"
}
build() { # RELEASE
	rm -rf "$1"
	set -- "$1" --quiet --disable-pip-version-check --no-input ${WHEELHOUSE:+--no-index "--find-links=$WHEELHOUSE"}
	new=$1
	shift
	"$PYTHON" -m venv "$new" &&
		"$new/bin/python" -m pip install "$@" --require-hashes -r "$SOURCE/requirements/runtime.txt" &&
		"$new/bin/python" -m pip install "$@" --no-deps "${WHEEL:-$SOURCE}" && return 0
	rm -rf "$new"
	fail "the new version could not be installed; nothing was changed about the one that runs"
}
check_config() { # RELEASE
	CREDENTIALS_DIRECTORY=$R/etc/butai/secrets "$1/bin/butai" check-config "$R/etc/butai/config.toml" && return 0
	rm -rf "$1"
	fail "the version that was to be installed refuses the settings, so the one from before goes on. Mend them, then run this again"
}
point_to() { # NAME OF A RELEASE
	ln -sfn "releases/$1" "$R/opt/butai/current.new"
	mv -T "$R/opt/butai/current.new" "$R/opt/butai/current"
}
database() { # RELEASE; prints the path
	state=$("$1/bin/python" -c 'import sys; from pathlib import Path; from agent.cli.session import state_dir_of
print(state_dir_of(Path(sys.argv[1])))' "$R/etc/butai/config.toml" 2>/dev/null) || state=$R/var/lib/butai
	echo "$state/butai.db"
}
back_up() { # RELEASE COPY
	"$1/bin/butai" backup --config "$R/etc/butai/config.toml" "$2" ||
		fail "the database could not be backed up; nothing was changed about the version that runs"
	# shellcheck disable=SC2012 # the names are ours: the five newest stay
	ls -1t "$R"/var/backups/butai/butai-*.db | tail -n +6 | xargs -r rm
}
is_stale() { # RELEASE: another one runs, perhaps since a run of this was cut off before the restart; or by another unit
	is_active || return 1
	running=$(tr '\0' '\n' <"/proc/$(systemctl show --property=MainPID --value butai)/cmdline" |
		sed -n 's#^/opt/butai/releases/\([^/]*\)/.*#\1#p')
	[ "$running" ] && { [ "$running" != "$1" ] || [ "$unit_changed" ]; }
}
go_back() { # RELEASE FROM BEFORE: the database, too, for an older version refuses a newer one
	say "the new version does not start; going back to $1"
	systemctl stop butai || :
	point_to "$1"
	if [ -e "$R/opt/butai/butai.service.before" ]; then
		install -m 0644 "$R/opt/butai/butai.service.before" "$R/etc/systemd/system/butai.service"
		systemctl daemon-reload
	fi
	if [ "$copy" ]; then
		rm -f "$db" "$db-wal" "$db-shm"
		install -m 0600 -o butai -g butai "$copy" "$db"
	fi
	systemctl start butai || :
	fail "the version from before runs again; \`journalctl -u butai\` says why the new one did not start"
}
agent() {
	name=$(release_name)
	current=$(readlink "$R/opt/butai/current" 2>/dev/null || :)
	current=${current#releases/}
	unit=/etc/systemd/system/butai.service
	db='' copy='' unit_changed=''
	if [ "$current" != "$name" ]; then
		# Kept by an upgrade before this one: not the unit to go back to.
		[ "$CHECK" ] || rm -f "$R/opt/butai/butai.service.before"
		step "install version $name into /opt/butai/releases" build "$R/opt/butai/releases/$name"
		if [ "$current" ]; then
			step "check the settings with it" check_config "$R/opt/butai/releases/$name"
			db=$(database "$R/opt/butai/current")
			if [ -e "$db" ]; then
				copy=$R/var/backups/butai/butai-$(date -u +%Y%m%dT%H%M%SZ).db
				step "back up the database to ${copy#"$R"}" back_up "$R/opt/butai/releases/$name" "$copy"
			fi
		fi
		step "switch from ${current:-nothing} to $name" point_to "$name"
	fi
	if [ "$(readlink "$R/usr/local/bin/butai" 2>/dev/null)" != /opt/butai/current/bin/butai ]; then
		step "link /usr/local/bin/butai" ln -sfn /opt/butai/current/bin/butai "$R/usr/local/bin/butai"
	fi
	put 644 "$SOURCE/config.example.toml" /etc/butai/config.example.toml
	[ -e "$R/etc/butai/config.toml" ] || put 644 "$SOURCE/config.example.toml" /etc/butai/config.toml
	if ! cmp -s "$HERE/butai.service" "$R$unit"; then
		[ "$CHECK" ] || [ ! -e "$R$unit" ] || cp "$R$unit" "$R/opt/butai/butai.service.before"
		unit_changed=yes
		put 644 "$HERE/butai.service" $unit
		step "tell systemd of it" control daemon-reload
	fi
	if ! cmp -s "$HERE/butai-wall.service" "$R/etc/systemd/system/butai-wall.service"; then
		put 644 "$HERE/butai-wall.service" /etc/systemd/system/butai-wall.service
		step "tell systemd of it" control daemon-reload
	fi
	if [ ! -L "$R/etc/systemd/system/docker.service.wants/butai-wall.service" ]; then
		step "put up the wall before Docker starts with the host" control enable butai-wall
	fi
	if [ ! -L "$R/etc/systemd/system/multi-user.target.wants/butai.service" ]; then
		step "start the agent with the host" control enable butai
	fi
	if is_stale "$name"; then
		step "restart the agent" control restart butai || go_back "$running"
	fi
	tidy "$name" "$current"
}
tidy() { # the newest release and the one from before stay
	for old in "$R"/opt/butai/releases/*; do
		case ${old##*/} in "$1" | "$2" | '*') continue ;; esac
		[ "$1" = "$2" ] || step "remove the old release ${old##*/}" rm -r "$old"
	done
}
