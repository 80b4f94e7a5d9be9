# shellcheck shell=sh disable=SC2034,SC2154 # names are shared with install.sh, which reads this file
# The user, its folders and the kernel's limits.

# The same as `butai doctor --fix` raises to, in the same file; tests hold them together.
SYSCTLS='fs.inotify.max_user_instances=8192 fs.inotify.max_user_watches=1048576
net.netfilter.nf_conntrack_max=262144 kernel.pid_max=4194304'

owner_of_state() { # FORMAT OF stat; prints nothing where there is no state yet
	[ ! -d "$R/var/lib/butai" ] || stat -c "$1" "$R/var/lib/butai" | grep -vx 0 || :
}
user() { # a volume from another host keeps its numbers
	uid=$(owner_of_state %u) gid=$(owner_of_state %g)
	if ! entry group butai >/dev/null; then
		step "add the group butai" groupadd ${R:+--prefix "$R"} ${gid:+--gid "$gid"} --system butai
	fi
	if ! entry passwd butai >/dev/null; then
		step "add the user butai" useradd ${R:+--prefix "$R"} ${uid:+--uid "$uid"} --system --gid "$([ "$CHECK" ] || number group)" \
			--no-create-home --home-dir /var/lib/butai --shell /usr/sbin/nologin butai
	fi
}
folder() { # MODE OWNER PATH
	if [ "$2" = butai ]; then uid=$(number passwd || :) gid=$(number group || :); else uid=0 gid=0; fi
	if [ "$(stat -c '%a %u %g' "$R$3" 2>/dev/null)" != "$1 $uid $gid" ]; then
		step "make the folder $3 (mode $1, of $2)" install -d -m "$1" -o "$uid" -g "$gid" "$R$3"
	fi
}
put() { # MODE FROM TO
	cmp -s "$2" "$R$3" || step "write $3" install -D -m "$1" "$2" "$R$3"
}
folders() {
	folder 755 root /etc/butai
	folder 700 root /etc/butai/secrets
	folder 750 butai /var/lib/butai
	folder 700 butai /var/lib/butai/keys
	folder 700 root /var/backups/butai # not among the agent's own copies: these are root's, and it counts its own
}
kernel() {
	for pair in $SYSCTLS; do
		name=${pair%%=*} wanted=${pair#*=}
		path=$R/proc/sys/$(echo "$name" | tr . /)
		file=$R/etc/sysctl.d/60-butai.conf
		# A table of connections that is not loaded yet has no value but the one that it will get.
		now=$(cat "$path" 2>/dev/null || sed -n "s/^$name *= *//p" "$file" 2>/dev/null || :)
		[ "${now:-0}" -ge "$wanted" ] || step "raise $name to $wanted" raise "$name" "$wanted"
	done
}
raise() {
	install -d "$R/etc/sysctl.d" "$R/etc/modules-load.d"
	# shellcheck disable=SC2016 # the back-ticks are for people
	head='# Raised by `butai doctor --fix`: what a host of many containers needs.'
	{
		if [ -e "$file" ]; then grep -v "^$1 *=" "$file" || :; else echo "$head"; fi
		echo "$1 = $2"
	} >"$file.new"
	mv "$file.new" "$file"
	case $1 in net.netfilter.*) echo nf_conntrack >"$R/etc/modules-load.d/60-butai.conf" ;; esac
	if [ -e "$path" ]; then
		(echo "$2" >"$path") 2>/dev/null || say "  $1 counts from the next start of the host: it cannot be set in here"
	fi
}
