# shellcheck shell=sh disable=SC2034,SC2154 # names are shared with install.sh, which reads this file
# Removes what the others made.

gone() { # PATH...
	for path; do
		if [ -e "$R$path" ] || [ -L "$R$path" ]; then step "remove $path" rm -r "$R$path"; fi
	done
}
uninstall() {
	if [ "$PURGE" ] && [ ! "$CHECK" ] && [ ! "$YES" ]; then
		fail "--purge removes /etc/butai (settings, secrets), /var/lib/butai (database, keys, certificates, edits) and the user for good; say --yes"
	fi
	if [ -e "$R/etc/systemd/system/butai.service" ] && [ ! "$R" ]; then
		step "stop the agent" systemctl disable --now butai
	fi
	gone /etc/systemd/system/multi-user.target.wants/butai.service /etc/systemd/system/butai.service \
		/etc/systemd/system/docker.service.wants/butai-wall.service /etc/systemd/system/butai-wall.service \
		/usr/local/bin/butai /opt/butai /etc/sysctl.d/60-butai.conf /etc/modules-load.d/60-butai.conf
	if [ "$PURGE" ]; then
		gone /etc/systemd/system/butai.service.d /etc/butai /var/lib/butai /var/backups/butai
		if entry passwd butai >/dev/null; then step "remove the user butai" userdel ${R:+--prefix "$R"} butai; fi
		if entry group butai >/dev/null; then step "remove the group butai" groupdel ${R:+--prefix "$R"} butai; fi
	fi
	say "Docker, its settings and what runs in it stay. Containers, networks and volumes of the agent:
  docker ps -a, docker network ls, docker volume ls, each with --filter name=butai-"
}
